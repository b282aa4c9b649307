"""Processes that this one starts: begun deaf to Ctrl-C, told to end, and killed with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

__all__ = ["GRACE_SECONDS", "deaf_to_ctrl_c", "has_ended", "terminate", "wait_or_kill"]

GRACE_SECONDS = 2.0
"""How long a process that was told to end has for it."""


@contextlib.contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Let a process begin with Ctrl-C blocked, which a terminal sends to all; here it is heard afterwards."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # when it starts, it unblocks
    heard: list[int] = []  # blocking does not do here: another thread may take the signal
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda number, _: heard.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in heard:
            signal.raise_signal(number)


def terminate(process: BaseProcess) -> None:
    """Tell a process to end, with what it started: this one may be gone before it comes to killing that."""
    if process.pid and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has no group yet
            os.killpg(process.pid, signal.SIGTERM)
            return
    process.terminate()


def wait_or_kill(process: BaseProcess, until: float | None = None) -> None:
    """Give a process that was told to end a moment, then kill it; kill what it leaves behind in any case.

    Args:
        process: The process.
        until: When to lose patience, on the monotonic clock; None: after the usual grace.
    """
    if until is None:
        until = time.monotonic() + GRACE_SECONDS
    while not has_ended(process) and time.monotonic() < until:
        time.sleep(GRACE_SECONDS / 100)
    # Not joined yet, so its number is still its own and its group's.
    if process.pid and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def has_ended(process: BaseProcess) -> bool:
    """Whether a process ended, without joining it where the system can tell."""
    if process.pid and hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):  # joined already
            return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.exitcode is not None
