"""The memory store, whose studies live as long as the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager

import attrs

from hpt_core.history.events import Record

__all__ = ["MemoryStore"]


@attrs.define
class MemoryStore:
    """Keeps studies in memory for as long as the process lives."""

    location: str = attrs.field(default="memory", init=False)
    _logs: dict[str, list[Record]] = attrs.field(factory=dict, init=False, repr=False)
    _lock: AbstractContextManager[bool] = attrs.field(factory=threading.RLock, init=False, repr=False)

    def append(self, study: str, records: Sequence[Record]) -> int:
        """See `Store.append`."""
        log = self._logs.setdefault(study, [])
        log.extend(records)
        return len(log)

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        """See `Store.read`."""
        log = self._logs.get(study)
        return log[after:] if log else ()

    def studies(self) -> Sequence[str]:
        """See `Store.studies`."""
        return [name for name, log in self._logs.items() if log]

    def lock(self, study: str) -> AbstractContextManager[object]:  # noqa: ARG002 - all studies share one lock
        """See `Store.lock`; excludes other threads of the process."""
        return self._lock

    def close(self) -> None:
        """Do nothing."""

    def __getstate__(self) -> dict[str, object]:
        """Pickle without the records: a worker is served by its supervisor."""
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Unpickle as an empty store."""
        self.__init__()  # type: ignore[misc]
