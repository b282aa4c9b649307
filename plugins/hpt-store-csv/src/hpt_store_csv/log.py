"""The file of one study: incremental reading, and appending.

A process that appends holds the file's write lock; readers need no lock. A file grows in place by whole lines. It is
replaced by a new file only when columns are added.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from array import array
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hpt_core import Record, StoreError
from hpt_store_csv.file_state import FileState, Progress, lines_of
from hpt_store_csv.files import opened, read, read_line, replace, write
from hpt_store_csv.layout import Layout, finish
from hpt_store_csv.problems import damaged
from hpt_store_csv.scan import MARK_LENGTH, Piece, parse, read_header

__all__ = ["Log", "layout_of"]

_LOG = logging.getLogger("hpt")

_SETTLING_SECONDS = 0.02
_PAGE = 4096
"""A power cut may keep a page and lose the one before it, which would look like damage. So at most one page of data may
wait for the disk."""


class Log:
    """The file of one study.

    Args:
        path: The file, absolute; it need not exist.
        study: The study that it holds or will hold.

    Attributes:
        path: The file.
        study_lock: The lock file of the study.
        write_lock: The lock file for appending.
    """

    def __init__(self, path: Path, study: str) -> None:
        self.path = path
        self.study_lock, self.write_lock = (
            path.parent / ".hpt-locks" / f"{path.name}.{name}.lock" for name in ("study", "write")
        )
        self._study = study
        self._mutex = threading.Lock()
        self._known: FileState | None = None
        self._warned: tuple[int, int] | None = None
        self._seen = 0

    def read(self, after: int) -> list[Record]:
        """Read the records after a position; none if the file does not exist or holds another study.

        Raises:
            StoreError: If it is damaged or cannot be read.
        """
        with self._mutex, opened(self.path, os.O_RDONLY) as fd:
            known = None if fd is None else self._look(fd)
            if fd is None or known is None or known.layout.study != self._study:
                return []
            first = min(max(after, 0), known.position)
            piece = self._settled(fd, known, first)
            records = self._records(known.layout, piece.rows, first)
            if first == known.position and not piece.lacks_end:
                known.note(piece)
            self._seen = max(self._seen, first + len(records))
            return records[max(after, 0) - first :]

    def append(self, records: Sequence[Record], *, to_disk: bool = True) -> int:
        """Append records; the write lock must be held.

        Args:
            records: One or more.
            to_disk: Whether to wait until these and all earlier records are on disk.

        Returns:
            The position of the last record.

        Raises:
            StoreError: If they cannot be written; then none of them is stored.
        """
        with self._mutex:
            with opened(self.path, os.O_RDWR | os.O_APPEND) as fd:
                known = None if fd is None else self._look(fd)
                if fd is not None and known is not None:
                    self._check_study(known.layout)
                    self._catch_up(fd, known)
                self._check_seen(fd, known)
                if fd is not None and known is not None and known.layout.extended(records) is known.layout:
                    self._seen = self._extend(fd, known, records, to_disk=to_disk)
                    return self._seen
                position, content = self._rewritten(fd, known, records)
            replace(self.path, content)
            self._seen = position
            return position

    # --- reading ------------------------------------------------------------------------------------------

    def _look(self, fd: int) -> FileState | None:
        """What is known of the file; only its header if the file was replaced or its known part has changed."""
        found = os.fstat(fd)
        known = self._known
        file = found.st_dev, found.st_ino
        if known is not None and known.file == file and read(fd, known.end - MARK_LENGTH, MARK_LENGTH) == known.mark:
            return known
        self._known = None
        header = read_line(fd)
        if header:
            layout = read_header(header, self.path)
            self._known = FileState(file, layout, array("Q", [len(header)]), header[-MARK_LENGTH:])
        return self._known

    def _settled(self, fd: int, known: FileState, first: int) -> Piece:
        """The rows after a position. A torn tail is logged once, unless another process is still writing it."""
        piece = _parsed(fd, known, first, self.path)
        while piece.torn and self._warned != (piece.size, piece.torn):
            time.sleep(_SETTLING_SECONDS)
            before, piece = piece, _parsed(fd, known, first, self.path)
            if (piece.size, piece.torn) == (before.size, before.torn):
                self._warned = piece.size, piece.torn
                _LOG.warning("%s ends with %d bytes of an interrupted write, which are ignored.", self.path, piece.torn)
        return piece

    def _records(self, layout: Layout, rows: Sequence[Sequence[str]], first: int) -> list[Record]:
        records = []
        for line, row in enumerate(rows, first + 2):
            try:
                records.append(layout.record(row))
            except (TypeError, ValueError, RecursionError) as err:
                raise damaged(self.path, line, f"it is not a valid record ({err})") from err
        return records

    # --- writing ------------------------------------------------------------------------------------------

    def _check_study(self, layout: Layout) -> None:
        if layout.study != self._study:
            msg = (
                f"{self.path} holds the study {layout.study!r}, and a CSV file can hold only one. For several studies, "
                f"give a folder: a path that does not end with .csv."
            )
            raise StoreError(msg)

    def _check_seen(self, fd: int | None, known: FileState | None) -> None:
        """Check that no record seen before is missing: new records refer to them and would corrupt a shorter log."""
        if fd is None and self._seen:
            msg = f"{self.path} was moved or deleted while it was in use. Restore it, or use another path."
            raise StoreError(msg)
        if (known.position if known else 0) < self._seen:
            msg = (
                f"{self.path} lacks records that it had before: while in use, it was truncated or replaced by an older "
                f"copy. It was left unchanged. Restore it, or run again to continue from its present state."
            )
            raise StoreError(msg)

    def _catch_up(self, fd: int, known: FileState) -> None:
        """Read what other processes appended, and clean up after an interrupted write."""
        piece = _parsed(fd, known, known.position, self.path)
        if piece.lacks_end:
            write(fd, b"\n")
        known.note(piece)
        if piece.torn:
            self._move_torn_tail(fd, known.end, piece.torn)

    def _move_torn_tail(self, fd: int, start: int, size: int) -> None:
        aside = self.path.with_name(f"{self.path.name}.torn")
        earlier = b""
        with contextlib.suppress(FileNotFoundError):
            earlier = aside.read_bytes()
        replace(aside, earlier + read(fd, start, size), like=self.path)
        os.ftruncate(fd, start)
        os.fsync(fd)
        _LOG.warning("%s ended with %d bytes of an interrupted write; they were moved to %s.", self.path, size, aside)

    def _extend(self, fd: int, known: FileState, records: Sequence[Record], *, to_disk: bool) -> int:
        progress = known.progress.copied()
        lines = lines_of(records, known.layout, known.position, progress)
        data = b"".join(lines)
        in_one_page = (known.end - 1) // _PAGE == (known.end + len(data) - 1) // _PAGE
        try:
            write(fd, data, to_disk=to_disk or not in_one_page)
        except OSError:
            with suppress(OSError):  # if this fails, too, a torn tail remains
                os.ftruncate(fd, known.end)
            raise
        known.add(lines, progress)
        return known.position

    def _rewritten(self, fd: int | None, known: FileState | None, records: Sequence[Record]) -> tuple[int, bytes]:
        """The last position and the content of a file with more columns and the new records, or of a first file."""
        if fd is None or known is None:
            layout = Layout(self._study, time.time()).extended(records)
            old, position, progress = [], 0, Progress()
        else:
            layout = known.layout.extended(records)
            old = [finish(known.layout.moved(row, layout)) for row in _parsed(fd, known, 0, self.path).rows]
            position, progress = known.position, known.progress.copied()
        new = lines_of(records, layout, position, progress)
        return position + len(new), b"".join([layout.header(), *old, *new])


def layout_of(path: Path, *, strict: bool) -> Layout | None:
    """The layout in the header of a file; None if it is empty, missing, or (unless strict) not a store.

    Raises:
        StoreError: If it is damaged, of a newer format, or (if strict) not a store.
    """
    with opened(path, os.O_RDONLY) as fd:
        header = b"" if fd is None else read_line(fd)
    return read_header(header, path) if header and (strict or b"hpt-csv" in header) else None


def _parsed(fd: int, known: FileState, first: int, path: Path) -> Piece:
    start = known.ends[first]
    size = os.fstat(fd).st_size - start
    return parse(read(fd, start, size), known.layout, first, path, offset=start) if size > 0 else Piece([], [])
