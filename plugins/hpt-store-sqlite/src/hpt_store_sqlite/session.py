"""The connections of one process to the file.

A commit is one short transaction with a rollback journal, on disk before it is acknowledged. Write-ahead logging is not
used: SQLite before 3.51.3 can damage such files when two processes write, and even a reader leaves files beside them.
Writers queue at a lock file, which is fairer than SQLite's own waiting; readers hold a lock only while they fetch rows.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from hpt_core import file_lock, wait_for
from hpt_store_sqlite import schema
from hpt_store_sqlite.late import LATE_BYTES, Late, LateRecords
from hpt_store_sqlite.problems import damaged, explained, replaced, shrunk, special
from hpt_store_sqlite.snapshot import JournalGoneError, Snapshot

__all__ = ["Session"]

_MAX_BYTES = 256 * 1024 * 1024
"""No record or result is larger; a file that claims so is not a store of hpt."""

_COMMIT_SECONDS = 5.0
"""A record waits only if the last commit is younger, which limits what queries miss and a power cut loses."""

_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
_registry = threading.RLock()
_stopped: list[Session] = []


def _before_fork() -> None:
    """Wait for open transactions: if a child inherited one, closing its copy would roll back the parent's."""
    _registry.acquire()
    _stopped[:] = _sessions
    for session in _stopped:
        session.mutex.acquire()


def _after_fork() -> None:
    for session in _stopped:
        session.mutex.release()
    _stopped.clear()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


class Session:
    """The connections of one process: one for reading, and after the first write one for both.

    Args:
        path: The file, absolute; it need not exist.
        lock_timeout: Seconds to wait for other processes.

    Attributes:
        mutex: Held while a connection is used.
    """

    def __init__(self, path: Path, lock_timeout: float) -> None:
        self.mutex = threading.RLock()
        self._path = path
        self._lock_timeout = lock_timeout
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._snapshot = Snapshot(path)
        self._late = LateRecords(path)
        self._locks = path.parent / ".hpt-locks"
        self._writers = self.lock_file("write")
        self._file: tuple[int, int] | None = None
        self._known = self._is_sound = False
        self._seen: dict[str, int] = {}
        with _registry:
            _sessions.add(self)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and clear the cache; the next use reopens them."""
        with self.mutex:
            self._disconnect()
            self._seen = {}

    def select(self, sql: str, args: Sequence[Any] = ()) -> list[Any]:
        """Run a query in a transaction of its own and fetch all rows; none if the file does not exist.

        Raises:
            StoreError: If the file cannot be read.
        """
        with explained(self._path), self.mutex:
            rows: list[Any] = self._patiently(lambda: self._read_all(sql, args)) if self._is_there() else []
        return rows

    def check(self) -> None:
        """Check the pages of the file once: in a damaged file, a query may end early without an error.

        Raises:
            StoreError: If the file is damaged.
        """
        if self._is_sound:
            return
        rows = self.select("PRAGMA quick_check(1)")
        if rows and rows[0][0] != "ok":
            raise damaged(self._path, " ".join(rows[0][0].split()))
        self._is_sound = bool(rows)

    def late(self, study: str) -> list[Late]:
        """The records of a study that wait for the next commit; read them before those in the database.

        Raises:
            StoreError: If they cannot be read.
        """
        with explained(self._path), self.mutex:
            return [late for late in self._late.read() if late.study == study]

    def add_late(self, study: str, body: str) -> int | None:
        """Leave a record to the next commit; it survives a crash of the process, but not of the machine.

        Returns:
            The position of the record; None if nothing was written, because a commit is due.

        Raises:
            StoreError: If it cannot be written.
        """
        with explained(self._path), self._write_lock(), self.mutex:
            found = _stat(self._path)
            if found is None or abs(time.time() - found.st_mtime) > _COMMIT_SECONDS:  # the clock may be set back
                return None
            with self._late.opened() as file:
                last = self._last(study, _identity(found))
                if last is None:
                    return None
                self._late.add(file, Late(study, last + 1, body))
            self.saw(study, last + 1)
            return last + 1

    def saw(self, study: str, position: int) -> None:
        """Note that this process has seen the records of a study up to a position."""
        self._seen[study] = max(position, self._seen.get(study, 0))

    def check_seen(self, study: str, last: int) -> None:
        """Check that no record seen before is missing: new records refer to them and would corrupt a shorter log.

        Raises:
            StoreError: If the last position is before one that was seen.
        """
        if last < self._seen.get(study, 0):
            raise shrunk(self._path)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction; at the end it is committed and on disk, or rolled back as a whole.

        Raises:
            StoreError: If the file cannot be written.
        """
        with explained(self._path), self._write_lock(), self.mutex:
            connection = self._writing_connection()
            try:
                self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
                if not self._has_tables(connection):
                    schema.create(connection)
                connection.executemany(schema.INSERT_LATE, self._late.take())
                yield connection
                self._patiently(lambda: connection.execute("COMMIT"))
                self._late.clear()
            except BaseException:
                self._roll_back(connection)
                raise

    def lock_file(self, name: str) -> Path:
        """The lock file of that name beside the file."""
        return self._locks / f"{self._path.name}.{name}.lock"

    def _write_lock(self) -> AbstractContextManager[None]:
        return file_lock(self._writers, f"{self._path} for writing", self._lock_timeout)

    def _last(self, study: str, file: tuple[int, int] | None) -> int | None:
        """The position of a study's last record, committed or waiting; None if a commit is due."""
        if self._late.end >= LATE_BYTES:
            return None
        committed = self._late.committed
        if study not in committed or file != self._file:
            rows = self.select(schema.LAST, (study,))
            if not rows or rows[0][0] is None:
                return None
            committed[study] = int(rows[0][0])
        last = max(committed[study], self._late.last(study))
        self.check_seen(study, last)
        return last

    # --- connections --------------------------------------------------------------------------------------

    def _disconnect(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = self._file = None
        self._known = self._is_sound = False
        self._snapshot.close()

    def _is_there(self) -> bool:
        """Whether there is a file to read; connections to a replaced file are closed."""
        found = _identity(_stat(self._path))
        if found == self._file:
            return found is not None
        if self._writer is not None:
            raise replaced(self._path)
        self._disconnect()
        self._file = found
        return found is not None

    def _read_all(self, sql: str, args: Sequence[Any]) -> list[Any]:
        connection = self._writer or self._reader
        if connection is None:
            connection = self._reader = self._connect("ro")
        try:
            return self._fetch(connection, sql, args)
        except sqlite3.OperationalError as err:
            if _code(err) != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
        return self._fetch(self._snapshot.connection(), sql, args)

    def _fetch(self, connection: sqlite3.Connection, sql: str, args: Sequence[Any]) -> list[Any]:
        return connection.execute(sql, args).fetchall() if self._has_tables(connection) else []

    def _has_tables(self, connection: sqlite3.Connection) -> bool:
        self._known = self._known or schema.exists(connection, self._path)
        return self._known

    def _writing_connection(self) -> sqlite3.Connection:
        if self._writer is not None:
            if _identity(_stat(self._path)) != self._file:
                raise replaced(self._path)
            return self._writer
        self._disconnect()
        connection = self._connect("rwc")
        try:
            # another program may have switched the file to write-ahead logging
            self._patiently(lambda: connection.execute("PRAGMA journal_mode = DELETE").fetchall())
            connection.execute("PRAGMA synchronous = EXTRA")
        except BaseException:
            connection.close()
            raise
        self._writer, self._file = connection, _identity(_stat(self._path))
        return connection

    def _connect(self, mode: str) -> sqlite3.Connection:
        found = _stat(self._path)
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise special(self._path, found.st_mode)  # to open a pipe would wait for its other end
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode={mode}",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_BYTES)
        # an untrusted file: its views and triggers may call only harmless functions
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        return connection

    # --- waiting ------------------------------------------------------------------------------------------

    def _patiently(self, action: Callable[[], Any]) -> Any:
        """Run an action, and repeat it while another connection holds a lock."""
        done: list[Any] = []

        def attempt() -> bool:
            try:
                done.append(action())
            except sqlite3.OperationalError as err:
                if _code(err) & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                return False
            except JournalGoneError:  # another process has rolled the file back: read the file itself
                return False
            return True

        wait_for(attempt, str(self._path), self._lock_timeout)
        return done[0]

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()  # the next connection rolls back what is half written


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    return None if found is None else (found.st_dev, found.st_ino)


def _code(err: sqlite3.Error) -> int:
    return getattr(err, "sqlite_errorcode", 0)  # errors of the sqlite3 module itself have none
