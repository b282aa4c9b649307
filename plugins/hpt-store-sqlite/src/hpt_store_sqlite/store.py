"""The store `sqlite`: many studies in one SQLite file."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs

from hpt_core import Record, StoreError, decode_records, encode_record, file_lock, option
from hpt_store_sqlite import schema
from hpt_store_sqlite.problems import damaged, damaged_record, explained
from hpt_store_sqlite.session import Session

__all__ = ["SqliteStore"]

_CHUNK = 5000
"""Rows fetched at once. A writer waits while rows are fetched, so a fetch must take only some milliseconds."""


@attrs.define(kw_only=True)
class SqliteStore:
    """Many studies in one SQLite file, durable and shared by processes; the default on disk.

    The file has the views ``trials`` and ``reports`` for queries. The first write creates it; a file that does not
    exist reads as empty. A store can be used from any thread and after a fork, and can be pickled to other processes.
    """

    path: Path = option(Path("hpt.db"), help="The file; the first study creates it.")
    lock_timeout: float = option(
        60.0, ge=0, seconds=True, help="Seconds to wait for a lock that another process holds."
    )
    _file: Path = attrs.field(init=False, repr=False, eq=False)
    _sessions: dict[int, Session] = attrs.field(init=False, repr=False, eq=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._file = Path(os.path.realpath(self.path))  # the working folder may change, and links must share locks

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), path=self._file, lock_timeout=self.lock_timeout), ()

    @property
    def location(self) -> str:
        """The path as it was given."""
        return str(self.path)

    @property
    def folder(self) -> Path:
        """The folder for files of trials, beside the file; the store does not create it."""
        return self._file.with_name(f"{self._file.name}.files")

    def append(self, study: str, records: Sequence[Record]) -> int:
        """Append the records durably, all or none of them.

        Returns:
            The position of the last record.

        Raises:
            StoreError: If they cannot be written; then none of them is stored.
        """
        bodies = [encode_record(record) for record in records]
        name = _checked_name(study)
        if not bodies:
            return len(self.read(name))
        session = self._session()
        with session.writing() as connection:
            study_id, last = schema.place(connection, name)
            session.check_seen(name, last)
            rows = [(study_id, last + i, body) for i, body in enumerate(bodies, 1)]
            connection.executemany(schema.INSERT, rows)
        session.saw(name, last + len(bodies))
        return last + len(bodies)

    def append_lazily(self, study: str, records: Sequence[Record]) -> int:
        """Append without waiting for the disk: a power cut before the next `append` may lose the records.

        Returns:
            The position of the last record.

        Raises:
            StoreError: If they cannot be written; then none of them is stored.
        """
        position = None
        if len(records) == 1:  # a killed process may leave a part of several
            position = self._session().add_late(_checked_name(study), encode_record(records[0]))
        return self.append(study, records) if position is None else position

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        """Read the records after position ``after``, in order. A study that does not exist has none.

        Raises:
            StoreError: If the file is damaged, of a newer format, or cannot be read.
        """
        name, session = _checked_name(study), self._session()
        decode = functools.partial(decode_records, damaged=functools.partial(damaged_record, self._file, name))
        late = session.late(name)
        if not after:
            session.check()
        found: list[Record] = []
        while True:
            rows = session.select(schema.READ, (name, after + len(found), _CHUNK))
            found += decode(rows, after + len(found))
            if len(rows) < _CHUNK:
                break
        for _, seq, body in late:
            if seq == after + len(found) + 1:
                found += decode([(seq, body)], seq - 1)
        if found:
            session.saw(name, after + len(found))
        return found

    def studies(self) -> Sequence[str]:
        """Names of the studies that have records, in order of creation."""
        names = [name for (name,) in self._session().select(schema.NAMES)]
        if not all(isinstance(name, str) for name in names):
            raise damaged(self._file, "the name of a study is not text")
        return names

    @contextmanager
    def lock(self, study: str) -> Iterator[None]:
        """Hold the study's lock against other processes and threads; they can still append.

        Raises:
            StoreError: If another holder keeps the lock for ``lock_timeout`` seconds.
        """
        digest = hashlib.sha256(_checked_name(study).encode()).hexdigest()[:16]
        lock_file = self._session().lock_file(f"study-{digest}")
        with ExitStack() as stack:
            with explained(self._file):
                stack.enter_context(file_lock(lock_file, f"the study {study!r} in {self.path}", self.lock_timeout))
            yield

    def close(self) -> None:
        """Close the file; the next use reopens it."""
        session = self._sessions.pop(os.getpid(), None)
        if session is not None:
            session.close()

    def _session(self) -> Session:
        pid = os.getpid()
        session = self._sessions.get(pid)
        if session is None:
            session = self._sessions.setdefault(pid, Session(self._file, self.lock_timeout))
            for other in [p for p in self._sessions if p != pid]:  # the parent's sessions, useless after a fork
                self._sessions.pop(other, None)
        return session


def _checked_name(study: str) -> str:
    try:
        study.encode()
    except UnicodeEncodeError as err:
        raise StoreError(f"The name of a study must be valid Unicode text. Got {study!r}.") from err
    return study
