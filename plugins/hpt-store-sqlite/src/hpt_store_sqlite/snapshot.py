"""Reading a file whose writer died during a commit, without changing it.

Such a file has a journal beside it. SQLite would roll the file back with the journal before anything else, which a
reader must not do. It reads a copy in memory instead.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path

__all__ = ["JournalGoneError", "Snapshot"]

_never_closed: dict[tuple[int, ...], int] = {}
"""Process, device and inode -> a descriptor that stays open, as many as there are files. To close one would release all
POSIX locks of this process on the file, SQLite's included."""

_copying = threading.Lock()
"""Held while a descriptor is read, as threads share its position."""


class JournalGoneError(Exception):
    """The journal no longer exists, so the file itself can be read."""


class Snapshot:
    """A copy in memory of a file as it was before the interrupted commit.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._journal = path.with_name(f"{path.name}-journal")
        self._state: tuple[int, ...] | None = None
        self._connection: sqlite3.Connection | None = None

    def connection(self) -> sqlite3.Connection:
        """A connection to the copy, which is renewed whenever the file or its journal changes.

        Raises:
            JournalGoneError: If the journal no longer exists.
        """
        state = self._look()
        if self._connection is None or state != self._state:
            self.close()
            self._connection, self._state = self._copy(), state
        return self._connection

    def close(self) -> None:
        """Drop the copy."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._state = None

    def _look(self) -> tuple[int, ...]:
        try:
            found = [self._path.stat(), self._journal.stat()]
        except FileNotFoundError as err:
            raise JournalGoneError from err
        return tuple(part for s in found for part in (s.st_ino, s.st_size, s.st_mtime_ns))

    def _copy(self) -> sqlite3.Connection:
        with tempfile.TemporaryDirectory(prefix="hpt-") as folder:
            copy = Path(folder) / "copy.db"
            before = None
            while before != self._look():
                before = self._look()
                self._read_into(copy)
                try:
                    shutil.copyfile(self._journal, f"{copy}-journal")
                except FileNotFoundError as err:
                    raise JournalGoneError from err
            memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            with closing(sqlite3.connect(copy, isolation_level=None)) as rolled_back:
                rolled_back.execute("PRAGMA trusted_schema = OFF")
                rolled_back.backup(memory)
        memory.execute("PRAGMA trusted_schema = OFF")
        return memory

    def _read_into(self, copy: Path) -> None:
        with _copying:
            fd = _never_closed.get(_key(self._path.stat()))
            if fd is None:
                fd = os.open(self._path, os.O_RDONLY)
                _never_closed[_key(os.fstat(fd))] = fd
            os.lseek(fd, 0, os.SEEK_SET)
            with os.fdopen(fd, "rb", closefd=False) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)


def _key(found: os.stat_result) -> tuple[int, ...]:
    return os.getpid(), found.st_dev, found.st_ino  # a forked child shares the position, too
