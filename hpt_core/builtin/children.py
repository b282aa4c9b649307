"""Child processes: started with Ctrl-C blocked, and terminated or killed with all processes that they started."""

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

__all__ = ["GRACE_SECONDS", "ctrl_c_blocked", "has_ended", "open_streams", "terminate", "wait_or_kill"]

GRACE_SECONDS = 2.0
"""How long a terminated process has to end before it is killed."""


def open_streams() -> None:
    """Let child processes inherit all standard streams, or a pipe to one gets the number of a closed one (``2>&-``)."""
    for number in range(3):
        try:
            os.set_inheritable(number, True)
        except OSError:  # it is closed, and the lowest closed one is opened
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


@contextlib.contextmanager
def ctrl_c_blocked() -> Iterator[None]:
    """Start processes with Ctrl-C blocked, as a terminal sends it to them too. This process handles it afterwards."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # starting it later would unblock the signal
    received: list[int] = []  # blocking is not enough: another thread may receive the signal
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda number, _: received.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)


def terminate(process: BaseProcess) -> None:
    """Terminate a process and what it started, as this process may end before it gets to kill them."""
    if process.pid and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has no process group yet
            os.killpg(process.pid, signal.SIGTERM)
            return
    process.terminate()


def wait_or_kill(process: BaseProcess, until: float | None = None) -> None:
    """Wait for a terminated process to end, then kill it. What it started is killed in any case.

    Args:
        process: The process.
        until: When to kill it, on the monotonic clock. None: after `GRACE_SECONDS`.
    """
    if until is None:
        until = time.monotonic() + GRACE_SECONDS
    while not has_ended(process) and time.monotonic() < until:
        time.sleep(GRACE_SECONDS / 100)
    # It is not joined yet, so its process ID cannot have been reused.
    if process.pid and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def has_ended(process: BaseProcess) -> bool:
    """Whether a process has ended. Does not join it if the system can tell otherwise."""
    if process.pid and hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):  # already joined
            return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.exitcode is not None
