"""The file of one study: what a process knows of it, reading on from there, and adding to it.

Whoever adds holds the file's lock; readers need none. A file grows in place by whole lines; only where columns are
added it is written anew and put in the place of the old one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from array import array
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hpt_core import Record, StoreError
from hpt_store_csv.files import append, opened, read, read_line, replace, write
from hpt_store_csv.known import Known, Progress, lines_of
from hpt_store_csv.layout import Layout, finish
from hpt_store_csv.problems import damaged
from hpt_store_csv.scan import MARK_LENGTH, Piece, parse, read_header

__all__ = ["Log", "layout_of"]

_LOG = logging.getLogger("hpt")

_SETTLING_SECONDS = 0.02
_PAGE = 4096
"""A power cut may keep one page and lose the one before it, which would look like damage: only one waits for it."""


class Log:
    """The file of one study.

    Args:
        path: The file, absolute; it need not exist.
        study: The study that it is to hold.

    Attributes:
        path: The file.
        study_lock: The lock file of the study.
        write_lock: The lock file of whoever adds.
    """

    def __init__(self, path: Path, study: str) -> None:
        self.path = path
        self.study_lock, self.write_lock = (
            path.parent / ".hpt-locks" / f"{path.name}.{name}.lock" for name in ("study", "write")
        )
        self._study = study
        self._mutex = threading.Lock()
        self._known: Known | None = None
        self._told: tuple[int, int] | None = None
        self._seen = 0

    def read(self, after: int) -> list[Record]:
        """Read the records behind a position; none where the file is not there or holds another study.

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
        """Add records; the file's lock must be held.

        Args:
            records: One or more.
            to_disk: Whether to wait until they are on the disk, with all that is before them.

        Returns:
            The position of the last one.

        Raises:
            StoreError: If they cannot be written; then none of them is there.
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
                position, content = self._anew(fd, known, records)
                self._known = None
            replace(self.path, content)
            self._seen = position
            return position

    # --- reading ------------------------------------------------------------------------------------------

    def _look(self, fd: int) -> Known | None:
        """What is known of the file: nothing but its header, if it is another one or its end has changed."""
        found = os.fstat(fd)
        known = self._known
        file = found.st_dev, found.st_ino
        if known is not None and known.file == file and found.st_size >= known.end:
            mark = read(fd, known.end - MARK_LENGTH, MARK_LENGTH)
            if mark == known.mark:
                return known
        self._known = None
        header = read_line(fd)
        if header:
            layout = read_header(header, self.path)
            self._known = Known(file, layout, array("Q", [len(header)]), header[-MARK_LENGTH:])
        return self._known

    def _settled(self, fd: int, known: Known, first: int) -> Piece:
        """The rows behind a position. A torn tail is told once, unless somebody is writing it just now."""
        piece = _parsed(fd, known, first, self.path)
        while piece.torn and self._told != (piece.size, piece.torn):
            time.sleep(_SETTLING_SECONDS)
            before, piece = piece, _parsed(fd, known, first, self.path)
            if piece.torn and (piece.size, piece.torn) == (before.size, before.torn):
                self._told = piece.size, piece.torn
                _LOG.warning("%s ends with %d bytes of a write that was cut off.", self.path, piece.torn)
        return piece

    def _records(self, layout: Layout, rows: Sequence[Sequence[str]], first: int) -> list[Record]:
        try:
            return [layout.record(row) for row in rows]
        except (TypeError, ValueError, RecursionError) as err:
            raise damaged(self.path, first + 2, f"it or a line below is no record ({err})") from err

    # --- writing ------------------------------------------------------------------------------------------

    def _check_study(self, layout: Layout) -> None:
        if layout.study != self._study:
            msg = (
                f"{self.path} holds the study {layout.study!r}, and a CSV file holds one. Give the store a folder (a "
                f"path without .csv at its end) to keep several studies."
            )
            raise StoreError(msg)

    def _check_seen(self, fd: int | None, known: Known | None) -> None:
        """See that all is there that was; what is added rests on it, and would make no sense in a shorter log."""
        if fd is None and self._seen:
            msg = f"{self.path} was moved or deleted while it was in use. Put it back, or start anew elsewhere."
            raise StoreError(msg)
        if (known.position if known else 0) < self._seen:
            msg = (
                f"{self.path} lacks records that were there before: it was cut, or an older copy took its place, while "
                f"it was in use. It was left alone; run again to go on from what is there, or put it back first."
            )
            raise StoreError(msg)

    def _catch_up(self, fd: int, known: Known) -> None:
        """Read what others added; what an interrupted write left is put right."""
        piece = _parsed(fd, known, known.position, self.path)
        if piece.lacks_end:
            write(fd, b"\n")
        known.note(piece)
        if piece.torn:
            self._set_aside(fd, known.end, piece.torn)

    def _set_aside(self, fd: int, start: int, size: int) -> None:
        aside = self.path.with_name(f"{self.path.name}.torn")
        append(aside, read(fd, start, size))
        os.ftruncate(fd, start)
        os.fsync(fd)
        _LOG.warning("%s ended with %d bytes of a write that was cut off; they are in %s.", self.path, size, aside)

    def _extend(self, fd: int, known: Known, records: Sequence[Record], *, to_disk: bool) -> int:
        progress = known.progress.copied()
        lines = lines_of(records, known.layout, known.position, progress)
        data = b"".join(lines)
        in_one_page = (known.end - 1) // _PAGE == (known.end + len(data) - 1) // _PAGE
        try:
            write(fd, data, to_disk=to_disk or not in_one_page)
        except OSError:
            with suppress(OSError):  # if even that fails, the rest is a torn tail
                os.ftruncate(fd, known.end)
            raise
        known.add(lines, progress)
        return known.position

    def _anew(self, fd: int | None, known: Known | None, records: Sequence[Record]) -> tuple[int, bytes]:
        """The content of the file with more columns and the records; of a first file, where there is none."""
        if fd is None or known is None:
            layout = Layout(self._study, time.time()).extended(records)
            old, position, progress = [], 0, Progress()
        else:
            layout = known.layout.extended(records)
            rows = _parsed(fd, known, 0, self.path).rows if known.position else []
            old = [finish(known.layout.moved(row, layout)) for row in rows]
            position, progress = known.position, known.progress.copied()
        new = lines_of(records, layout, position, progress)
        return position + len(new), b"".join([layout.header(), *old, *new])


def layout_of(path: Path, *, strict: bool) -> Layout | None:
    """The header of a file; None for one that is empty, not there, or (unless strict) something else than a store.

    Raises:
        StoreError: If it is damaged, of a newer format, or (if strict) no file of ours.
    """
    with opened(path, os.O_RDONLY) as fd:
        header = b"" if fd is None else read_line(fd)
    return read_header(header, path) if header and (strict or b"hpt-csv" in header) else None


def _parsed(fd: int, known: Known, first: int, path: Path) -> Piece:
    start = known.ends[first]
    size = os.fstat(fd).st_size - start
    return parse(read(fd, start, size), known.layout, first, path, offset=start) if size > 0 else Piece([], [])
