"""The memory store meets the contract of stores while its process lives."""

from __future__ import annotations

import pickle
import threading

from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Record, Store
from hpt_core.builtin.memory import MemoryStore

APPENDS = st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.lists(st.integers(), max_size=3)), max_size=12)


@given(APPENDS, st.integers(0, 20))
def test_it_is_an_ordered_log_for_each_study(appends: list[tuple[str, list[int]]], after: int) -> None:
    store = MemoryStore()
    written: dict[str, list[Record]] = {}
    for study, numbers in appends:
        records: list[Record] = [{"event": "note", "n": number} for number in numbers]
        log = written.setdefault(study, [])
        log.extend(records)
        assert store.append(study, records) == len(log)
    for study, log in written.items():
        assert list(store.read(study)) == log
        assert list(store.read(study, after)) == log[after:]
    assert set(store.studies()) == {study for study, log in written.items() if log}
    assert list(store.read("not there")) == []


def test_it_is_a_store() -> None:
    store = MemoryStore()
    assert isinstance(store, Store)
    assert store.location == "memory"
    with store.lock("s"), store.lock("s"):  # its holder may lock again
        store.append("s", [{"event": "note"}])
    store.close()
    store.close()


def test_the_lock_keeps_other_threads_out() -> None:
    store = MemoryStore()
    most, inside = 0, 0

    def work() -> None:
        nonlocal most, inside
        for _ in range(200):
            with store.lock("s"):
                inside += 1
                most = max(most, inside)
                store.append("s", [{"event": "note"}])
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert len(store.read("s")) == 800


def test_it_is_pickled_empty() -> None:
    store = MemoryStore()
    store.append("s", [{"event": "note"}])
    assert list(pickle.loads(pickle.dumps(store)).studies()) == []
