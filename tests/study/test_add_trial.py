"""Trials that were evaluated elsewhere: at any point, with any result, and ignored by the audit."""

from __future__ import annotations

from typing import Any

import pytest

from hpt_core import Failure, Float, Int, InvalidParamsError, Pause, State, Stop, Study
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify

SPACE = {"x": Float(0, 1), "k": Int(1, 3, default=2)}


def study(**settings: Any) -> Study:
    return Study(SPACE, sampler="random", seed=0, **settings)


def test_every_end_is_recorded_as_given() -> None:
    found = study(objective={"a": "maximize"})
    found.add_trial({"x": 0.5}, 1.5)
    found.add_trial({"x": 0.5, "k": 2}, {"a": 2.5, "m": 3.0})
    found.add_trial({"x": 0.25}, Failure("timeout", "too slow"))
    found.add_trial({"x": 0.75}, Stop("pruned elsewhere"))
    running = found.add_trial({"x": 1.0})
    states = [trial.state for trial in found.trials]
    assert states == [State.COMPLETE, State.COMPLETE, State.FAILED, State.STOPPED, State.RUNNING]
    assert {trial.source for trial in found.trials} == {"given"}
    assert [trial.value for trial in found.trials] == [1.5, 2.5, None, None, None]
    assert found.trials[0].params == found.trials[1].params == {"x": 0.5, "k": 2}
    assert found.trials[1].metrics == {"m": 3.0}
    assert found.best is found.trials[1]
    assert found.history.pending.tolist() == [running.number]


def test_the_reports_of_a_stopped_trial_give_its_value() -> None:
    found = study()
    trial = found.add_trial({"x": 0.5})
    found.report(trial, 1, 4.0)
    found.report(trial, 5, 3.0)
    assert found.tell(trial, Stop("pruned")).value == 3.0
    assert (trial.partial, trial.rule, trial.reason) == (True, "given", "pruned")


def test_suggestions_continue_after_added_trials_and_the_audit_finds_nothing() -> None:
    class Never:
        def judge_trial(self, history: Any, trial: Any) -> Stop | Pause | None:
            return None

    found = study(stop=[Never()])
    found.add_trial({"x": 0.5}, 1.0)
    found.tell(found.ask(), 2.0)
    found.add_trial({"x": 0.25}, Stop("no"))
    found.tell(found.ask(), 3.0)
    audit = verify(found.store, found.name, default_plugins(), rules=[("Never", Never())])
    assert (audit.checked, audit.differences) == (2, [])
    assert [trial.source for trial in found.trials] == ["given", "sampler", "given", "sampler"]


def test_a_point_outside_the_space_is_refused_and_leaves_no_trial() -> None:
    found = study()
    with pytest.raises(InvalidParamsError, match="x"):
        found.add_trial({"x": 2.0}, 1.0)
    assert len(found.trials) == 0
