"""Records that wait beside the database for the next commit: a trial's start, and what it reports while it runs.

A commit waits for the disk several times, and no setting of SQLite that waits less rules out that a power cut damages
the database. So these records are lines of a file of their own, ``hpt.db-late``. They outlive their process, as the
system has them; the next commit takes them in, before its own records, and empties the file. A line counts if it is
whole and goes on where the database ends: what a power cut leaves of the file is passed over, and so is what was taken
in already.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

__all__ = ["LATE_BYTES", "Late", "LateRecords"]

LATE_BYTES = 16 * 1024
"""It is time for a commit when the file has grown to this: it is read whole at each use, so it must stay small."""

_name = functools.lru_cache(json.loads)


class Late(NamedTuple):
    """A record that waits: of which study, at which position, and itself as JSON."""

    study: str
    seq: int
    body: str


class LateRecords:
    """The file of records that wait. Whoever changes it holds the lock for writing.

    Args:
        path: The database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-late")

    def read(self) -> list[Late]:
        """All that are whole, in order; read them before the database, or a commit in between hides some."""
        return self.read_to()[0]

    def read_to(self) -> tuple[list[Late], int]:
        """All that are whole, and the offset behind them."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return [], 0
        found, end = [], 0
        for line in data.splitlines(keepends=True):
            record = _parsed(line)
            if record is None:
                break
            found.append(record)
            end += len(line)
        return found, end

    def add(self, records: Iterable[Late], offset: int) -> None:
        """Write further ones at the offset behind those that are whole. The system has them then, the disk need not."""
        data = b"".join(map(_line, records))
        with self._path.open("ab", buffering=0) as file:
            if file.tell() != offset:
                file.truncate(offset)
            if file.write(data) != len(data):
                file.truncate(offset)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def clear(self) -> None:
        """Forget those that are in the database; where that fails, they are passed over by their positions."""
        with suppress(OSError):
            if self._path.stat().st_size:
                os.truncate(self._path, 0)


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
