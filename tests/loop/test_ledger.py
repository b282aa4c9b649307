"""The ledger: its clock, what it writes, and its observer."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Never

import pytest

from hpt_core import Float, Params, Record, StoreError, Study, Trial, UsageError, hookimpl, load_history
from hpt_core.builtin.memory import MemoryStore
from hpt_core.history import events
from hpt_core.history.columns import Columns
from hpt_core.loop.ledger import Ledger
from hpt_core.plugins.plugins import Plugins
from hpt_core.testing.histories import make_records

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
    assert abs(before - time.time()) < 60.0
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert before <= ledger.now() < before + 60.0


def test_only_heartbeats_reports_and_starts_are_written_lazily() -> None:
    """A power cut may lose what is written lazily: never a result, a decision or what the user did."""
    lazy, durable = set[str](), set[str]()

    class TwoSpeeds(MemoryStore):
        def append(self, study: str, records: Sequence[Record]) -> int:
            durable.update(record["event"] for record in records)
            return super().append(study, records)

        def append_lazily(self, study: str, records: Sequence[Record]) -> int:
            lazy.update(record["event"] for record in records)
            return super().append(study, records)

    study = Study({"x": Float(0, 1)}, sampler="random", store=TwoSpeeds(), seed=0)
    study.enqueue({"x": 0.5})
    study.run(lambda params: (params["x"] for _ in range(3)), trials=2)
    study.invalidate(0, "a bug")
    study.ledger.write(events.heartbeat(study.ledger.now(), "w"))
    assert lazy == {"heartbeat", "reported", "started"}
    assert durable == {"amended", "created", "joined", "enqueued", "finished", "stopped", "invalidated"}
    study.ledger.write(events.started(9.0, 2, {"x": 0.1}, "w", 1, 0), events.complete(9.0, 2, 1, [0.1], {}))
    assert "started" in durable  # as the result that it is written with


def stored() -> MemoryStore:
    """A store with a study ``s`` that has no trials."""
    store = MemoryStore()
    store.append("s", make_records({"x": Float(0, 1)}))
    return store


def test_a_write_also_replays_what_another_process_wrote_before() -> None:
    store = stored()
    ledger, theirs = Ledger(store, "s"), Ledger(store, "s")
    ledger.sync()
    theirs.sync()
    theirs.write(events.started(1.0, 0, {"x": 0.5}, "theirs", 1, 0))
    ledger.write(events.started(2.0, 1, {"x": 0.6}, "ours", 1, 0))
    assert [trial.worker for trial in ledger.history.trials] == ["theirs", "ours"]
    assert ledger.history.position == len(store.read("s"))


def test_threads_that_share_a_ledger_read_and_write_one_at_a_time() -> None:
    """While one of them reads or appends, another one cannot acquire the mutex."""
    free = dict[str, bool]()

    class Watched(MemoryStore):
        def append(self, study: str, records: Sequence[Record]) -> int:
            watch("append")
            return store.append(study, records)

        def read(self, study: str, after: int = 0) -> Sequence[Record]:
            watch("read")
            return store.read(study, after)

    def watch(act: str) -> None:
        with ThreadPoolExecutor(1) as other:
            free[act] = other.submit(ledger.mutex.acquire, blocking=False).result()

    store, ledger = stored(), Ledger(Watched(), "s")
    ledger.sync()
    ledger.write(events.started(1.0, 0, {"x": 0.5}, "w", 1, 0))
    assert free == {"append": False, "read": False}


@pytest.mark.parametrize(
    "act",
    [
        lambda study: study.ask(),
        lambda study: study.enqueue({"x": 0.5}),
        lambda study: study.add_trial({"x": 0.5}, 1.0),
        lambda study: study.invalidate(0, "a bug"),
        lambda study: study.run(lambda _: 0.0, trials=2),
    ],
    ids=["ask", "enqueue", "add_trial", "invalidate", "run"],
)
def test_a_thread_that_waits_for_the_lock_leaves_the_mutex_to_others(act: Callable[[Study], Any]) -> None:
    """A supervisor of workers holds the lock for one of them, and needs the mutex to write what that one sends."""
    waits = threading.Event()

    class Watched(MemoryStore):
        def lock(self, study: str) -> Any:
            waits.set()
            return super().lock(study)

    study = Study({"x": Float(0, 1)}, sampler="random", store=Watched(), seed=0)
    study.tell(study.ask(), 0.25)
    with ThreadPoolExecutor(1) as other:
        with study.store.lock(study.name):
            waits.clear()
            done = other.submit(act, study)
            assert waits.wait(30)
            assert study.ledger.mutex.acquire(blocking=False)
            study.ledger.mutex.release()
        done.result()


def test_a_log_that_cannot_be_replayed_is_refused_each_time_it_is_read() -> None:
    """Trials 0 to 6 were never started, so trial 7 cannot follow; the record behind it is fine."""
    store = stored()
    store.append("s", [events.started(1.0, 7, {"x": 0.5}, "w", 1, 0), events.started(2.0, 0, {"x": 0.6}, "w", 1, 0)])
    ledger = Ledger(store, "s")
    for _ in range(3):
        with pytest.raises(StoreError, match="Record 2 of the log is damaged"):
            ledger.sync()
        assert ledger.history.trials == []


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


@pytest.mark.parametrize("place", ["add", "set_results", "set_state"])
def test_ctrl_c_in_the_middle_of_a_replayed_record_leaves_nothing_half_done(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def study() -> Study:
        return Study({"x": Float(0, 1)}, sampler="tpe", seed=0, plugins=Plugins())

    def ended_by_ctrl_c(*_: object) -> Never:
        monkeypatch.undo()
        raise KeyboardInterrupt

    def loss(params: Params) -> float:
        return float(params["x"])

    told, interrupted, uninterrupted = [], study(), study()
    uninterrupted.run(loss, trials=15)

    class Watcher:
        @hookimpl
        def hpt_trial_finished(self, trial: Trial) -> None:
            told.append(trial.number)

    interrupted.plugins.register(Watcher())
    interrupted.run(loss, trials=12)
    monkeypatch.setattr(Columns, place, ended_by_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(loss, trials=15)
    interrupted.run(loss, trials=15)
    assert [(t.params, t.value) for t in interrupted.trials] == [(t.params, t.value) for t in uninterrupted.trials]
    fresh = Ledger(interrupted.store, interrupted.name).sync()
    assert interrupted.history.losses.tolist() == fresh.losses.tolist()
    assert [t.number for t in interrupted.history.session] == [t.number for t in fresh.session]
    assert told == list(range(15))


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("damaged", [True, False])
def test_reading_a_study_leaves_the_garbage_collector_as_it_was(enabled: bool, damaged: bool) -> None:
    during = []

    class Watching(MemoryStore):
        def read(self, study: str, after: int = 0) -> Sequence[Record]:
            during.append(gc.isenabled())
            return [{"event": "?"}] if damaged else super().read(study, after)

    store = Watching()
    store.append("s", make_records({"x": Float(0, 1)}, [({"x": 0.5}, 1.0)]))
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(StoreError) if damaged else nullcontext():
            load_history(store, "s")
        assert (gc.isenabled(), during) == (enabled, [False])
    finally:
        (gc.enable if was_enabled else gc.disable)()


def test_only_the_first_read_of_a_study_pauses_the_garbage_collector() -> None:
    reads = []

    class Watching(MemoryStore):
        def read(self, study: str, after: int = 0) -> Sequence[Record]:
            reads.append((after > 0, gc.isenabled()))
            return super().read(study, after)

    assert gc.isenabled()
    store = Watching()
    for trials in (1, 2):
        reads.clear()
        Study({"x": Float(0, 1)}, sampler="random", seed=0, store=store).run(_constant, trials=trials)
    assert set(reads) == {(False, False), (True, True)}


def _constant(params: Params) -> float:
    return 0.0
