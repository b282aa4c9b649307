"""The part of the store kit for concurrent threads and processes, and for processes that are killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpt_core.testing.checks import check, within
from hpt_core.testing.interruptions import Interruptions
from hpt_core.testing.processes import Channel, Child
from hpt_core.testing.store_base import Make, StoreBase, notes, numbers
from hpt_core.testing.store_kills import BATCH, cut_off, killed_after

if TYPE_CHECKING:
    from hpt_core.components import Store

__all__ = ["StoreProcessesKit"]

_PATIENCE = 20.0
_WRITERS, _EACH, _READS = 3, 49, 60
_TURNS = 12
_CUTS = (1, 100, 1000)


class StoreProcessesKit(StoreBase):
    """Inherit `StoreKit` instead."""

    # --- durability -------------------------------------------------------------------------------------

    @check
    def test_survives_kill_9(self, make_store: Make, tmp_path: Path) -> None:
        """Once ``append`` has returned, records survive ``kill -9``.

        Why: a finished trial must never be lost. A record may stand for hours of training.
        """
        path = self.on_disk(tmp_path)

        def work(channel: Channel) -> None:
            store = make_store(path)
            for number in range(3):
                channel.send(store.append("s", notes([number])))
            os.kill(os.getpid(), signal.SIGKILL)

        with Child(work) as child:
            positions = list(iter(child.receive, ""))
        assert positions == ["1", "2", "3"], f"append() returned {positions}"
        with self.open(make_store, tmp_path) as store:
            _check_records(store, [0, 1, 2])

    @check
    def test_what_is_written_lazily_survives_kill_9(self, make_store: Make, tmp_path: Path) -> None:
        """Once ``append_lazily`` has returned, records survive ``kill -9``, in order with those of ``append``.

        Why: it may skip the sync to disk but not the write to the system. Other processes decide on these reports.
        """
        path = self.on_disk(tmp_path)
        if not hasattr(make_store(path), "append_lazily"):
            pytest.skip("this store has no `append_lazily`")

        def work(channel: Channel) -> None:
            store: Any = make_store(path)
            for number in range(12):
                write = store.append if number % 5 == 0 else store.append_lazily
                channel.send(write("s", notes([number])))
            os.kill(os.getpid(), signal.SIGKILL)

        with Child(work) as child:
            positions = list(iter(child.receive, ""))
        assert positions == [str(number) for number in range(1, 13)], f"the appends returned {positions}"
        with self.open(make_store, tmp_path) as store:
            _check_records(store, range(12))
            _check_records(store, [10, 11], after=10)
            position = store.append("s", notes([12]))
            assert position == 13, f"the next append returned {position}, expected 13"
            _check_records(store, range(7, 13), after=7)

    @check
    def test_a_batch_is_whole_or_not_there_after_kill_9(self, make_store: Make, tmp_path: Path) -> None:
        """If the writer is killed, each batch is there whole or not at all, and the store can be written to again.

        Why: a torn record makes a study unreadable. Half a batch is a state that the study never had.
        """
        self.on_disk(tmp_path)
        kills = [
            *(partial(killed_after, seconds) for seconds in (0.0, 0.005, 0.02)),
            *(partial(cut_off, cut) for cut in _CUTS),
        ]
        for number, killed in enumerate(kills):
            folder = tmp_path / f"round {number}"
            folder.mkdir()
            appended = killed(partial(make_store, self.place(folder)), folder)
            with self.open(make_store, folder) as store:
                found = numbers(store.read("s"))
                assert found == list(range(len(found))), f"records are missing or damaged: {found}"
                assert len(found) >= appended, f"{appended} records were appended, {len(found)} are there"
                assert len(found) % BATCH == 0, f"a batch of {BATCH} records is there in part"
                (position,) = within(_PATIENCE, partial(store.append, "s", notes([len(found)])))
                assert position == len(found) + 1, f"append() returned {position}, expected {len(found) + 1}"
                _check_records(store, range(len(found) + 1))

    # --- readers and writers ----------------------------------------------------------------------------

    @check
    def test_sees_what_others_write(self, make_store: Make, tmp_path: Path) -> None:
        """An open store sees the records that another process writes.

        Why: the log is all that workers and dashboards share.
        """
        path = self.on_disk(tmp_path)

        def work(channel: Channel) -> None:
            with contextlib.closing(make_store(path)) as store:
                store.append("s", notes([1]))
                channel.receive()
                store.append("s", notes([3]))

        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            _check_records(store, [0])
            with Child(work) as child:
                deadline = time.monotonic() + _PATIENCE
                while len(store.read("s")) < 2 and time.monotonic() < deadline:
                    time.sleep(0.001)
                _check_records(store, [0, 1])
                position = store.append("s", notes([2]))
                assert position == 3, f"append() returned {position} after the record of another process, expected 3"
                child.send("go on")
                assert child.receive() == "done"
            _check_records(store, [1, 2, 3], after=1)

    @check
    def test_many_processes_write_at_once(self, make_store: Make, tmp_path: Path) -> None:
        """If several processes append at the same time, no record is lost or repeated, and each writer's order is kept.

        Why: every worker of a study writes. Reports and heartbeats are written without the study's lock, and everybody
            reads on meanwhile from the last position that they know.
        """
        path = self.on_disk(tmp_path)

        def work(channel: Channel, me: int) -> None:
            with contextlib.closing(make_store(path)) as store:
                lazily, interruptions = getattr(store, "append_lazily", store.append), Interruptions(store, seed=me)
                channel.receive()
                for number in range(0, _EACH, me + 1):  # in batches of one, two and three records
                    batch = range(100 * me + number, 100 * me + min(number + me + 1, _EACH))
                    with interruptions.once():
                        (lazily if number // (me + 1) % 4 else store.append)("s", notes(batch))

        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(Child(partial(work, me=me))) for me in range(_WRITERS)]
            for child in children:
                child.send("go")
            with self.open(make_store, tmp_path) as reader:
                seen = _read_on(reader, children)
                assert [child.receive() for child in children] == ["done"] * _WRITERS
                seen += numbers(reader.read("s", len(seen)))
        with self.open(make_store, tmp_path) as store:
            found = numbers(store.read("s"))
        for me in range(_WRITERS):
            mine = [number % 100 for number in found if number // 100 == me]
            assert mine == list(range(_EACH)), f"writer {me} wrote 0 to {_EACH - 1}, its records are {mine}"
        assert seen == found, f"who read on while they wrote has the records {seen}, but they are {found}"

    @check
    def test_is_used_from_any_thread(self, make_store: Make, tmp_path: Path) -> None:
        """Several threads of the process that opened the store can write and read at the same time.

        Why: heartbeats are written by a separate thread, and programs call ask and tell from several threads.
        """
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            writers = [partial(_write, store, first) for first in (100, 200, 300)]
            *written, seen = within(_PATIENCE, *writers, partial(_read_often, store))
            found = numbers(store.read("s"))
            assert sorted(found) == sorted([0, *itertools.chain(*written)]), (
                f"three threads wrote twenty records each; the records are {found}"
            )
            assert seen == found[: len(seen)], f"who read on while they wrote has the records {seen}, of {found}"

    @check
    def test_readers_are_not_held_up(self, make_store: Make, tmp_path: Path) -> None:
        """Reading does not wait for the lock of a study.

        Why: a sampler may compute for minutes under the lock, and `hpt show` must not wait for it.
        """
        path = self.place(tmp_path)
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            with store.lock("s"):
                reader = self.another(make_store, path, store)
                found = numbers(within(_PATIENCE, lambda: reader.read("s"))[0])
                assert found == [0], f"under the lock the records are {found}, expected [0]"
                names = list(within(_PATIENCE, reader.studies)[0])
                assert names == ["s"], f"under the lock the studies are {names}, expected ['s']"

    @check
    def test_the_lock_keeps_no_append_out(self, make_store: Make, tmp_path: Path) -> None:
        """While a study is locked, the holder of the lock and everybody else can append.

        Why: reports of running trials must not wait for a sampler that computes.
        """
        path = self.place(tmp_path)

        def work() -> None:
            with self.open(make_store, tmp_path) as store:
                store.append("s", notes([0]))
                with store.lock("s"):
                    position = store.append("s", notes([1]))
                    assert position == 2, f"append() of the holder returned {position}, expected 2"
                    other = self.another(make_store, path, store)
                    (position,) = within(_PATIENCE, lambda: other.append("s", notes([2])))
                    assert position == 3, f"append() of another object returned {position}, expected 3"

        within(_PATIENCE, work)

    # --- the lock ---------------------------------------------------------------------------------------

    @check
    def test_the_lock_is_there_before_the_first_record(self, make_store: Make, tmp_path: Path) -> None:
        """A study can be locked, read and written before its first record.

        Why: every study begins like this. Its creator checks under the lock whether another process has created it.
        """

        def work() -> None:
            with self.open(make_store, tmp_path) as store, store.lock("s"):
                assert not store.read("s"), "the new study has records"
                position = store.append("s", notes([0]))
                assert position == 1, f"the first append returned {position}, expected 1"

        within(_PATIENCE, work)

    @check
    def test_the_lock_excludes_threads(self, make_store: Make, tmp_path: Path) -> None:
        """Only one thread at a time holds the lock of a study.

        Why: otherwise two threads that ask at the same time get the same trial.
        """
        path = self.place(tmp_path)
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            for other in (store, self.another(make_store, path, store)):
                with store.lock("s"):
                    thread, got = _lock_in_thread(other)
                    assert not got.wait(0.1), "a second thread got the lock while it was held"
                assert got.wait(_PATIENCE), "the lock was released, but the second thread did not get it"
                thread.join()

    @check
    def test_the_lock_excludes_processes(self, make_store: Make, tmp_path: Path) -> None:
        """Only one process at a time holds the lock of a study.

        Why: otherwise two workers that ask at the same time get the same trial, or trials with the same number.
        """
        with self._held_elsewhere(make_store, tmp_path) as (child, store):
            thread, got = _lock_in_thread(store)
            assert not got.wait(0.1), "a second process got the lock while it was held"
            child.send("let go")
            assert got.wait(_PATIENCE), "the other process released the lock, but this one did not get it"
            thread.join()
        found, turns = self._take_turns(make_store, tmp_path), _WRITERS * _TURNS
        assert found == list(range(turns + 1)), (
            f"each of {turns} holders of the lock wrote how many records it had read: {found}, expected 0 to {turns}"
        )

    @check
    def test_the_lock_ends_with_its_holder(self, make_store: Make, tmp_path: Path) -> None:
        """The lock is released when the process that holds it is killed by ``kill -9``.

        Why: otherwise the out-of-memory killer blocks the study for everybody.
        """
        with self._held_elsewhere(make_store, tmp_path) as (child, store):
            child.kill()
            thread, got = _lock_in_thread(store)
            assert got.wait(_PATIENCE), "the holder was killed, but this process did not get the lock"
            thread.join()

    @check
    def test_an_error_under_the_lock_frees_it(self, make_store: Make, tmp_path: Path) -> None:
        """An exception under the lock is raised unchanged, and the lock is released.

        Why: otherwise a sampler that fails leaves all other workers waiting.
        """
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            with pytest.raises(ZeroDivisionError), store.lock("s"):
                raise ZeroDivisionError
            thread, got = _lock_in_thread(store)
            assert got.wait(_PATIENCE), "after an exception under the lock another thread did not get it"
            thread.join()

    def _take_turns(self, make_store: Make, folder: Path) -> list[int]:
        """Let processes compete for the lock. Each holder appends how many records it has read; returns these."""
        path = self.place(folder)

        def work(channel: Channel, me: int) -> None:
            with contextlib.closing(make_store(path)) as store:
                interruptions = Interruptions(store, seed=me)
                channel.receive()
                for _ in range(_TURNS):
                    with contextlib.ExitStack() as held:
                        with interruptions.once():
                            held.enter_context(store.lock("s"))
                        store.append("s", notes([len(store.read("s"))]))

        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(Child(partial(work, me=me))) for me in range(_WRITERS)]
            for child in children:
                child.send("go")
            assert [child.receive() for child in children] == ["done"] * _WRITERS
        with self.open(make_store, folder) as store:
            return numbers(store.read("s"))

    @contextlib.contextmanager
    def _held_elsewhere(self, make_store: Make, folder: Path) -> Iterator[tuple[Child, Store]]:
        """A child process that holds the lock of the study ``s``, and the store in this process."""
        path = self.on_disk(folder)

        def work(channel: Channel) -> None:
            with contextlib.closing(make_store(path)) as store:
                store.append("s", notes([0]))
                with store.lock("s"):
                    channel.send("held")
                    channel.receive()

        with Child(work) as child, self.open(make_store, folder) as store:
            assert child.receive() == "held"
            yield child, store


def _check_records(store: Store, expected: Iterable[int], after: int = 0) -> None:
    found, expected = numbers(store.read("s", after)), list(expected)
    assert found == expected, f"after position {after} the records are {found}, expected {expected}"


def _read_on(store: Store, writers: Sequence[Child]) -> list[int]:
    """Read from the last position on, while one of the writers is busy."""
    found: list[int] = []
    deadline = time.monotonic() + _PATIENCE
    while any(child.is_busy() for child in writers) and time.monotonic() < deadline:
        found += numbers(store.read("s", len(found)))
        time.sleep(0.001)
    return found


def _write(store: Store, first: int) -> list[int]:
    interruptions, written = Interruptions(store, seed=first), list(range(first, first + 20))
    for number in written:
        with interruptions.once():
            store.append("s", notes([number]))
    return written


def _read_often(store: Store) -> list[int]:
    found: list[int] = []
    interruptions = Interruptions(store, seed=0)
    for _ in range(_READS):
        with interruptions.once():
            found += numbers(store.read("s", len(found)))
    return found


def _lock_in_thread(store: Store) -> tuple[threading.Thread, threading.Event]:
    """Start a thread that takes the lock of the study ``s`` once; the event is set when it has the lock."""
    got = threading.Event()

    def work() -> None:
        with contextlib.suppress(Exception), store.lock("s"):
            got.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, got
