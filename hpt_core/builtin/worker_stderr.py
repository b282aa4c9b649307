"""The stderr of a worker process, as its supervisor reads it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

__all__ = ["WorkerStderr"]

_TAIL = 8_000
_LONGEST_LINE = 64_000


class WorkerStderr:
    """A file that a worker has as its stderr: this process shows it, and reports its end if the worker dies.

    Args:
        path: The file, which the worker creates.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shown = 0

    def show(self, *, rest: bool = False) -> None:
        """Write what is new to the stderr of this process. Only whole lines, unless all of the rest is asked for."""
        with contextlib.suppress(OSError):  # the worker has not created it yet, or a cleaner of old files removed it
            if self.path.stat().st_size <= self._shown:
                return
            with self.path.open("rb") as file:
                file.seek(self._shown)
                new = file.read()
            if not rest and len(new) < _LONGEST_LINE:
                new = new[: max(new.rfind(b"\n"), new.rfind(b"\r")) + 1]  # a progress bar ends its lines with \r
            self._shown += len(new)
            _write(new.decode(errors="replace"))

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


def _write(text: str) -> None:
    # sys.stderr is None in a process without one, and its user may have closed it
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()
