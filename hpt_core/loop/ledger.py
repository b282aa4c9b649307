"""A study's log as one process sees it: the store, and the history replayed so far."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from hpt_core.components import location_of
from hpt_core.errors import StoreError, UsageError
from hpt_core.history.history import History
from hpt_core.history.record_schema import damaged_record, record_problem

if TYPE_CHECKING:
    from hpt_core.components import Store
    from hpt_core.history.events import Record

__all__ = ["Ledger", "history_of"]

_LAZY_EVENTS = frozenset({"heartbeat", "reported", "started"})
"""Events that need not be durable at once: any other record that follows, such as a decision, makes them durable.

If a power cut loses a start, it is decided again from the same log, with the same result; the trial died with the
machine.
"""


class Ledger:
    """Reads and writes one study's records and replays them into a history.

    Args:
        store: The open store.
        name: The study's name in it.

    Attributes:
        history: The state replayed so far. Call `sync` first to include what other processes wrote.
        mutex: Held while the history changes, as threads may share a ledger.
        observer: Called with each record right after it is replayed, so that it sees the history as of that record,
            even if several records arrive together. None: no observer.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self.mutex: threading.RLock = threading.RLock()
        self.observer: Callable[[Record], None] | None = None
        self.history: History = History()
        self._queue: deque[Record] = deque()  # read but not yet replayed
        self._told = 0  # position up to which the observer was called
        self._start_time, self._start_tick = time.time(), _ticks()

    def sync(self) -> History:
        """Replay what other processes have written since, and return the history."""
        is_first = not self.history.position  # which reads the whole log
        with self.mutex, _collector_paused() if is_first else nullcontext():
            self._replay(_read(self.store, self.name, self.history.position + len(self._queue)))
            return self.history

    def write(self, *records: Record) -> int:
        """Append records to the store and replay them.

        Returns:
            The position of the last one.

        Raises:
            UsageError: If a record is malformed, so that reading it would fail.
        """
        problem = next(filter(None, map(record_problem, records)), "")
        if problem:
            raise UsageError(f"Cannot write the record: {problem}")
        with self.mutex:
            position = self._append(records)
            if position == self.history.position + len(records):
                self._replay(records)
            else:
                self.sync()
        return position

    def _append(self, records: Sequence[Record]) -> int:
        """Append lazily if the store can do that and none of the records must be durable at once."""
        if all(record["event"] in _LAZY_EVENTS for record in records):
            append_lazily = getattr(self.store, "append_lazily", self.store.append)
            return int(append_lazily(self.name, records))
        return self.store.append(self.name, records)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study's lock, which excludes other processes, and then the mutex.

        In this order, as a supervisor of workers holds the lock for one of them while it writes, which needs the mutex.
        """
        with self.store.lock(self.name), self.mutex:
            yield

    def now(self) -> float:
        """Unix seconds that never jump back: the wall clock at the start, advanced by a monotonic clock."""
        return self._start_time + (_ticks() - self._start_tick)

    def _replay(self, records: Sequence[Record]) -> None:
        """Replay records and pass each to the observer. An observer that calls `sync` replays the rest meanwhile."""
        self._queue.extend(records)
        try:
            while self._queue:
                record = self._queue.popleft()
                try:
                    self.history.apply(record)
                except StoreError as err:
                    raise _unreadable(self.store, self.name, str(err)) from err
                told, self._told = self._told, max(self._told, self.history.position)
                if self.observer is not None and self._told > told:
                    self.observer(record)
        except BaseException:  # Ctrl-C, perhaps in the middle of a record: the next sync reads all from the store again
            self.history = History()
            self._queue.clear()
            raise


def _ticks() -> float:
    """Seconds on a monotonic clock. It counts suspended time, else heartbeats would look stale after a suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def history_of(store: Store, name: str) -> History:
    """Read the history of a study in a store.

    Raises:
        StoreError: If its log is damaged.
    """
    history = Ledger(store, name).sync()
    if not history.exists:
        raise _unreadable(store, name, "Its log has no record that defines the study. Restore a backup of the store.")
    return history


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Make many objects that are all kept: passes of the garbage collector would take a quarter of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(store: Store, name: str, after: int) -> list[Record]:
    """Read the records after position ``after`` and check that they are well-formed."""
    records = list(store.read(name, after))
    for position, record in enumerate(records, after + 1):
        problem = record_problem(record)
        if problem:
            raise _unreadable(store, name, str(damaged_record(position, problem)))
    return records


def _unreadable(store: Store, name: str, why: str) -> StoreError:
    return StoreError(f"The study {name!r} in {location_of(store)} cannot be read. {why}")
