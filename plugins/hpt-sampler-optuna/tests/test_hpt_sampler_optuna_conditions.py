"""The space that hpt import infers from the trials of an Optuna study: its conditions, and what is left out."""

from __future__ import annotations

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


def test_a_trial_that_failed_early_says_nothing_of_what_it_lacks() -> None:
    def objective(trial: Any) -> float:
        model = trial.suggest_categorical("model", ["svm", "trees"])
        if trial.number % 3 == 0:
            raise ValueError
        return float(trial.suggest_float("C", 0, 1) if model == "svm" else trial.suggest_int("depth", 1, 9))

    found, study = searched(objective)
    assert found.space["C"] == Float(0, 1, when={"model": "svm"})
    assert found.space["depth"] == Int(1, 9, when={"model": "trees"})
    complete = [trial.params for trial in study.trials if trial.state is TrialState.COMPLETE]
    assert [trial.params for trial in found.trials] == complete
    assert len(found.left_out) == len(study.trials) - len(complete)


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


def test_one_parent_is_preferred_to_two() -> None:
    rows = [{"a": 1, "b": 1, "n": 2, "p": 0}, {"a": 1, "b": 2, "n": 1}, {"a": 2, "b": 1, "n": 1}]
    assert conditions(rows, ["a", "b"]) == {"p": {"a": [1], "b": [1]}}
    assert conditions(rows, ["a", "b"], {"n": [1, 2, 3]}) == {"p": {"n": [2, 3]}}


def test_conditions_that_no_parameter_explains_are_rejected() -> None:
    with pytest.raises(UsageError, match="when 'p' is active"):
        conditions([{"m": "a", "p": 1}, {"m": "a"}], ["m"])
