"""The textbook searches: LogisticRegression with the liblinear solver on iris, by grid, random and bayes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier

from hpt_core import Categorical, Float, NothingSucceededError
from hpt_core.cli.group import hpt
from hpt_core.study.config import make_study, read_study_file
from hpt_evaluator_sklearn import SearchCV

EXAMPLES = Path(__file__).parents[3] / "examples" / "textbook"
X, Y = load_iris(return_X_y=True)
PLAIN = LogisticRegression(solver="liblinear")
WRAPPED = OneVsRestClassifier(PLAIN)
CS = [0.1, 1, 10, 100]
GRID = {"estimator__C": CS}
PLAIN_EVALUATOR = """
[evaluator]
use = "sklearn"
data = "sklearn.datasets:load_iris"
estimator = { use = "sklearn.linear_model:LogisticRegression", solver = "liblinear" }
cv = 5
"""
REFUSED = "The 'liblinear' solver does not support multiclass classification"


def run_example(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(folder)
    study, settings = make_study(read_study_file(EXAMPLES / f"{name}.toml"), folder=EXAMPLES)
    study.run(trials=settings.trials)
    return study


def expected() -> dict[float, list[float]]:
    """The score of each C on each fold."""
    table = GridSearchCV(WRAPPED, GRID, cv=5).fit(X, Y).cv_results_
    return {C: [table[f"split{i}_test_score"][row] for i in range(5)] for row, C in enumerate(CS)}


def test_the_grid_has_the_fold_scores_of_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = run_example("grid", tmp_path, monkeypatch)
    found = {trial.params["C"]: [report.value for report in trial.reports] for trial in study.trials}
    assert found == expected()


def test_random_search_over_four_points_ends_after_four_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = run_example("random", tmp_path, monkeypatch)
    found = {trial.params["C"]: [report.value for report in trial.reports] for trial in study.trials}
    assert len(study.trials) == 4
    assert found == expected()
    assert "space exhausted" in study.stop_reason


def test_bayes_is_at_least_as_good_as_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = run_example("bayes", tmp_path, monkeypatch)
    assert len(study.trials) == 20
    assert study.best.value >= max(np.mean(scores) for scores in expected().values()) - 1e-12


@pytest.mark.parametrize("name", ["grid", "random"])
def test_the_plain_solver_ends_the_study_with_the_message_of_scikit_learn(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = read_study_file(EXAMPLES / f"{name}.toml")
    evaluator = data["evaluator"]
    evaluator["estimator"] = evaluator["estimator"]["estimator"]
    evaluator["params"] = {}
    study, settings = make_study(data, folder=EXAMPLES)
    with pytest.raises(NothingSucceededError, match=REFUSED):
        study.run(trials=settings.trials)
    assert len(study.trials) == 3


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"], ["--workers", "2"]])
@pytest.mark.parametrize("name", ["grid", "random", "bayes"])
def test_the_command_shows_the_message_of_scikit_learn_once(
    name: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (EXAMPLES / f"{name}.toml").read_text()
    plain = text[: text.index("[evaluator]")].replace('["liblinear", "lbfgs"]', '["liblinear"]') + PLAIN_EVALUATOR
    Path("plain.toml").write_text(plain)
    checked = CliRunner().invoke(hpt, ["check", "plain.toml"])
    assert checked.exit_code == 0
    result = CliRunner().invoke(hpt, ["run", "plain.toml", f"sampler.use={name}", *options])
    assert result.exit_code == 1
    assert result.output.count(REFUSED) == 1
    assert "the first 3 trials of this run all failed in the same way" in result.output


def test_the_three_files_tune_the_same_model() -> None:
    files = [tomllib.loads((EXAMPLES / f"{name}.toml").read_text()) for name in ("grid", "random", "bayes")]
    assert len({file["evaluator"]["data"] for file in files}) == 1
    assert len({file["evaluator"]["estimator"]["use"] for file in files}) == 1


# --- the same with SearchCV -----------------------------------------------------------------------------


def columns(results: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: list(column) for name, column in results.items() if not name.endswith("_time")}


def test_search_cv_has_the_cv_results_of_grid_search_cv() -> None:
    ours = SearchCV(WRAPPED, param_grid=GRID, cv=5).fit(X, Y)
    assert columns(ours.cv_results_) == columns(GridSearchCV(WRAPPED, GRID, cv=5).fit(X, Y).cv_results_)


def test_search_cv_at_random_warns_that_there_are_four_candidates() -> None:
    with pytest.warns(UserWarning, match="parameters 4 is smaller than n_iter=100. Running 4 iterations"):
        ours = SearchCV(WRAPPED, param_distributions=GRID, n_iter=100, random_state=0).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = RandomizedSearchCV(WRAPPED, GRID, n_iter=100, random_state=0).fit(X, Y)
    assert columns(ours.cv_results_) == columns(theirs.cv_results_)


def test_search_cv_with_bayes_over_c_and_solver() -> None:
    space = {"estimator__C": Float(0.1, 100.0, log=True), "estimator__solver": Categorical("liblinear", "lbfgs")}
    wrapped = OneVsRestClassifier(LogisticRegression(max_iter=1_000))
    search = SearchCV(wrapped, space, sampler="bayes", n_iter=9, random_state=0).fit(X, Y)
    assert len(search.cv_results_["params"]) == 9
    assert search.best_score_ >= max(np.mean(scores) for scores in expected().values()) - 1e-12


@attrs.frozen
class Form:
    """One of the three searches of the plain estimator: its arguments and its number of fits."""

    given: dict[str, Any]
    fits: int


@pytest.mark.parametrize(
    "form",
    [
        Form({"param_grid": {"C": CS}}, 20),
        Form({"param_distributions": {"C": CS}, "n_iter": 4}, 20),
        Form({"space": {"C": Float(0.1, 100.0, log=True)}, "sampler": "bayes"}, 15),
    ],
    ids=["grid", "random", "bayes"],
)
def test_search_cv_with_the_plain_solver_shows_the_message_once(form: Form) -> None:
    search = SearchCV(PLAIN, **form.given, random_state=0)
    with pytest.raises(ValueError, match=f"All the {form.fits} fits failed") as caught:
        search.fit(X, Y)
    assert str(caught.value).count(REFUSED) == 1
    with pytest.raises(ValueError, match=REFUSED):
        search.set_params(error_score="raise").fit(X, Y)


WHOLE_OUTPUT = """
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from hpt_core import Float
from hpt_evaluator_sklearn import SearchCV

search = SearchCV(LogisticRegression(solver="liblinear"), {"C": Float(0.1, 100.0, log=True)}, sampler="random")
search.fit(*load_iris(return_X_y=True))
"""


def test_a_program_with_search_cv_prints_the_message_once() -> None:
    """Together with everything that is logged or warned of."""
    ran = subprocess.run([sys.executable, "-c", WHOLE_OUTPUT], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 1
    assert (ran.stdout + ran.stderr).count(REFUSED) == 1
