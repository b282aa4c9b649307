"""The ledger: its clock, what it writes, and its observer."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from hpt_core import Float, Study, UsageError, events, load_history
from hpt_core.builtin.memory import MemoryStore

SLEPT = 8 * 3600.0


@pytest.mark.skipif(sys.platform != "linux", reason="no clock there that goes on while the machine sleeps")
def test_suspended_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Study({"x": Float(0, 1)}, sampler="random").ledger
    before = ledger.now()
    clock = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + SLEPT * (which == time.CLOCK_BOOTTIME))
    assert SLEPT <= ledger.now() - before < SLEPT + 60.0


def test_setting_the_wall_clock_back_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Study({"x": Float(0, 1)}, sampler="random").ledger
    before = ledger.now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert before <= ledger.now() < before + 60.0


@pytest.mark.parametrize("reason", [None, 5, {"a": 1}, b"x"])
def test_a_malformed_record_is_not_written(reason: Any) -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    study.run(lambda params: params["x"], trials=1)
    with pytest.raises(UsageError, match="Cannot write the record: its `reason` must be text"):
        study.invalidate(0, reason)
    assert load_history(study.store).best is not None  # the log can be read, and no trial is invalid


@pytest.mark.parametrize("curious", [False, True])
def test_records_that_arrive_together_are_observed_one_by_one(curious: bool) -> None:
    """Another process pauses, resumes and ends a trial before this one reads the log again."""
    store, saw = MemoryStore(), list[tuple[str, str]]()
    study, other = (Study({"x": Float(0, 1)}, sampler="random", store=store, seed=0) for _ in range(2))
    ledger, theirs = study.decisions.ledger, other.decisions.ledger

    def observe(record: Any) -> None:
        if "trial" in record:
            saw.append((record["event"], ledger.history.trials[0].state.value))
        if curious:
            ledger.sync()

    ledger.observer = observe
    theirs.write(events.started(1.0, 0, {"x": 0.5}, "w", 1, 0))
    theirs.write(events.paused(2.0, 0, 1, 0, "rule", "waits", {}))
    theirs.write(events.started(3.0, 0, {"x": 0.5}, "w", 2, 0))
    theirs.write(events.complete(4.0, 0, 2, [1.0], {}))
    ledger.sync()
    assert saw == [("started", "running"), ("paused", "paused"), ("started", "running"), ("finished", "complete")]
    assert ledger.history.position == theirs.history.position


def test_an_interrupted_observer_loses_no_record() -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    ledger = study.decisions.ledger

    def interrupt(_: Any) -> None:
        ledger.observer = None
        raise KeyboardInterrupt

    ledger.observer = interrupt
    with pytest.raises(KeyboardInterrupt):
        ledger.write(events.started(1.0, 0, {"x": 0.5}, "w", 1, 0), events.complete(2.0, 0, 1, [1.0], {}))
    assert [trial.state.value for trial in ledger.sync().trials] == ["complete"]
