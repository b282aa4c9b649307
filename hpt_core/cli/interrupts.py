"""Ctrl-C: the first one stops a study cleanly, the second one immediately."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from hpt_core.cli.group import INTERRUPTED

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Interrupts"]

_SHOW_CURSOR = "\x1b[?25h"
_CLEAR_LINE = "\r\x1b[2K"
_ONE_REQUEST_SECONDS = 0.2
"""A signal this soon after the first belongs to the same request: timeout(1) signals its process, then the group."""


class Interrupts:
    """Inside ``with``, the first SIGINT or SIGTERM raises KeyboardInterrupt, the next one exits the process.

    The second signal works whatever a trial does with the exception: it exits without any Python cleanup, and the next
    run resumes the trials that were running.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._process = os.getpid()
        self._first_at = 0.0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup or a shell's &
                    self._before[number] = signal.signal(number, self._first)
        return self

    def __exit__(self, *_: object) -> None:
        """Put the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _first(self, number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != self._process:  # in a child that a trial forked: restore the default
            signal.signal(number, self._before[number])
            os.kill(os.getpid(), number)
            return
        self._first_at = time.monotonic()
        for known in self._before:
            signal.signal(known, self._second)
        _write("Stopping cleanly. Press Ctrl-C again to stop immediately.\n")
        raise KeyboardInterrupt

    def _second(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if time.monotonic() - self._first_at < _ONE_REQUEST_SECONDS:
            return
        _write("Stopped immediately. The next run resumes the trials that were running.\n")
        os._exit(INTERRUPTED)


def _write(text: str) -> None:
    """Write to stderr below Python's streams, which the signal may have interrupted in the middle of a write."""
    line = f"{_CLEAR_LINE}{_SHOW_CURSOR}{text}" if os.isatty(2) else text
    with suppress(OSError):
        os.write(2, line.encode())
