"""The space that hpt import infers from the trials of an Optuna study: its conditions, and what is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hpt_core import Categorical, Float, Int, Space, UsageError
from hpt_sampler_optuna.from_optuna import read_study
from hpt_sampler_optuna.imported import ImportedSearch, conditions

UNIT = Float(0, 1)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def searched(*objectives: Callable[[Any], float], space: Space | None = None) -> tuple[ImportedSearch, optuna.Study]:
    """A study with 24 random trials of each objective, and what is read of it."""
    backend = optuna.storages.journal.JournalFileBackend("optuna.log")
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend), sampler=optuna.samplers.RandomSampler(seed=1)
    )
    for objective in objectives:
        study.optimize(objective, n_trials=24, catch=(ValueError,))
    return read_study("optuna.log", None, space), study


def params_of(study: optuna.Study) -> list[Mapping[str, Any]]:
    return [trial.params for trial in study.trials]


def fail(_: Any) -> None:
    raise ValueError


def prune(_: Any) -> None:
    raise optuna.TrialPruned


def prune_after_a_report(trial: Any) -> None:
    trial.report(1.0, 0)
    raise optuna.TrialPruned


def layers(trial: Any, end: Callable[[Any], None]) -> float:
    count = trial.suggest_int("layers", 1, 3)
    units = [trial.suggest_int(f"units_{i}", 1, 64) for i in range(count)]
    if count == 2:
        end(trial)
    return float(sum(units))


def trees(trial: Any, end: Callable[[Any], None]) -> float:
    if trial.suggest_categorical("model", ["svm", "trees"]) == "svm":
        return float(trial.suggest_float("C", 0, 1))
    if trial.suggest_categorical("pruned", [True, False]):
        trial.suggest_float("alpha", 0, 1)
    end(trial)
    return 0.0


@pytest.mark.parametrize("end", [fail, prune, prune_after_a_report])
@pytest.mark.parametrize("objective", [layers, trees])
def test_a_branch_without_a_complete_trial_keeps_its_parameters(objective: Any, end: Any) -> None:
    found, study = searched(lambda trial: objective(trial, end))
    assert {trial.state for trial in study.trials} > {TrialState.COMPLETE}
    assert found.left_out == []
    assert [trial.params for trial in found.trials] == params_of(study)
    if objective is trees:
        assert found.space["alpha"] == Float(0, 1, when={"pruned": True})


@pytest.mark.parametrize("branch", ["complete", "failed", "pruned"])
def test_a_trial_that_failed_early_says_nothing_of_what_it_lacks(branch: str) -> None:
    def objective(trial: Any) -> float:
        model = trial.suggest_categorical("model", ["svm", "trees"])
        if trial.number % 3 == 0:
            raise ValueError
        x = float(trial.suggest_float("x", 0, 1))
        if model == "svm":
            return x + float(trial.suggest_float("C", 0, 1))
        if branch == "pruned":
            prune_after_a_report(trial)
        depth = trial.suggest_int("depth", 1, 9)
        if branch == "failed":
            raise ValueError
        return x + float(depth)

    found, study = searched(objective)
    assert found.space["x"] == UNIT
    assert found.space["C"] == Float(0, 1, when={"model": "svm"})
    assert branch == "pruned" or found.space["depth"] == Int(1, 9, when={"model": "trees"})
    assert [trial.params for trial in found.trials] == [t.params for t in study.trials if t.number % 3]
    said = "The point of trial {} is incomplete or outside the space: {}."
    assert found.left_out == [said.format(t.number, t.params) for t in study.trials[::3]]


def test_failed_trials_of_an_earlier_objective_do_not_prevent_the_import() -> None:
    def earlier(trial: Any) -> float:
        trial.suggest_float("momentum", 0, trial.suggest_float("x", 0, 1))
        raise ValueError

    found, study = searched(earlier, lambda trial: trial.suggest_float("x", 0, 1))
    assert found.space == Space({"x": UNIT})
    assert [trial.params for trial in found.trials] == [{"x": trial.params["x"]} for trial in study.trials]
    assert found.left_out == ["Values of parameters that are inactive or not in the space: momentum (trials: 24)."]


def test_a_parameter_may_depend_on_two_others() -> None:
    def objective(trial: Any) -> float:
        shrunk, solver = trial.suggest_categorical("shrunk", [True, False]), trial.suggest_categorical("solver", "abc")
        return float(trial.suggest_float("amount", 0, 1)) if shrunk and solver != "b" else 0.0

    found, study = searched(objective)
    assert found.left_out == []
    assert [trial.params for trial in found.trials] == params_of(study)
    assert set(found.space["amount"].when["solver"]) == {"a", "c"}
    assert tuple(found.space["amount"].when["shrunk"]) == (True,)


def test_ranges_that_changed_are_joined() -> None:
    def objective(trial: Any) -> float:
        n = trial.number
        trial.report(math.nan, 1)
        trial.report(float(n), 4)
        trial.suggest_int("even", 0, 10 + 2 * n, step=2)
        trial.suggest_int("any", n, n + 10, step=2)
        trial.suggest_int("mixed", 0, 10, step=5 if n % 2 else 2)
        trial.suggest_float("quarters", 0, 1 + n, step=0.25)
        trial.suggest_float("lr", 0.01, 1 + n, log=True)
        return float(trial.suggest_float("x", -n, 1))

    found, study = searched(objective)
    assert found.space == Space(
        {
            "even": Int(0, 56, step=2),
            "any": Int(0, 33),
            "mixed": Int(0, 10),
            "quarters": Float(0, 24, step=0.25),
            "lr": Float(0.01, 24, log=True),
            "x": Float(-23, 1),
        }
    )
    assert [trial.params for trial in found.trials] == params_of(study)
    assert [list(trial.reports) for trial in found.trials] == [[(5, float(n))] for n in range(24)]  # steps begin at 1


def test_values_that_a_given_space_does_not_have_are_named() -> None:
    given = Space({"model": Categorical("svm", "trees"), "C": Float(0, 1, when={"model": "trees"})})

    def objective(trial: Any) -> float:
        trial.suggest_categorical("model", ["svm"])
        return float(trial.suggest_float("C", 0, 1) + trial.suggest_float("x", 0, 1))

    found, _ = searched(objective, space=given)
    assert [trial.params for trial in found.trials] == [{"model": "svm"}] * 24
    said = "Values of parameters that are inactive or not in the space: C (trials: 24), x (trials: 24)."
    assert found.left_out == [said]


def test_conditions_are_inferred_from_missing_parameters() -> None:
    rows = [{"m": "a", "p": 1}, {"m": "b", "q": 2}, {"m": "c", "q": 3, "r": 1}, {"m": "a", "p": 2}]
    assert conditions(rows, ["m"]) == {"p": {"m": ["a"]}, "q": {"m": ["b", "c"]}, "r": {"m": ["c"]}}


def test_a_parent_is_active_where_its_child_is_and_not_the_child_itself() -> None:
    counted = [{"m": "a", "k": 0, "n": 2, "p": 0}, {"m": "b", "n": 2, "p": 0}, {"m": "a", "k": 0, "n": 1}]
    counted.append({"m": "b", "n": 1})
    assert conditions(counted, ["m", "k", "p"], {"n": [1, 2]}) == {"k": {"m": ["a"]}, "p": {"n": [2]}}


def test_one_parent_is_preferred_to_two() -> None:
    rows = [{"a": 1, "b": 1, "n": 2, "p": 0}, {"a": 1, "b": 2, "n": 1}, {"a": 2, "b": 1, "n": 1}]
    assert conditions(rows, ["a", "b"]) == {"p": {"a": [1], "b": [1]}}
    assert conditions(rows, ["a", "b"], {"n": [1, 2, 3]}) == {"p": {"n": [2, 3]}}


def test_conditions_that_no_parameter_explains_are_rejected() -> None:
    with pytest.raises(UsageError, match="when 'p' is active"):
        conditions([{"m": "a", "p": 1}, {"m": "a"}], ["m"])
