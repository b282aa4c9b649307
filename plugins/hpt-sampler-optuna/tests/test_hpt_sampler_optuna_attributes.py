"""Constraints and user attributes of Optuna trials, in both directions, and conditions on counts."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner
from numpy.random import default_rng

from hpt_core import Float, Study, UsageError, load_history
from hpt_core.cli.group import hpt
from hpt_sampler_optuna import HptSampler
from hpt_sampler_optuna.imported import conditions
from hpt_sampler_optuna.replica import seed_of

NAMED = pytest.mark.skipif(not hasattr(optuna.Trial, "set_constraint"), reason="Optuna has it from 5.0 on")

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


def imported() -> str:
    result = CliRunner().invoke(hpt, ["import", "sqlite:///optuna.db", "--store", "hpt.db"], prog_name="hpt")
    assert result.exit_code == 0, result.output
    return result.output


def searched(objective: Any, count: int, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
    sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage="sqlite:///optuna.db", study_name="old", sampler=sampler)
    study.optimize(objective, n_trials=count)
    return study


def test_constraints_are_imported_and_the_best_is_feasible() -> None:
    def objective(trial: Any) -> float:
        return float(trial.suggest_float("x", 0, 1))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limited = optuna.samplers.NSGAIISampler(seed=0, constraints_func=lambda t: (0.5 - t.params["x"], -1.0))
    study = searched(objective, 20, limited)
    imported()
    history = load_history("hpt.db")
    assert dict(history.definition["constraints"]) == {"constraint_0": "<= 0", "constraint_1": "<= 0"}
    fit = [trial for trial in study.trials if trial.params["x"] >= 0.5]
    assert 0 < len(fit) < 20
    assert history.best is not None
    assert history.best.params == min(fit, key=lambda trial: trial.params["x"]).params
    assert [trial.metrics["constraint_0"] for trial in history.trials] == [0.5 - t.params["x"] for t in study.trials]


@NAMED
def test_named_constraints_are_imported_if_every_trial_has_them() -> None:
    def objective(trial: Any) -> float:
        trial.set_constraint("size", trial.suggest_float("x", 0, 1) - 0.5)
        if trial.number:
            trial.set_constraint("some", 1.0)
        return float(trial.params["x"])

    searched(objective, 4)
    imported()
    history = load_history("hpt.db")
    assert dict(history.definition["constraints"]) == {"constraint_size": "<= 0"}
    assert [trial.metrics.get("constraint_some") for trial in history.trials] == [None, 1.0, 1.0, 1.0]


def test_numbers_become_metrics_and_other_attributes_are_listed() -> None:
    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        for key, value in {"acc": 1 - x, "epoch": 3, "good": True, "path": "a.pt", "folds": [x], "inf": 1e999}.items():
            trial.set_user_attr(key, value)
        trial.set_user_attr("value", 7.0)  # the same name as the objective
        if trial.number == 3:
            trial.set_user_attr("late", 1.0)
            raise optuna.TrialPruned
        return float(x)

    study = searched(objective, 4)
    study.set_user_attr("data", "MNIST")
    said = imported()
    names = "acc, epoch, folds, good, inf, late, path, value"
    assert (
        f"Left out: User attributes that are not finite numbers, or of trials that are not complete: {names}." in said
    )
    assert "Left out: User attributes of the study: data." in said
    for trial, theirs in zip(load_history("hpt.db").trials[:3], study.trials[:3], strict=True):
        assert trial.metrics == {"acc": theirs.user_attrs["acc"], "epoch": 3.0, "good": 1.0}
        assert trial.value == theirs.value


def test_conditions_on_a_count_are_inferred() -> None:
    def objective(trial: Any) -> float:
        layers = trial.suggest_int("layers", 1, 5)
        return float(sum(trial.suggest_int(f"units_{i}", 4, 128, log=True) for i in range(layers)))

    study = searched(objective, 40)
    assert "40 trials are now in the study 'old'" in imported()
    history = load_history("hpt.db")
    assert [trial.params for trial in history.trials] == [trial.params for trial in study.trials]
    found = {name: history.space[name].when for name in history.space.names}
    wanted = {f"units_{i}": {"layers": tuple(range(i + 1, 6))} for i in range(1, 5)}
    assert {name: {k: tuple(v) for k, v in (when or {}).items()} for name, when in found.items()} == {
        "layers": {},
        "units_0": {},
        **wanted,
    }


def test_a_choice_takes_precedence_over_a_count_and_a_count_has_one_threshold() -> None:
    rows: list[dict[str, Any]] = [{"m": "a", "n": 2, "p": 1}, {"m": "b", "n": 1}]
    assert conditions(rows, ["m"], {"n": range(1, 4)}) == {"p": {"m": ["a"]}}
    assert conditions(rows, [], {"n": range(1, 4)}) == {"p": {"n": [2, 3]}}
    with pytest.raises(UsageError, match="when 'p' is active"):
        conditions([*rows, {"m": "a", "n": 2}], [], {"n": range(1, 4)})


@NAMED
@pytest.mark.parametrize(("name", "trials"), [("TPESampler", 25), ("GPSampler", 9)])
def test_constraints_of_a_study_reach_the_samplers_of_optuna(name: str, trials: int) -> None:
    if name == "GPSampler":  # it takes long for each trial after the first five
        pytest.importorskip("torch")
    options = {"n_startup_trials": 5}
    spec = {"use": "optuna", "sampler": name, "options": options}
    here = Study({"x": Float(0, 1)}, sampler=spec, constraints={"size": ">= 0.7"}, duplicates="allow", seed=0)
    here.run(lambda params: {"value": params["x"], "size": params["x"]}, trials=trials)

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        if limited:
            trial.set_constraint("size", 0.7 - x)
        return float(x)

    for limited in (True, False):
        there = optuna.create_study()
        for number in range(trials):
            there.sampler = getattr(optuna.samplers, name)(**options, seed=seed_of(default_rng([0, number])))
            there.optimize(objective, n_trials=1)
        assert ([t.params for t in here.trials] == [t.params for t in there.trials]) == limited


@NAMED
def test_constraints_of_optuna_reach_the_samplers_of_hpt() -> None:
    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.set_constraint("size", 0.7 - x)
        return float(x)

    def measure(params: dict[str, Any]) -> dict[str, float]:
        return {"value": params["x"], "constraint_size": 0.7 - params["x"]}

    space = {"x": Float(0, 1)}
    there = optuna.create_study(sampler=HptSampler("bayes", space=space, seed=0))
    there.optimize(objective, n_trials=12)
    late = [trial.params["x"] for trial in there.trials[7:]]
    assert sum(x >= 0.69 for x in late) >= 4
    again = optuna.create_study(sampler=HptSampler("bayes", space=space, seed=0))
    for trial in there.trials[:-1]:
        again.add_trial(trial)
    again.optimize(objective, n_trials=1)  # rebuilt from scratch, it continues in the same way
    assert again.trials[-1].params == there.trials[-1].params
    here = Study(space, sampler="bayes", constraints={"constraint_size": "<= 0"}, seed=0)
    here.run(measure, trials=12)
    assert [trial.params for trial in here.trials][1:] == [trial.params for trial in there.trials][1:]


def test_a_sampler_that_ignores_constraints_does_not_warn_at_each_trial(recwarn: pytest.WarningsRecorder) -> None:
    spec = {"use": "optuna", "sampler": "CmaEsSampler"}
    study = Study({"x": Float(0, 1), "y": Float(0, 1)}, sampler=spec, constraints={"size": ">= 0.7"}, seed=0)
    study.run(lambda params: {"value": params["x"], "size": params["y"]}, trials=4)
    assert [str(warning.message) for warning in recwarn] == []
