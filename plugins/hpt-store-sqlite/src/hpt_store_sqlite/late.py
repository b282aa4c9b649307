"""Records that wait beside the database for the next commit: the start of a trial, and its reports.

A commit waits for the disk several times, and with any faster setting of SQLite a power cut could damage the database.
So these records are lines of a separate file, ``hpt.db-late``. They survive a killed process, as the operating system
has them. The next commit inserts them before its own records and empties the file. A line counts if it is complete and
directly follows the records of the database: the remains of a power cut are skipped, and so are lines that were already
inserted.

A process reads only what follows the last line that it knows. As long as that line is in its place and no later line
announces a commit, the database is unchanged.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from hpt_core import replace_file

__all__ = ["LATE_BYTES", "Late", "LateRecords"]

LATE_BYTES = 64 * 1024
"""Size of the file that triggers a commit. A new process reads the whole file, so it must stay small."""

_name = functools.lru_cache(json.loads)
_quoted = functools.lru_cache(json.dumps)


class Late(NamedTuple):
    """A waiting record: its study, its position, and its JSON."""

    study: str
    seq: int
    body: str


_COMMIT = Late("", 0, "null")
"""A line that announces a commit. No record has this position, so it is never inserted."""


class LateRecords:
    """The file of waiting records, as far as this process has read it. To change it, hold the write lock.

    Args:
        path: The database.

    Attributes:
        committed: Study -> position of its last record in the database, for studies looked up since the last commit.
        end: The end offset of the last complete line.
    """

    def __init__(self, path: Path) -> None:
        self._database, self._path = path, path.with_name(f"{path.name}-late")
        self._forget()

    def read(self) -> Sequence[Late]:
        """All complete records, in order. Read them before the database, or a commit in between may hide some."""
        try:
            with FileIO(self._path) as file:
                self._read_on(file)
        except FileNotFoundError:
            self._forget()
        return self._found

    @contextmanager
    def opened(self) -> Iterator[FileIO]:
        """Open the file for `add`, creating it if necessary, and read what other processes have added."""
        try:
            file = FileIO(self._path, "r+")
        except FileNotFoundError:
            replace_file(self._path, b"", like=self._database)  # whoever may write the database may write this, too
            file = FileIO(self._path, "r+")
        with file:
            self._read_on(file)
            yield file

    def add(self, file: FileIO, record: Late) -> None:
        """Append a record to the file, which `opened` gave, without waiting for the disk."""
        line = _line(record)
        if self._is_torn:
            file.truncate(self.end)
        file.seek(self.end)
        if file.write(line) != len(line):
            file.truncate(self.end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._note(record, line)

    def last(self, study: str) -> int:
        """The position of a study's last waiting record; 0 if there is none."""
        return next((record.seq for record in reversed(self._found) if record.study == study), 0)

    def take(self) -> Sequence[Late]:
        """Read the records for a commit, which is announced: this process may die before it empties the file."""
        try:
            with FileIO(self._path, "r+") as file:
                self._read_on(file)
                if self._found:
                    self.add(file, _COMMIT)
        except FileNotFoundError:
            self._forget()
        return self._found

    def clear(self) -> None:
        """Empty the file after a commit; if this fails, its records are skipped by their positions."""
        with suppress(OSError):
            os.truncate(self._path, 0)
        self._forget()

    def _forget(self) -> None:
        self._found: list[Late] = []
        self.committed: dict[str, int] = {}
        self.end, self._last_line, self._is_torn = 0, b"", False

    def _read_on(self, file: FileIO) -> None:
        known = self._last_line
        file.seek(self.end - len(known))
        if known and file.read(len(known) + 1) == known:  # the usual case: nothing was added since
            self._is_torn = False
            return
        data = _read_from(file, self.end - len(known))
        if known and data.startswith(known):
            data = data[len(known) :]
        else:
            if self.end:
                data = _read_from(file, 0)
            self._forget()
        size = self.end + len(data)
        for line in data.splitlines(keepends=True):
            record = _parsed(line)
            if record is None:
                break
            self._note(record, line)
        self._is_torn = self.end != size

    def _note(self, record: Late, line: bytes) -> None:
        self._found.append(record)
        self.end += len(line)
        self._last_line = line
        if record.seq == _COMMIT.seq:
            self.committed.clear()
            self._last_line = b""  # all these lines are alike, so one in its place proves nothing


def _read_from(file: FileIO, start: int) -> bytes:
    """Read to the end. If another process has emptied the file meanwhile and begun anew, read again."""
    while True:
        file.seek(start)
        data = file.readall()
        first = data[: data.find(b"\n") + 1]
        file.seek(start)
        if file.read(len(first)) == first:
            return data


def _line(record: Late) -> bytes:
    text = f"{record.seq}\t{_quoted(record.study)}\t{record.body}".encode()
    return b"%08x\t%b\n" % (zlib.crc32(text), text)


def _parsed(line: bytes) -> Late | None:
    """The record of a line; None if the line is incomplete or damaged."""
    checksum, _, text = line.removesuffix(b"\n").partition(b"\t")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    seq, study, body = text.decode().split("\t", 2)
    return Late(_name(study), int(seq), body)
