"""A store served over a connection: errors of one side are raised on the other, whatever their class."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any, Never

import pytest

from hpt_core import Peer, PluginError, Store, StoreError, StoreServer, run_served
from hpt_core.builtin.memory import MemoryStore


class TwoWordsPluginError(PluginError):
    """Can be pickled but not unpickled: its class takes other arguments than its message."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class TwoWordsStoreError(StoreError):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Broken(MemoryStore):
    def append(self, study: str, records: Any) -> int:
        raise TwoWordsStoreError("this", "that")


def gone() -> Never:
    raise AssertionError("the server is there")


def serve(store: Store, work: Any) -> None:
    """Serve a worker in a thread until its loop has ended."""
    ours, theirs = multiprocessing.Pipe()
    server, peer = StoreServer(store), Peer("w", ours)
    thread = threading.Thread(target=run_served, args=(work, "w", theirs, gone))
    thread.start()
    try:
        while not peer.ended:
            assert server.answer(peer)
    finally:
        ours.close()
        thread.join()


def test_an_exception_of_a_worker_is_raised_whatever_its_class_takes() -> None:
    def work(_: str, __: Store) -> None:
        raise TwoWordsPluginError("this", "that")

    with pytest.raises(PluginError, match="TwoWordsPluginError: this and that"):
        serve(MemoryStore(), work)


def test_an_error_that_can_be_sent_arrives_unchanged() -> None:
    def work(_: str, __: Store) -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing") as caught:
        serve(MemoryStore(), work)
    assert "In a worker process:" in caught.value.__notes__[0]


def test_an_error_of_the_store_is_raised_in_the_worker() -> None:
    told = []

    def work(_: str, store: Store) -> None:
        with pytest.raises(StoreError, match="this and that"):
            store.append("s", [{"event": "note"}])
        told.append(list(store.read("s")))

    serve(Broken(), work)
    assert told == [[]]


def connected(server: StoreServer) -> tuple[Peer, Any]:
    """A worker as its server sees it, and the worker's end of the connection."""
    ours, theirs = multiprocessing.Pipe()
    return Peer(server.next_name(), ours), theirs


@pytest.mark.parametrize("end", ["finished", "paused", "released"])
def test_a_worker_runs_a_trial_from_its_start_to_its_end(end: str) -> None:
    server = StoreServer(MemoryStore())
    peer, worker = connected(server)
    for event, runs in (("joined", False), ("started", True), ("reported", True), (end, False)):
        worker.send(("append", "s", [{"event": event}]))
        assert server.answer(peer)
        assert (peer.trial_since is not None) is runs
    assert peer.has_worked
    assert not peer.late(0.0)


def test_the_answer_to_a_worker_that_died_is_dropped() -> None:
    server = StoreServer(MemoryStore())
    peer, worker = connected(server)
    worker.send(("read", "s", 0))
    worker.close()
    assert server.answer(peer)
    assert not server.answer(peer)


def test_a_worker_that_died_frees_the_lock_only_if_it_held_it() -> None:
    server = StoreServer(MemoryStore())
    (holder, first), (waiting, second), (idle, _) = (connected(server) for _ in range(3))
    for peer, worker in ((holder, first), (waiting, second)):
        worker.send(("lock", "s"))
        assert server.answer(peer)
    assert first.poll(1)
    server.forget(idle)
    assert not second.poll()
    server.forget(holder)
    assert second.poll(1)


def test_each_worker_has_a_name_of_its_own() -> None:
    server = StoreServer(MemoryStore())
    assert len({server.next_name() for _ in range(3)}) == 3
