"""hpt import on real searches: Optuna storages, cv_results_ of scikit-learn, and rejected input."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - for HalvingGridSearchCV
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from hpt_core import Categorical, Constant, Float, History, Int, InvalidParamsError, Space, Study
from hpt_core.cli.group import hpt
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_sampler_optuna.imported import ImportedSearch, ImportedTrial, record

# Optuna leaves its connections open; from 3.13 on Python warns of them when they are collected, as in `_place`.
pytestmark = pytest.mark.filterwarnings("ignore:.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPT_STORE", raising=False)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)
    gc.collect()


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(hpt, ["import", *arguments], prog_name="hpt")
    assert result.exit_code == code, result.output
    return result.output


def imported(name: str, store: str = "hpt.db") -> History:
    found = default_plugins().make_store(store)
    try:
        history = History()
        history.extend(found.read(name))
        return history
    finally:
        found.close()


def objective(trial: Any) -> float:
    model = trial.suggest_categorical("model", ["svm", "forest", "tree"])
    x = trial.suggest_float("x", 0, 1 + trial.number // 3)
    if model == "svm":
        kernel = trial.suggest_categorical("kernel", ["linear", "rbf"])
        if kernel == "rbf":
            x += trial.suggest_float("gamma", 1e-3, 1, log=True)
    else:
        x += trial.suggest_int("depth", 2, 16, log=True)
    for step in range(3):
        trial.report(x + step, step)
    if trial.number % 5 == 3:
        raise optuna.TrialPruned
    if trial.number % 5 == 4:
        raise ValueError("broken")
    return float(x)


def searched(storage: Any, name: str = "demo") -> optuna.Study:
    study = optuna.create_study(storage=storage, study_name=name, sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=15, catch=(ValueError,))
    study.enqueue_trial({"model": "tree", "x": 0.5, "depth": 3})
    running = study.ask({"unused": optuna.distributions.FloatDistribution(0, 1)})
    assert running.number == 15  # Optuna starts the enqueued trial; the next line enqueues it again
    study.enqueue_trial({"model": "tree", "x": 0.25, "depth": 4})
    return study


def compare(study: optuna.Study, history: History) -> None:
    done = [trial for trial in study.trials if trial.state.is_finished()]
    states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}
    assert [str(trial.state) for trial in history.trials[:-1]] == [states[trial.state] for trial in done]
    for trial, theirs in zip(history.trials, done, strict=False):
        assert trial.params == theirs.params
        assert [(r.step - 1, r.value) for r in trial.reports] == sorted(theirs.intermediate_values.items())
        assert trial.source == "given"
        if theirs.state is not TrialState.FAIL:
            assert trial.value == theirs.value
    assert history.best is not None
    assert history.best.value == study.best_value


@pytest.mark.parametrize("form", ["url", "file", "journal"])
def test_an_optuna_study_is_imported_completely(form: str) -> None:
    storage: Any = "sqlite:///optuna.db"
    if form == "journal":
        backend = optuna.storages.journal.JournalFileBackend("optuna.log")
        storage = optuna.storages.JournalStorage(backend)
    study = searched(storage)
    source = {"url": "sqlite:///optuna.db", "file": "optuna.db", "journal": "optuna.log"}[form]
    digest = hashlib.sha256(Path(source.removeprefix("sqlite:///")).read_bytes()).hexdigest()
    output = run(source)
    assert "15 trials, 1 still to be evaluated are now in the study 'demo' in hpt.db" in output
    assert "Left out: Trial 15 was running." in output
    assert hashlib.sha256(Path(source.removeprefix("sqlite:///")).read_bytes()).hexdigest() == digest
    history = imported("demo")
    compare(study, history)
    expected = Space(
        {
            "model": Categorical("svm", "forest", "tree"),
            "x": Float(0, 5),
            "kernel": Categorical("linear", "rbf", when={"model": "svm"}),
            "gamma": Float(1e-3, 1, log=True, when={"kernel": "rbf"}),
        }
    )
    found = history.space
    assert {name: found[name] for name in expected.names} == {name: expected[name] for name in expected.names}
    depth = found["depth"]
    assert isinstance(depth, Int)
    assert (depth.low, depth.high, depth.log) == (2, 16, True)
    assert set((depth.when or {})["model"]) == {"forest", "tree"}


def test_an_imported_study_continues_and_can_be_audited() -> None:
    searched("sqlite:///optuna.db")
    run("optuna.db", "--study", "mine")
    space = imported("mine").space
    study = Study(space, name="mine", store="hpt.db")
    first, second = study.ask(), study.ask()
    assert (first.source, first.params["x"]) == ("given", 0.25)
    assert (second.number, second.source != "given") == (16, True)
    audit = verify(study.store, "mine", default_plugins())
    assert (audit.checked, audit.differences) == (1, [])
    study.close()


def test_several_objectives_and_several_studies() -> None:
    study = optuna.create_study(storage="sqlite:///optuna.db", study_name="two", directions=["minimize", "maximize"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(["loss", "speed"])
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), trial.suggest_int("n", 1, 3)), n_trials=4)
    optuna.create_study(storage="sqlite:///optuna.db", study_name="empty")
    for given in ([], ["--from", "other"]):
        assert "Cannot read an Optuna study in optuna.db: name one with --from. It has: " in run(
            "optuna.db", *given, code=2
        )
    assert "no trials to infer its space from" in run("optuna.db", "--from", "empty", code=2)
    run("optuna.db", "--from", "two", "--store", "own.db")
    history = imported("two", "own.db")
    assert dict(history.definition["objectives"]) == {"loss": "minimize", "speed": "maximize"}
    found = [trial.values for trial in history.trials]  # noqa: PD011 - no data frame
    assert found == [tuple(theirs.values) for theirs in study.trials]


def test_a_file_that_is_not_an_optuna_storage_is_rejected_and_unchanged() -> None:
    Study({"x": Float(0, 1)}, store="own.db", seed=0).add_trial({"x": 0.5}, 1.0)
    with closing(sqlite3.connect("other.db")) as connection:
        connection.execute("CREATE TABLE studies (name)")
    Path("text.toml").write_text("seed = 1\n")
    for name in ("own.db", "other.db", "text.toml"):
        before = Path(name).read_bytes()
        for source in (name, f"sqlite:///{name}"):
            assert f"Cannot read an Optuna study in {name}: " in run(source, code=2)
        assert Path(name).read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"epoch": 1}\n', "it is not a journal of Optuna."),
        ("[1]\n", "it is not a journal of Optuna."),
        ("Epoch 1\n", "it has none."),  # Optuna takes it for an interrupted write
    ],
)
def test_a_log_of_another_program_is_rejected_and_unchanged(text: str, said: str) -> None:
    Path("train.log").write_text(text)
    assert f"Cannot read an Optuna study in train.log: {said}" in run("train.log", code=2)
    assert Path("train.log").read_text() == text


def test_a_damaged_storage_is_rejected() -> None:
    searched("sqlite:///optuna.db")
    with closing(sqlite3.connect("optuna.db")) as connection, connection:
        connection.execute("UPDATE trials SET datetime_start = 'yesterday'")
    assert "Cannot read an Optuna study in optuna.db: " in run("optuna.db", code=2)


def test_choices_that_hpt_cannot_tell_apart_are_refused_with_the_parameter() -> None:
    study = optuna.create_study(storage="sqlite:///optuna.db")
    study.optimize(lambda trial: float(trial.suggest_categorical("layers", [1, True])), n_trials=3)
    assert "space.layers: choices[1]: must differ from choice 0, 1." in run("optuna.db", code=2)


def test_a_password_is_not_repeated() -> None:
    said = run("postgresql://ann:hush/hush@127.0.0.1:1/name", code=2)
    assert "Cannot read an Optuna study in postgresql://ann@127.0.0.1:1/name: " in said
    assert "hush" not in said


@pytest.mark.parametrize("source", ["nosuchdatabase://host/name", "x" * 300])
def test_a_storage_that_cannot_be_opened_is_rejected(source: str) -> None:
    said = run(source, code=2)
    assert f"Cannot read an Optuna study in {source}: " in said or f"There is no file {source}." in said


def test_optunas_log_messages_are_silenced() -> None:
    searched("sqlite:///optuna.db")
    command = [sys.executable, "-m", "hpt_core", "import", "optuna.db"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "study_name" not in done.stdout + done.stderr


def test_importing_twice_is_rejected() -> None:
    searched("sqlite:///optuna.db")
    run("optuna.db")
    assert "The study 'demo' exists already." in run("optuna.db", code=2)
    assert len(imported("demo").trials) == 16


def test_a_search_is_imported_completely_or_not_at_all() -> None:
    space = Space({"x": Float(0, 1)})
    trials = [ImportedTrial({"x": 0.5}, 1.0), ImportedTrial({"x": 2.0}, 1.0)]
    study = Study(space, store="hpt.db")
    with pytest.raises(InvalidParamsError):
        record(ImportedSearch("study", space, {"value": "minimize"}, trials), study)
    assert len(study.trials) == 0
    record(ImportedSearch("study", space, {"value": "minimize"}, trials[:1]), study)
    assert [(trial.number, trial.params, trial.value) for trial in study.trials] == [(0, {"x": 0.5}, 1.0)]
    study.close()


def test_an_empty_store_is_refused() -> None:
    """A variable that is not set must not select the default store."""
    searched("sqlite:///optuna.db")
    assert "No store handles ''." in run("optuna.db", "--store", "", code=2)
    assert not Path("hpt.db").exists()


@pytest.mark.parametrize("name", ["absent.db", "sqlite:///absent.db", "absent.log", "absent.csv"])
def test_a_missing_file_is_not_created(name: str) -> None:
    run(name, code=2)
    assert list(Path.cwd().iterdir()) == []


# --- scikit-learn -------------------------------------------------------------------------------------------


def grid_search(grid: Any, **settings: Any) -> GridSearchCV:
    data = load_iris()
    pipeline = Pipeline([("model", SVC())])
    search = GridSearchCV(pipeline, grid, cv=3, **settings)
    search.fit(data.data, data.target)
    return search


def test_a_csv_of_a_grid_search() -> None:
    grid = {"model__C": [0.01, 1, 100.0], "model__kernel": ["linear", "rbf"], "model__degree": [2]}
    search = grid_search(grid)
    pd.DataFrame(search.cv_results_).to_csv("cv_results.csv")
    run("cv_results.csv")
    history = imported("cv_results")
    assert history.space == Space(
        {
            "model__C": Float(0.01, 100, log=True),
            "model__degree": Constant(2),
            "model__kernel": Categorical("linear", "rbf"),
        }
    )
    assert [trial.params for trial in history.trials] == search.cv_results_["params"]
    assert [trial.value for trial in history.trials] == pytest.approx(search.cv_results_["mean_test_score"])
    metrics = history.trials[2].metrics
    assert {name.removesuffix("_time") for name in metrics} == {
        "mean_fit", "mean_score", "std_fit", "std_score", "std_test_score",
    }  # fmt: skip
    assert metrics["std_test_score"] == pytest.approx(search.cv_results_["std_test_score"][2])
    assert history.objectives == ("score",)
    assert history.best is not None
    assert history.best.value == pytest.approx(search.best_score_)


def test_conditions_none_failed_fits_and_several_metrics() -> None:
    forest = RandomForestClassifier(n_estimators=3, random_state=0)
    grid = [
        {"model": [SVC()], "model__C": [0.1, 1.0]},
        {"model": [forest], "model__max_depth": [None, 3], "model__max_features": np.arange(1, 3)},
    ]
    search = grid_search(grid, scoring=["accuracy", "f1_macro"], refit="accuracy")
    table = pd.DataFrame(search.cv_results_)
    table.loc[1, "mean_test_accuracy"] = float("nan")
    table.to_csv("cv.csv", index=False)
    assert "choose one with --metric: accuracy, f1_macro" in run("cv.csv", code=2)
    assert "no column 'mean_test_acc'. Metrics: accuracy, f1_macro." in run("cv.csv", "--metric", "acc", code=2)
    run("cv.csv", "--metric", "accuracy")
    history = imported("cv")
    svc, trees = {"model": "SVC()"}, {"model": str(forest)}
    assert history.space == Space(
        {
            "model": Categorical("SVC()", str(forest)),
            "model__C": Float(0.1, 1, when=svc),
            "model__max_depth": Categorical(None, 3, when=trees),
            "model__max_features": Int(1, 2, when=trees),
        }
    )
    assert history.trials[3].params == {**trees, "model__max_depth": None, "model__max_features": 2}
    assert [str(trial.state) for trial in history.trials] == ["complete", "failed", *["complete"] * 4]
    assert "mean_test_f1_macro" in history.trials[0].metrics


def test_a_search_by_successive_halving_has_the_same_best() -> None:
    data = load_iris()
    grid = {"C": [0.01, 0.1, 1.0, 10.0], "gamma": [0.001, 0.01, 0.1, 1.0]}
    search = HalvingGridSearchCV(SVC(), grid, cv=3, factor=2, random_state=0).fit(data.data, data.target)
    table = pd.DataFrame(search.cv_results_)
    assert table["mean_test_score"].max() > search.best_score_  # with few samples
    table[::-1].to_csv("halving.csv")  # in any order
    run("halving.csv")
    history = imported("halving")
    assert [trial.params for trial in history.trials] == search.cv_results_["params"][15::-1]
    assert history.best is not None
    assert history.best.params == search.best_params_
    assert history.best.value == pytest.approx(search.best_score_)
    assert len(history.complete) == search.n_candidates_[-1]
    for trial in history.trials:
        rows = table[[params == trial.params for params in table["params"]]]
        assert [report.step for report in trial.reports] == list(rows["n_resources"])
        assert [report.value for report in trial.reports] == pytest.approx(list(rows["mean_test_score"]))


def test_a_halving_may_have_failed_fits_and_rows_of_another_search() -> None:
    rows = [(1, 0.5, 0), (2, 0.6, 0), (3, 0.7, 0), (2, None, 1), (3, 0.7, 1)]
    table: list[dict[str, Any]] = [
        {"params": {"a": a}, "mean_test_score": score, "iter": k, "n_resources": 5 * 3**k} for a, score, k in rows
    ]
    Path("more.json").write_text(json.dumps([*table, {"params": {"a": 4}, "mean_test_score": 0.8}]))
    run("more.json")
    states = [(trial.params["a"], str(trial.state), trial.value) for trial in imported("more").trials]
    assert states == [(1, "stopped", 0.5), (2, "failed", None), (3, "complete", 0.7), (4, "complete", 0.8)]


def test_the_cells_of_a_csv_may_hold_line_breaks() -> None:
    words = ["a\u2028b", "SVC(C=1,\n    gamma=2)"]
    pd.DataFrame({"param_word": words, "mean_test_score": [0.5, 0.6]}).to_csv("cells.csv")
    run("cells.csv")
    assert [trial.params["word"] for trial in imported("cells").trials] == words


def test_tuples_and_dicts_become_choices() -> None:
    texts = ["{'sizes': (10, 10), 'weight': {0: 2}}", "{'sizes': (5,), 'weight': None}"]
    pd.DataFrame({"params": texts, "mean_test_score": [0.5, 0.6]}).to_csv("t.csv")
    run("t.csv")
    assert imported("t").space == Space({"sizes": Categorical([10, 10], [5]), "weight": Categorical("{0: 2}", None)})


def test_json_in_any_shape_and_a_csv_without_readable_params() -> None:
    rows: list[dict[str, Any]] = [
        {"param_a": 0, "param_b": 0.5, "param_c": False, "mean_test_score": 0.5, "std_test_score": 0.1},
        {"param_a": 400, "param_b": 2, "param_c": True, "mean_test_score": math.nan, "std_test_score": math.inf},
    ]
    for row in rows:
        row["params"] = {name: row[f"param_{name}"] for name in "abc"}
    Path("rows.json").write_text(json.dumps(rows))
    Path("columns.json").write_text(json.dumps({name: [row[name] for row in rows] for name in rows[0]}))
    bare = [{**{k: v for k, v in row.items() if k != "params"}, "params": "{'a': <Estimator>}"} for row in rows]
    pd.DataFrame(bare).to_csv("bare.csv", index=False, na_rep="nan", encoding="utf-8-sig")
    pd.DataFrame(rows).to_json("pandas.json")
    for source in ("rows.json", "columns.json", "pandas.json", "bare.csv"):
        run(source)
        history = imported(Path(source).stem)
        assert history.space == Space({"a": Int(0, 400), "b": Float(0.5, 2.0), "c": Categorical(False, True)})
        found = [list(trial.params.values()) for trial in history.trials]
        assert [list(map(type, params)) for params in found] == [[int, float, bool]] * 2
        assert found == [[0, 0.5, False], [400, 2.0, True]]
        assert [trial.value for trial in history.trials] == [0.5, None]
        assert [trial.metrics for trial in history.trials] == [{"std_test_score": 0.1}, {}]


def test_a_table_is_never_executed() -> None:
    evil = "__import__('pathlib').Path('made').touch()"
    Path("evil.csv").write_text(f'params,param_a,mean_test_score\n"{evil}",1,0.5\n"{{\'a\': {evil}}}",2,0.6\n')
    run("evil.csv")
    assert not Path("made").exists()
    assert [trial.params for trial in imported("evil").trials] == [{"a": 1}, {"a": 2}]


def test_a_given_space_leaves_out_what_does_not_fit() -> None:
    values = [0, 1, 2, 3, "1.5", True]
    Path("rows.json").write_text(json.dumps([{"params": {"a": a, "b": 1}, "mean_test_score": 0.5} for a in values]))
    Path("study.toml").write_text("[space]\na = { low = 1.0, high = 2.0 }\n")
    said = run("rows.json", "--space", "study.toml")
    left = [
        f"Left out: The point of row {i} is outside the space: {{'a': {values[i]!r}, 'b': 1}}." for i in (0, 3, 4, 5)
    ]
    lost = "Left out: Values of parameters that are inactive or not in the space: b (trials: 2)."
    assert said.splitlines()[:-1] == [*left, lost]
    assert [trial.params for trial in imported("rows").trials] == [{"a": 1}, {"a": 2}]
    Path("no.toml").write_text("[spice]\n")
    assert "has no [space]" in run("rows.json", "--space", "no.toml", code=2)
    for text in ("[space\n", f"a = {'[' * 5000}\n"):
        Path("bad.toml").write_text(text)
        assert "is not valid TOML" in run("rows.json", "--space", "bad.toml", code=2)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "params,mean_test_score\n", "param_a,mean_test_score\n1,2,3\n"])
def test_a_file_that_is_not_a_table_is_rejected(text: str) -> None:
    Path("t.csv").write_text(text)
    assert "is not a table of cv_results_" in run("t.csv", code=2)
    Path("t.json").write_text("{")
    assert "Cannot read" in run("t.json", code=2)
