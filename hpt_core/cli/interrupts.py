"""Ctrl-C: the first one stops a study cleanly, the second one at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from hpt_core.cli.group import INTERRUPTED

if TYPE_CHECKING:
    from types import FrameType, TracebackType

__all__ = ["Interrupts"]

_SHOW_CURSOR = "\x1b[?25h"
_CLEAR_LINE = "\r\x1b[2K"
_ONE_REQUEST_SECONDS = 0.2
"""What comes so soon after the first signal is no second request: timeout(1) signals its process, then the group."""


class Interrupts:
    """Inside ``with``, SIGINT and SIGTERM raise KeyboardInterrupt once; the next one ends the process on the spot.

    Whatever a trial does with the exception, the second signal works: it runs no Python cleanup at all, and what was
    running is taken up again by the next run.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._process = os.getpid()
        self._asked = 0.0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup or a shell's & had it
                    self._before[number] = signal.signal(number, self._first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _first(self, number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != self._process:  # a trial forked: its child ends as it would without us
            signal.signal(number, self._before[number])
            os.kill(os.getpid(), number)
            return
        self._asked = time.monotonic()
        for known in self._before:
            signal.signal(known, self._second)
        _write("Stopping cleanly; once more stops at once.\n")
        raise KeyboardInterrupt

    def _second(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if time.monotonic() - self._asked < _ONE_REQUEST_SECONDS:
            return
        _write("Stopped at once; the next run takes up what was running.\n")
        os._exit(INTERRUPTED)


def _write(text: str) -> None:
    """Write past Python's streams, which the signal may have caught in the middle of a write."""
    line = f"{_CLEAR_LINE}{_SHOW_CURSOR}{text}" if os.isatty(2) else text
    try:
        os.write(2, line.encode())
    except OSError:
        return
