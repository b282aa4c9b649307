"""A study's log as one process has it: its store, and the history replayed so far."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hpt_core.components import location_of
from hpt_core.errors import StoreError, UsageError
from hpt_core.history import History
from hpt_core.wellformed import damaged, problem_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hpt_core.components import Store
    from hpt_core.events import Record

__all__ = ["Ledger", "append", "history_of"]

_PASSING = frozenset({"heartbeat", "reported", "started"})
"""Events that a power cut may cost as long as nothing else was written: a decision that rests on them is durable.

A start that is lost is decided again, on the same log and so alike; what ran ended with the machine.
"""


class Ledger:
    """Reads and writes one study's records; what is written is replayed at once.

    Args:
        store: The open store.
        name: The study's name in it.

    Attributes:
        mutex: Held while the history changes; threads of one process may share a ledger.
        observer: Called with each record that is replayed from now on, right after the history took it in: it sees the
            study as it was then, also where several records come at once. None: nobody.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self.mutex = threading.RLock()
        self.observer: Callable[[Record], None] | None = None
        self._history = History()
        self._coming: deque[Record] = deque()  # read, and not replayed yet
        self._wall, self._began = time.time(), _ticks()

    @property
    def history(self) -> History:
        """The study as far as it has been replayed; `sync` first to see what others wrote."""
        return self._history

    def sync(self) -> History:
        """Replay what others wrote since, and return the history."""
        with self.mutex:
            self._take(_read(self.store, self.name, self._history.position + len(self._coming)))
            return self._history

    def write(self, *records: Record) -> int:
        """Append records and replay them; see `append`.

        Returns:
            The position of the last one.

        Raises:
            UsageError: If one would be found damaged when it is read.
        """
        problem = next(filter(None, map(problem_of, records)), "")
        if problem:
            raise UsageError(f"That cannot be recorded: {problem}")
        with self.mutex:
            position = append(self.store, self.name, records)
            if position == self._history.position + len(records):
                self._take(records)
            else:
                self.sync()
        return position

    def lock(self) -> AbstractContextManager[object]:
        """The study's lock between processes."""
        return self.store.lock(self.name)

    def now(self) -> float:
        """Unix seconds that never jump back: the wall clock at the start, carried on by one that nobody sets."""
        return self._wall + (_ticks() - self._began)

    def _take(self, records: Sequence[Record]) -> None:
        """Replay records, each told to the observer; one that looks at the study has the rest replayed meanwhile."""
        self._coming.extend(records)
        try:
            while self._coming:
                record = self._coming.popleft()
                try:
                    self._history.apply(record)
                except StoreError as err:
                    raise _unreadable(self.store, self.name, str(err)) from err
                if self.observer is not None:
                    self.observer(record)
        except BaseException:
            self._coming.clear()  # they are in the store, and read again
            raise


def _ticks() -> float:
    """Seconds on a clock that goes on while the machine sleeps, or others would take its trials for lost for ever."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def append(store: Store, study: str, records: Sequence[Record]) -> int:
    """Append to a store: durably, but for a trial's start and reports, where the store has a quicker way for those.

    Returns:
        The position of the last one.
    """
    if all(record["event"] in _PASSING for record in records):
        quickly = getattr(store, "append_lazily", store.append)
        return int(quickly(study, records))
    return store.append(study, records)


def history_of(store: Store, name: str) -> History:
    """Read a study that is in a store.

    Raises:
        StoreError: If its log is damaged.
    """
    history = Ledger(store, name).sync()
    if not history.exists:
        raise _unreadable(store, name, "Its log lacks the record that defines it. Go back to a copy of the store.")
    return history


def _read(store: Store, name: str, after: int) -> list[Record]:
    """Read what is new in a store, if it has the shape of records."""
    records = list(store.read(name, after))
    for position, record in enumerate(records, after + 1):
        problem = problem_of(record)
        if problem:
            raise _unreadable(store, name, str(damaged(position, problem)))
    return records


def _unreadable(store: Store, name: str, why: str) -> StoreError:
    return StoreError(f"The study {name!r} in {location_of(store)} cannot be read. {why}")
