"""Records that wait beside the database for the next commit: a trial's start, and what it reports while it runs.

A commit waits for the disk several times, and no setting of SQLite that waits less rules out that a power cut damages
the database. So these records are lines of a file of their own, ``hpt.db-late``. They outlive their process, as the
system has them; the next commit takes them in, before its own records, and empties the file. A line counts if it is
whole and goes on where the database ends: what a power cut leaves of the file is passed over, and so is what was taken
in already.

A process reads on behind the last line that it knows. While that line is in its place, and none behind it announces a
commit, the database is as it was.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple

__all__ = ["LATE_BYTES", "Late", "LateRecords"]

LATE_BYTES = 64 * 1024
"""It is time for a commit when the file has grown to this: who comes anew reads all of it, so it must stay small."""

_name = functools.lru_cache(json.loads)


class Late(NamedTuple):
    """A record that waits: of which study, at which position, and itself as JSON."""

    study: str
    seq: int
    body: str


_COMMIT = Late("", 0, "null")
"""Announces a commit; no record is at this position, so it is passed over as a record."""


class LateRecords:
    """The file of records that wait, as far as this process has read it. Whoever changes it holds the lock for writing.

    Args:
        path: The database.

    Attributes:
        committed: Study -> position of its last record in the database, for those looked up since the last commit.
        end: The offset behind the last whole line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-late")
        self._forget()

    def read(self) -> Sequence[Late]:
        """All that are whole, in order; read them before the database, or a commit in between hides some."""
        try:
            with FileIO(self._path) as file:
                self._read_on(file)
        except FileNotFoundError:
            self._forget()
        return self._found

    def add(self, study: str, bodies: Sequence[str], last: Callable[[], int | None]) -> int | None:
        """Write further ones. The system has them then, the disk need not.

        Args:
            study: Whose.
            bodies: The records.
            last: Asked for the position to go on from, when all that others wrote is known; None: write nothing.

        Returns:
            The position of the last one, if they were written.
        """
        with FileIO(self._path, "a+") as file:
            self._read_on(file)
            position = last()
            if position is None:
                return None
            records = [Late(study, seq, body) for seq, body in enumerate(bodies, position + 1)]
            self._write(file, records)
        return records[-1].seq

    def last(self, study: str) -> int:
        """The position of a study's last record among those that wait; 0 where there is none."""
        return next((record.seq for record in reversed(self._found) if record.study == study), 0)

    def take(self) -> Sequence[Late]:
        """As `read`, for a commit. It is announced: this process may die before it empties the file."""
        try:
            with FileIO(self._path, "r+") as file:
                self._read_on(file)
                if self._found:
                    self._write(file, [_COMMIT])
        except FileNotFoundError:
            self._forget()
        return self._found

    def clear(self) -> None:
        """Forget those that are in the database; where that fails, they are passed over by their positions."""
        if self.end or self._is_torn:
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
        data = file.readall()
        if known and data.startswith(known):
            data = data[len(known) :]
        else:
            if self.end:
                file.seek(0)
                data = file.readall()
            self._forget()
        size = self.end + len(data)
        for line in data.splitlines(keepends=True):
            record = _parsed(line)
            if record is None:
                break
            self._note(record, line)
        self._is_torn = self.end != size

    def _write(self, file: FileIO, records: Sequence[Late]) -> None:
        lines = [_line(record) for record in records]
        data = b"".join(lines)
        if self._is_torn:
            file.truncate(self.end)
        file.seek(self.end)
        if file.write(data) != len(data):
            file.truncate(self.end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for record, line in zip(records, lines, strict=True):
            self._note(record, line)

    def _note(self, record: Late, line: bytes) -> None:
        self._found.append(record)
        self.end += len(line)
        self._last_line = line
        if record.seq == _COMMIT.seq:
            self.committed.clear()


def _line(record: Late) -> bytes:
    text = f"{record.seq}\t{json.dumps(record.study)}\t{record.body}".encode()
    return b"%08x\t%b\n" % (zlib.crc32(text), text)


def _parsed(line: bytes) -> Late | None:
    """The record of a line; None if it is not as it was written."""
    checksum, _, text = line.removesuffix(b"\n").partition(b"\t")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    seq, study, body = text.decode().split("\t", 2)
    return Late(_name(study), int(seq), body)
