"""The features of `SearchCV` beyond scikit-learn: samplers, rules, stores, workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import attrs
import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from hpt_core import DefinitionChangedError, Float, Int, State, Stop, UsageError, load_history
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_evaluator_sklearn import SearchCV
from hpt_evaluator_sklearn.search import pool
from hpt_evaluator_sklearn.search.candidates import GridCandidates

Y = load_iris().target
X = StandardScaler().fit_transform(load_iris().data)
TREE = DecisionTreeClassifier(random_state=0)
SPACE = {"max_depth": Int(1, 20), "min_samples_leaf": Int(1, 50), "ccp_alpha": Float(1e-4, 1e-1, log=True)}


def rows(search: SearchCV) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = search.cv_results_["params"]
    return found


# --- samplers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["random", {"use": "random", "method": "sobol"}, None])
def test_any_sampler_repeats_the_search_with_the_same_seed(sampler: Any) -> None:
    search = SearchCV(TREE, SPACE, sampler=sampler, n_iter=7, random_state=3, cv=3)
    first, second = search.fit(X, Y), clone(search).fit(X, Y)
    assert len(rows(first)) == 7
    assert rows(first) == rows(second)
    assert first.study_.best.params == first.best_params_
    assert first.study_.best.value == pytest.approx(first.best_score_, abs=1e-15)


def test_each_fit_takes_another_seed_from_a_random_state() -> None:
    search = SearchCV(TREE, SPACE, sampler="random", n_iter=2, cv=2)
    found = []
    for state in (np.random.RandomState(3), np.random.RandomState(3)):
        found += [rows(search.set_params(random_state=state).fit(X, Y)) for _ in range(2)]
    assert found[0] == found[2] != found[1] == found[3]


def test_a_sampler_may_search_a_grid_and_distributions() -> None:
    grid = SearchCV(TREE, param_grid={"max_depth": [1, 2, 3]}, sampler="random", random_state=0).fit(X, Y)
    assert sorted(params["max_depth"] for params in rows(grid)) == [1, 2, 3]
    some = SearchCV(TREE, param_grid={"max_depth": list(range(1, 30))}, n_iter=4).fit(X, Y)
    assert [params["max_depth"] for params in rows(some)] == [1, 2, 3, 4]
    with pytest.raises(UsageError, match="There is no sampler 'bayess'"):
        SearchCV(TREE, SPACE, sampler="bayess").fit(X, Y)


def test_a_space_with_fewer_candidates_than_n_iter_issues_a_warning() -> None:
    message = r"The space has fewer candidates \(4\) than n_iter=100"
    with pytest.warns(UserWarning, match=message) as caught:
        search = SearchCV(TREE, {"max_depth": Int(1, 4)}, sampler="random", n_iter=100).fit(X, Y)
    assert caught[0].filename == __file__
    assert len(rows(search)) == 4


# --- rules ----------------------------------------------------------------------------------------------


@attrs.define
class AfterTwo:
    """Stops each candidate with an even depth after two folds."""

    def judge_trial(self, history: Any, trial: Any) -> Stop | None:
        return Stop("even") if len(trial.reports) == 2 and trial.params["max_depth"] % 2 == 0 else None


@attrs.define
class EnoughOfFour:
    def judge_study(self, history: Any) -> Stop | None:
        return Stop("four are enough") if len(history.complete) + len(history.stopped) >= 4 else None


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_stopped_candidate_keeps_its_folds_and_ranks_behind_complete_ones(n_jobs: int) -> None:
    grid = {"max_depth": [1, 2, 3, 4]}
    search = SearchCV(TREE, param_grid=grid, stop=AfterTwo(), cv=4, n_jobs=n_jobs, return_train_score=True).fit(X, Y)
    whole = GridSearchCV(TREE, grid, cv=4, return_train_score=True).fit(X, Y).cv_results_
    found = search.cv_results_
    by_depth = np.argsort([params["max_depth"] for params in rows(search)])
    assert found["n_folds"][by_depth].tolist() == [4, 2, 4, 2]
    assert found.keys() == whole.keys() | {"n_folds"}
    for i in range(4):
        for part in ("test", "train"):
            ours, theirs = found[f"split{i}_{part}_score"][by_depth], whole[f"split{i}_{part}_score"]
            tried = [True, i < 2, True, i < 2]
            assert np.array_equal(ours[tried], theirs[tried])
            assert np.isnan(ours[np.logical_not(tried)]).all()
    halves = (whole["split0_test_score"] + whole["split1_test_score"])[[1, 3]] / 2
    assert np.allclose(found["mean_test_score"][by_depth][[1, 3]], halves)
    assert (found["mean_fit_time"] > 0).all()
    assert sorted(found["rank_test_score"][by_depth][[0, 2]]) == [1, 2]
    assert (found["rank_test_score"][by_depth][[1, 3]] > 2).all()
    assert search.best_params_["max_depth"] in (1, 3)


@attrs.define
class Estimated:
    """Stops the second candidate after one fold, with an estimate of its own."""

    def judge_trial(self, history: Any, trial: Any) -> Stop | None:
        return Stop("enough", value=0.125) if trial.number == 1 else None


@pytest.mark.parametrize(("scoring", "refit"), [(None, True), (["accuracy", "f1_macro"], "f1_macro")])
def test_the_mean_score_of_a_stopped_candidate_is_the_estimate_of_the_rule(scoring: Any, refit: Any) -> None:
    name = refit if scoring else "score"
    given: dict[str, Any] = {"stop": Estimated(), "scoring": scoring, "refit": refit}
    found = SearchCV(TREE, param_grid={"max_depth": [2, 3, 1]}, **given).fit(X, Y).cv_results_
    assert found[f"mean_test_{name}"][1] == 0.125
    assert found[f"rank_test_{name}"].tolist() == [1, 3, 2]
    assert found["n_folds"].tolist() == [5, 1, 5]


def test_a_rule_may_end_the_search() -> None:
    search = SearchCV(TREE, SPACE, sampler="random", n_iter=50, stop=[EnoughOfFour()], random_state=0).fit(X, Y)
    assert len(rows(search)) == 4
    assert search.study_.stop_reason == "four are enough"


def test_median_stopping_over_folds_saves_fits_and_finds_the_same_best() -> None:
    digits = [part[::3] for part in load_digits(return_X_y=True)]
    space = {"max_depth": Int(1, 20), "min_samples_leaf": Int(1, 100)}
    given: dict[str, Any] = {"sampler": "random", "n_iter": 20, "random_state": 0}
    raced = SearchCV(TREE, space, stop="median", **given).fit(*digits)
    whole = SearchCV(TREE, space, **given).fit(*digits)
    assert raced.cv_results_["n_folds"].sum() < 100
    assert raced.best_params_ == whole.best_params_


# --- stores ---------------------------------------------------------------------------------------------


class Counting(DecisionTreeClassifier):
    """Counts its fits in a file."""

    def __init__(self, path: str = "", max_depth: int | None = None) -> None:
        super().__init__(max_depth=max_depth, random_state=0)
        self.path = path

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Counting:
        with Path(self.path).open("a") as file:
            file.write("x")
        super().fit(X, y, sample_weight=sample_weight)
        return self


@pytest.mark.parametrize("kind", ["db", "csv"])
def test_fitting_again_with_the_same_store_resumes(tmp_path: Path, kind: str) -> None:
    count = tmp_path / "count"
    estimator = Counting(path=str(count))
    search = SearchCV(
        estimator,
        {"max_depth": Int(1, 30)},
        sampler="random",
        n_iter=4,
        store=str(tmp_path / f"search.{kind}"),
        random_state=0,
        cv=3,
        refit=False,
    )
    first = clone(search).fit(X, Y)
    again = clone(search).fit(X, Y)
    assert len(count.read_text()) == 12
    more = clone(search).set_params(n_iter=6).fit(X, Y)
    assert len(count.read_text()) == 18
    assert rows(more)[:4] == rows(first) == rows(again)
    for name, column in first.cv_results_.items():
        if name != "params" and not name.startswith("rank"):
            assert np.array_equal(np.ma.getdata(again.cv_results_[name]), np.ma.getdata(column)), name
    alone = clone(search).set_params(store=None, n_iter=6).fit(X, Y)
    assert rows(alone) == rows(more)


@pytest.mark.parametrize(
    "change",
    [
        {"X": X[:, ::-1]},
        {"y": np.roll(Y, 1)},
        {"sample_weight": np.ones(len(Y))},
        {"search": {"cv": 4}},
        {"search": {"cv": KFold(3)}},
        {"search": {"scoring": "f1_macro"}},
        {"search": {"estimator__min_samples_split": 3}},
        {"search": {"return_train_score": True}},
        {"search": {"param_grid": None, "space": {"max_depth": [1, 2]}}},
        {"search": {"param_grid": {"max_depth": [1, 3]}}},
    ],
    ids=str,
)
def test_a_store_with_another_search_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    search = SearchCV(TREE, param_grid={"max_depth": [1, 2]}, store=str(tmp_path / "search.db"), cv=3, random_state=0)
    clone(search).fit(X, Y)
    other = clone(search).set_params(**change.get("search", {}))
    params = {name: change[name] for name in ("sample_weight",) if name in change}
    advice = "The store has another search named 'search'. Give this one its own `study_name` or store."
    with pytest.raises(DefinitionChangedError) as refused:
        other.fit(change.get("X", X), change.get("y", Y), **params)
    head, *differences = str(refused.value).splitlines()
    assert head == f"{advice} In a nested cross-validation, whose outer folds are different data, leave out `store`."
    assert len(differences) >= 1
    assert "amend" not in str(refused.value)  # SearchCV has no such option
    other.set_params(study_name="another").fit(change.get("X", X), change.get("y", Y), **params)


def test_failures_are_restored_from_the_store_fold_by_fold(tmp_path: Path) -> None:
    search = SearchCV(
        Fragile(),
        param_grid={"max_depth": [1, 13]},
        store=str(tmp_path / "search.db"),
        cv=KFold(3),
        error_score=0.25,
        refit=False,
    )
    tables = []
    for _ in range(2):
        with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 6"):
            tables.append(clone(search).fit(X, Y).cv_results_)
    for name, column in tables[0].items():
        assert name == "params" or np.array_equal(tables[1][name], column), name
    assert tables[1]["split0_test_score"][1] != 0.25
    assert tables[1]["split1_test_score"][1] == 0.25


class Fragile(DecisionTreeClassifier):
    """On data that begins with class 0, its fit fails with depth 13 and kills its process with depth 66."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Fragile:
        if self.max_depth == 13 and y[0] == 0:
            raise KeyError("bad luck")
        if self.max_depth == 66 and y[0] == 0:
            os._exit(3)
        super().fit(X, y, sample_weight=sample_weight)
        return self


def test_a_space_in_which_every_candidate_fails_ends_after_three() -> None:
    liblinear = LogisticRegression(solver="liblinear")
    search = SearchCV(liblinear, {"C": Float(0.1, 100.0, log=True)}, sampler="random", n_iter=50)
    with pytest.raises(ValueError, match="All the 15 fits failed") as caught:
        search.fit(X, Y)
    assert str(caught.value).count("ValueError: The 'liblinear' solver does not support multiclass") == 1
    assert "ended early, at max_failures=3" in caught.value.__notes__[0]


class Silent(DecisionTreeClassifier):
    """With depth 13, its scores are NaN."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        return np.nan if self.max_depth == 13 else float(super().score(X, y, sample_weight))


def test_a_search_that_ends_at_failed_scores_says_so() -> None:
    search = SearchCV(Silent(), {"max_depth": [13, 2]}, sampler=GridCandidates(), n_iter=2, cv=3, max_failures=1)
    with (
        pytest.warns(UserWarning, match="non-finite"),
        pytest.warns(UserWarning, match=r"ended early, at max_failures=1: .* Set a larger number") as told,
    ):
        search.fit(X, Y)
    assert [warning.filename for warning in told if "ended early" in str(warning.message)] == [__file__]
    assert rows(search) == [{"max_depth": 13}]
    with pytest.warns(UserWarning, match="non-finite") as told:
        search.set_params(max_failures=2).fit(X, Y)
    assert not [warning for warning in told if "ended early" in str(warning.message)]
    assert search.best_params_ == {"max_depth": 2}


KILLED = """
import json, sys, time
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier
from hpt_evaluator_sklearn import SearchCV

def slow(estimator, X, y):
    if estimator.max_depth == 4 and sys.argv[1] == "wait":
        print("begun", flush=True)
        time.sleep(60)
    return estimator.score(X, y)

search = SearchCV(
    DecisionTreeClassifier(random_state=0), {"max_depth": {"low": 1, "high": 8}, "min_samples_leaf": [1, 5, 20]},
    sampler="random", n_iter=12, scoring=slow, store="search.db", random_state=0, cv=3)
search.fit(*load_iris(return_X_y=True))
print(json.dumps([search.cv_results_["params"], search.cv_results_["mean_test_score"].tolist()]))
"""


def test_a_killed_search_resumes_to_the_same_results(tmp_path: Path) -> None:
    (tmp_path / "search.py").write_text(KILLED)
    command = [sys.executable, "search.py"]
    with subprocess.Popen([*command, "wait"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.kill()
    resumed = subprocess.run([*command, "go"], cwd=tmp_path, check=True, stdout=subprocess.PIPE)
    space = {"max_depth": Int(1, 8), "min_samples_leaf": [1, 5, 20]}
    whole = SearchCV(TREE, space, sampler="random", n_iter=12, random_state=0, cv=3).fit(load_iris().data, Y)
    assert json.loads(resumed.stdout) == [rows(whole), whole.cv_results_["mean_test_score"].tolist()]


def test_a_grid_search_can_be_verified(tmp_path: Path) -> None:
    store = str(tmp_path / "search.db")
    SearchCV(TREE, param_grid=[{"max_depth": [1, 2]}, {"min_samples_leaf": [5]}], store=store).fit(X, Y)
    found = verify(default_plugins().make_store(store), "search", default_plugins(), sampler=GridCandidates())
    assert (found.checked, found.differences) == (3, [])


# --- workers --------------------------------------------------------------------------------------------


def test_two_workers_find_the_same_as_one() -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("pca", PCA(random_state=0)), ("tree", TREE)])
    grid = {"pca__n_components": [1, 2], "tree__max_depth": [1, 2, 3]}
    given: dict[str, Any] = {"scoring": ["accuracy", "f1_macro"], "refit": "f1_macro", "return_train_score": True}
    two = SearchCV(pipeline, param_grid=grid, n_jobs=2, **given).fit(X, Y)
    one = GridSearchCV(pipeline, grid, **given).fit(X, Y)
    assert rows(two) == one.cv_results_["params"]
    for name, column in one.cv_results_.items():
        if name != "params" and not name.endswith("_time"):
            assert np.array_equal(two.cv_results_[name], column), name


def in_threads(estimator: Any, X: Any, y: Any) -> float:
    """1 if joblib would use threads for parallelism in a fit, 0 if it would start processes."""
    return float(getattr(joblib.parallel.get_active_backend()[0], "supports_sharedmem", False))


def test_nested_parallelism_uses_threads() -> None:
    ours, theirs = (
        search.set_params(scoring=in_threads, n_jobs=2, refit=False).fit(X, Y).cv_results_["mean_test_score"].tolist()
        for search in (SearchCV(TREE, param_grid={"max_depth": [1, 2]}), GridSearchCV(TREE, {"max_depth": [1, 2]}))
    )
    assert ours == theirs == [1.0, 1.0]


def test_the_threading_backend_of_joblib_is_used() -> None:
    with joblib.parallel_config(backend="threading"):
        search = SearchCV(TREE, param_grid={"max_depth": [1, 2, 3]}, n_jobs=2).fit(X, Y)
    assert search.best_score_ == GridSearchCV(TREE, {"max_depth": [1, 2, 3]}).fit(X, Y).best_score_


def test_warning_filters_apply_in_other_processes() -> None:
    search = SearchCV(LogisticRegression(max_iter=1), param_grid={"C": [0.1, 1.0]}, n_jobs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ValueError, match=r"10 fits failed with the following error:(.|\n)*ConvergenceWarning"):
            search.fit(X, Y)


def test_an_error_in_a_worker_is_raised_unchanged() -> None:
    search = SearchCV(Fragile(), param_grid={"max_depth": [1, 13]}, cv=KFold(3), n_jobs=2, error_score="raise")
    with pytest.raises(KeyError, match="bad luck"):
        search.fit(X, Y)


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_fit_that_kills_its_process_fails_only_its_own_candidate() -> None:
    search = SearchCV(Fragile(), param_grid={"max_depth": [1, 2, 66, 3, 4]}, n_jobs=2, cv=KFold(3))
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 15"):
        search.fit(X, Y)
    states = {trial.params["max_depth"]: trial.state for trial in search.history_.trials}
    assert states == {1: State.COMPLETE, 2: State.COMPLETE, 3: State.COMPLETE, 4: State.COMPLETE, 66: State.FAILED}
    assert [t.failure.kind for t in search.history_.trials if t.failure is not None] == ["killed"]
    assert sorted(np.isnan(search.cv_results_["mean_test_score"])) == [False] * 4 + [True]
    assert "n_folds" not in search.cv_results_


class Slow(DecisionTreeClassifier):
    """Its fit is slow from depth 3 on."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Slow:
        if self.max_depth >= 3:
            time.sleep(30)
        super().fit(X, y, sample_weight=sample_weight)
        return self


def states_in(store: str) -> list[State]:
    return [trial.state for trial in load_history(store).trials]


def interrupt_when(store: str, states: list[State]) -> None:
    """Send SIGINT when the trials have these states."""
    while not Path(store).exists() or not default_plugins().make_store(store).studies() or states_in(store) != states:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupted_search_keeps_finished_candidates_and_requeues_the_rest(
    tmp_path: Path, n_jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_pools", {})
    before, store = set(threading.enumerate()), str(tmp_path / "search.db")
    done = [State.COMPLETE] * 2
    search = SearchCV(Slow(), param_grid={"max_depth": [1, 2, 3, 4]}, n_jobs=n_jobs, store=store)
    threading.Thread(target=interrupt_when, args=(store, done + [State.RUNNING] * n_jobs), daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, Y)
    assert states_in(store) == done + [State.WAITING] * n_jobs
    for thread in set(threading.enumerate()) - before:
        thread.join(20)  # of the pool: an exception in it fails this test
        assert not thread.is_alive()


def test_warns_if_a_grid_given_as_space_is_not_tried_as_a_whole() -> None:
    grid = {"max_depth": list(range(1, 11)), "min_samples_leaf": [1, 2, 3, 4, 5, 6]}
    with pytest.warns(UserWarning, match="At most 50 of the 60 configurations.*pass them as `param_grid`") as caught:
        SearchCV(TREE, grid, cv=2).fit(X, Y)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(SearchCV(TREE, grid, cv=2, n_iter=3).fit(X, Y).cv_results_["params"]) == 3
        assert len(SearchCV(TREE, param_grid=grid, cv=2).fit(X, Y).cv_results_["params"]) == 60
