"""The records of a trial."""

from __future__ import annotations

from hpt_core import Failure, State, Trial
from hpt_core.history.trial import FAILURE_KINDS


def test_the_repr_of_a_trial_shows_only_known_facts() -> None:
    assert repr(Trial(3, {"x": 0.5})) == "<Trial 3 waiting: params={'x': 0.5}>"
    done = Trial(0, {"x": 0.5}, state=State.COMPLETE, values=(0.0,), metrics={"f1": 1.0}, worker="w", started=1.0)
    assert repr(done) == "<Trial 0 complete: values=(0.0,), params={'x': 0.5}, metrics={'f1': 1.0}>"
    failed = Trial(1, {"x": 0.5}, state=State.FAILED, failure=Failure("error", "no luck", detail="a traceback"))
    assert repr(failed) == "<Trial 1 failed: params={'x': 0.5}, failure='no luck'>"


def test_the_kinds_of_failures_are_the_documented_ones() -> None:
    expected = {"error", "invalid-value", "timeout", "out-of-memory", "killed", "worker-lost", "interrupted"}
    assert set(FAILURE_KINDS) == expected
