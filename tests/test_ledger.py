"""A study's log as one process has it: its clock, and what it takes."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from hpt_core import Float, Study, UsageError, load_history

SLEPT = 8 * 3600.0


@pytest.mark.skipif(sys.platform != "linux", reason="no clock there that goes on while the machine sleeps")
def test_the_time_that_the_machine_slept_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_what_nobody_could_read_is_not_written(reason: Any) -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    study.run(lambda params: params["x"], trials=1)
    with pytest.raises(UsageError, match="That cannot be recorded: its `reason` must be text"):
        study.invalidate(0, reason)
    assert load_history(study.store).best is not None  # it can be read, and nothing was declared invalid
