"""The stderr of a worker process, as its supervisor reads it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

__all__ = ["WorkerStderr"]

_TAIL = 8_000
_PART = 1_000_000
"""How many bytes to show at once, as a trial may write any number. A longer line is broken."""


class WorkerStderr:
    """A file that a worker has as its stderr: this process shows it, and reports its end if the worker dies.

    Args:
        path: The file, which the worker creates.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shown = 0

    def show(self, *, rest: bool = False) -> None:
        """Write new lines to the stderr of this process, or all of the rest."""
        with contextlib.suppress(OSError):  # the worker has not created it yet, or a cleaner of old files removed it
            size = self.path.stat().st_size
            while self._shown < size:
                if not self._show_part(rest=rest) or not rest:
                    break

    def _show_part(self, *, rest: bool) -> bool:
        """Show whole lines, as those of several workers mix. Returns False if there is nothing to show yet."""
        with self.path.open("rb") as file:
            file.seek(self._shown)
            new = file.read(_PART)
        end = max(new.rfind(b"\n"), new.rfind(b"\r")) + 1  # a progress bar ends its lines with \r
        if end:
            _write(new[:end])
        elif rest or len(new) == _PART:
            end = len(new)
            _write(new + b"\n")
        self._shown += end
        return end > 0

    def clear(self) -> None:
        """Show the rest and empty the file: it could fill the disk, and a report is of one trial only."""
        self.show(rest=True)
        self._shown = 0
        with contextlib.suppress(OSError):
            os.truncate(self.path, 0)

    def tail(self) -> str:
        """Its end, for people. Empty if there is none."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - _TAIL))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""


def _write(lines: bytes) -> None:
    with contextlib.suppress(Exception):  # sys.stderr may be None, closed, or a replacement that raises anything
        sys.stderr.write(lines.decode(errors="replace"))
