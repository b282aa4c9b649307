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
