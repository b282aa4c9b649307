"""The part of the store kit about several threads and processes, and about dying."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpt_core.testing.checks import check, within
from hpt_core.testing.processes import Child, Talk
from hpt_core.testing.store_base import Make, StoreBase, notes, numbers

if TYPE_CHECKING:
    from hpt_core.components import Store

__all__ = ["StoreProcessesKit"]

_PATIENCE = 20.0
_WRITERS, _EACH = 3, 25
_BATCH = 20


class StoreProcessesKit(StoreBase):
    """Inherit `StoreKit` instead."""

    # --- durability -------------------------------------------------------------------------------------

    @check
    def test_survives_kill_9(self, make_store: Make, tmp_path: Path) -> None:
        """What ``append`` returned from is there after ``kill -9``.

        Why: a finished trial is never lost; hours of training are behind a record.
        """
        path = self.on_disk(tmp_path)

        def work(talk: Talk) -> None:
            store = make_store(path)
            for number in range(3):
                talk.say(store.append("s", notes([number])))
            os.kill(os.getpid(), signal.SIGKILL)

        with Child(work) as child:
            told = list(iter(child.hear, ""))
        assert told == ["1", "2", "3"]
        with self.open(make_store, tmp_path) as store:
            assert numbers(store.read("s")) == [0, 1, 2]

    @check
    def test_what_is_written_lazily_survives_kill_9(self, make_store: Make, tmp_path: Path) -> None:
        """What ``append_lazily`` returned from is there after ``kill -9``, in order with what ``append`` wrote.

        Why: it may spare the disk, not the system; other processes decide on these reports.
        """
        path = self.on_disk(tmp_path)
        if not hasattr(make_store(path), "append_lazily"):
            pytest.skip("this store has no `append_lazily`")

        def work(talk: Talk) -> None:
            store: Any = make_store(path)
            for number in range(12):
                write = store.append if number % 5 == 0 else store.append_lazily
                talk.say(write("s", notes([number])))
            os.kill(os.getpid(), signal.SIGKILL)

        with Child(work) as child:
            told = list(iter(child.hear, ""))
        assert told == [str(number) for number in range(1, 13)]
        with self.open(make_store, tmp_path) as store:
            assert numbers(store.read("s")) == list(range(12))
            assert numbers(store.read("s", 10)) == [10, 11]
            assert store.append("s", notes([12])) == 13
            assert numbers(store.read("s", 7)) == list(range(7, 13))

    @check
    def test_a_batch_is_whole_or_not_there_after_kill_9(self, make_store: Make, tmp_path: Path) -> None:
        """Killed while it writes, it leaves each batch whole or not at all, and can be written to again.

        Why: a torn record makes a study unreadable; half a batch makes one that never was.
        """
        self.on_disk(tmp_path)
        for number, seconds in enumerate((0.0, 0.005, 0.02)):
            folder = tmp_path / f"round {number}"
            folder.mkdir()
            confirmed = _killed_while_writing(partial(make_store, self.place(folder)), seconds)
            with self.open(make_store, folder) as store:
                found = numbers(store.read("s"))
                assert found == list(range(len(found))), "records are missing or torn"
                assert len(found) >= confirmed, f"{confirmed} records were confirmed, {len(found)} are there"
                assert len(found) % _BATCH == 0, f"a batch of {_BATCH} is there in part"
                assert store.append("s", notes([len(found)])) == len(found) + 1
                assert numbers(store.read("s"))[-1] == len(found)

    # --- readers and writers ----------------------------------------------------------------------------

    @check
    def test_sees_what_others_write(self, make_store: Make, tmp_path: Path) -> None:
        """A store that is open sees what another process writes.

        Why: the log is the only thing that workers and dashboards share.
        """
        path = self.on_disk(tmp_path)

        def work(talk: Talk) -> None:
            with contextlib.closing(make_store(path)) as store:
                store.append("s", notes([1]))
                talk.hear()
                store.append("s", notes([3]))

        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            assert numbers(store.read("s")) == [0]
            with Child(work) as child:
                deadline = time.monotonic() + _PATIENCE
                while len(store.read("s")) < 2 and time.monotonic() < deadline:
                    time.sleep(0.001)
                assert store.append("s", notes([2])) == 3
                child.say("go on")
                assert child.hear() == "done"
            assert numbers(store.read("s", 1)) == [1, 2, 3]

    @check
    def test_many_processes_write_at_once(self, make_store: Make, tmp_path: Path) -> None:
        """Several processes append at once and no record is lost, doubled or out of its writer's order.

        Why: each worker of a study writes; reports and heartbeats come without the study's lock.
        """
        path = self.on_disk(tmp_path)

        def work(_: Talk, me: int) -> None:
            with contextlib.closing(make_store(path)) as store:
                lazily = getattr(store, "append_lazily", store.append)
                for number in range(0, _EACH, me + 1):  # in batches of one, two and three records
                    batch = range(100 * me + number, 100 * me + min(number + me + 1, _EACH))
                    (lazily if number // (me + 1) % 4 else store.append)("s", notes(batch))

        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(Child(partial(work, me=me))) for me in range(_WRITERS)]
            assert [child.hear() for child in children] == ["done"] * _WRITERS
        with self.open(make_store, tmp_path) as store:
            found = numbers(store.read("s"))
        for me in range(_WRITERS):
            mine = [number % 100 for number in found if number // 100 == me]
            assert mine == list(range(_EACH)), f"the records of writer {me}: {mine}"

    @check
    def test_is_used_from_any_thread(self, make_store: Make, tmp_path: Path) -> None:
        """Threads of the process that opened it may use it at once.

        Why: the heartbeat is written by a thread of its own, and programs ask and tell from several.
        """
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            within(_PATIENCE, *(partial(_write, store, first) for first in (100, 200, 300)))
            assert sorted(numbers(store.read("s"))) == [0, *range(100, 110), *range(200, 210), *range(300, 310)]

    @check
    def test_readers_are_not_held_up(self, make_store: Make, tmp_path: Path) -> None:
        """Reading goes on while somebody holds a study's lock.

        Why: a sampler may think for minutes under the lock, and `hpt show` must not wait for it.
        """
        path = self.place(tmp_path)
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            with store.lock("s"):
                reader = self.another(make_store, path, store)
                assert numbers(within(_PATIENCE, lambda: reader.read("s"))[0]) == [0]
                assert [list(names) for names in within(_PATIENCE, reader.studies)] == [["s"]]

    @check
    def test_the_lock_keeps_no_append_out(self, make_store: Make, tmp_path: Path) -> None:
        """Others may append while somebody holds a study's lock, and so may the holder.

        Why: reports of running trials must not wait for a sampler that thinks.
        """
        path = self.place(tmp_path)
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            with store.lock("s"):
                assert store.append("s", notes([1])) == 2
                other = self.another(make_store, path, store)
                assert within(_PATIENCE, lambda: other.append("s", notes([2]))) == [3]

    # --- the lock ---------------------------------------------------------------------------------------

    @check
    def test_the_lock_is_there_before_the_first_record(self, make_store: Make, tmp_path: Path) -> None:
        """A study can be locked, read and written to where nothing was ever written.

        Why: so every study begins: who creates it looks under the lock whether another did.
        """
        with self.open(make_store, tmp_path) as store, store.lock("s"):
            assert not store.read("s")
            assert store.append("s", notes([0])) == 1

    @check
    def test_the_lock_excludes_threads(self, make_store: Make, tmp_path: Path) -> None:
        """One thread holds the lock of a study at a time.

        Why: two threads that ask at once would get the same trial.
        """
        path = self.place(tmp_path)
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            for other in (store, self.another(make_store, path, store)):
                with store.lock("s"):
                    thread, got = _taker(other)
                    assert not got.wait(0.1), "a second thread got the lock"
                assert got.wait(_PATIENCE), "the lock was free, and still nobody got it"
                thread.join()

    @check
    def test_the_lock_excludes_processes(self, make_store: Make, tmp_path: Path) -> None:
        """One process holds the lock of a study at a time.

        Why: two workers that ask at once would get the same trial, or trials with the same number.
        """
        with self._held_elsewhere(make_store, tmp_path) as (child, store):
            thread, got = _taker(store)
            assert not got.wait(0.1), "a second process got the lock"
            child.say("let go")
            assert got.wait(_PATIENCE), "the other process let go, and still nobody got it"
            thread.join()

    @check
    def test_the_lock_ends_with_its_holder(self, make_store: Make, tmp_path: Path) -> None:
        """The lock is free when the process that holds it dies by ``kill -9``.

        Why: the out-of-memory killer would otherwise end the study for everybody.
        """
        with self._held_elsewhere(make_store, tmp_path) as (child, store):
            child.kill()
            thread, got = _taker(store)
            assert got.wait(_PATIENCE), "its holder is dead, and still nobody gets the lock"
            thread.join()

    @check
    def test_an_error_under_the_lock_frees_it(self, make_store: Make, tmp_path: Path) -> None:
        """What is raised under the lock comes out unchanged, and the lock is free.

        Why: a sampler that fails would otherwise leave every other worker waiting.
        """
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            with pytest.raises(ZeroDivisionError), store.lock("s"):
                raise ZeroDivisionError
            thread, got = _taker(store)
            assert got.wait(_PATIENCE), "nobody gets the lock any more"
            thread.join()

    @contextlib.contextmanager
    def _held_elsewhere(self, make_store: Make, folder: Path) -> Iterator[tuple[Child, Store]]:
        """A process that holds the lock of the study ``s``, and a store here."""
        path = self.on_disk(folder)

        def work(talk: Talk) -> None:
            with contextlib.closing(make_store(path)) as store:
                store.append("s", notes([0]))
                with store.lock("s"):
                    talk.say("held")
                    talk.hear()

        with Child(work) as child, self.open(make_store, folder) as store:
            assert child.hear() == "held"
            yield child, store


def _killed_while_writing(make: Callable[[], Store], seconds: float) -> int:
    """Have a process write batch after batch, and kill it so long after the fourth.

    Returns:
        How many records it had confirmed.
    """

    def work(talk: Talk) -> None:
        store = make()
        for first in range(0, 100_000, _BATCH):
            talk.say(store.append("s", notes(range(first, first + _BATCH))))

    with Child(work) as child:
        confirmed = [int(child.hear()) for _ in range(4)]
        time.sleep(seconds)
    return confirmed[-1]


def _write(store: Store, first: int) -> None:
    for number in range(first, first + 10):
        store.append("s", notes([number]))


def _taker(store: Store) -> tuple[threading.Thread, threading.Event]:
    """A thread that takes the lock of the study ``s`` and gives it back, and whether it had it."""
    got = threading.Event()

    def work() -> None:
        with contextlib.suppress(Exception), store.lock("s"):
            got.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, got
