"""Run one command, and let no process of it outlive its trial.

A separate program that uses only the standard library, started as
``python -I -S supervise.py CONTROL_FD PARENT_PID GRACE COMMAND...``. It runs between hpt and the command because hpt
may die without a chance to clean up (kill -9, out of memory). The control socket then closes, and the supervisor ends
the command with all its descendants. On Linux it adopts orphaned descendants, so it also ends grandchildren that have
left the process group.

It writes ``pid N``, then ``exit CODE`` (negative for a signal) or ``error ERRNO`` to the control socket.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator

_LINUX = sys.platform == "linux"
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_TICK = 0.005  # seconds between polls of dying processes
_LAST_WAIT = 2.0  # seconds for the kernel to remove processes after SIGKILL
_TERMINATION_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(command: list[str], control: int) -> int:
    """Fork, and execute the command in its own process group; returns its pid."""
    supervisor = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would inherit that
            signal.signal(number, signal.SIG_DFL)
        _prctl(_SET_PDEATHSIG, signal.SIGKILL)
        os.set_inheritable(control, False)
        if os.getppid() == supervisor:
            os.execvp(command[0], command)  # noqa: S606 - deliberately without a shell
    except OSError as err:
        os.write(control, b"error %d\n" % (err.errno or 0))
    finally:
        os._exit(127)


def _reap() -> Iterator[tuple[int, int]]:
    """Yield (pid, exit code) of each child that has ended; raises ChildProcessError if there are no children."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def _descendants() -> list[int]:
    """All descendants of this process according to /proc; empty if there is no /proc."""
    parents: dict[int, list[int]] = {}
    with contextlib.suppress(OSError):
        for entry in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double the start-up time
            if entry.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123 - as above
                    parent = int(file.read().rpartition(b")")[2].split()[1])
                    parents.setdefault(parent, []).append(int(entry))
    found, pending = [], [os.getpid()]
    while pending:
        children = parents.get(pending.pop(), [])
        found += children
        pending += children
    return found


def _send(number: int, group: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(group, number)
    for pid in _descendants():
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _all_gone(group: int, seconds: float, wake: int) -> bool:
    """Wait until no descendant is left; returns False after ``seconds``, or on a termination signal."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            for _ in _reap():
                pass
        except ChildProcessError:
            if _LINUX:
                return True
            try:
                os.killpg(group, 0)  # elsewhere, orphans are not children of this process
            except OSError:
                return True
        if time.monotonic() >= deadline or _TERMINATION_SIGNALS & set(_signals(wake)):
            return False
        time.sleep(_TICK)


def _signals(wake: int) -> bytes:
    """The numbers of the signals received since the last call."""
    try:
        return os.read(wake, 4096)
    except BlockingIOError:
        return b""


def _end(group: int, grace: float, wake: int) -> None:
    """End the remaining processes of the command: with SIGTERM first, then with SIGKILL."""
    if _all_gone(group, 0.0, wake):
        return
    _send(signal.SIGTERM, group)
    if _all_gone(group, grace, wake):
        return
    deadline = time.monotonic() + _LAST_WAIT
    while time.monotonic() < deadline:  # repeatedly, to catch processes that were forked in the meantime
        _send(signal.SIGKILL, group)
        if _all_gone(group, 10 * _TICK, wake):
            return


def _watch(child: int, control: int, wake: int, parent: int) -> int | None:
    """Wait for the command; returns its exit code, or None if it has to be ended."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if wake in ready:
            signals = _signals(wake)
            for pid, code in _reap():
                if pid == child:
                    return code
            if _TERMINATION_SIGNALS & set(signals) or os.getppid() != parent:
                return None
        if control in ready:  # hpt never sends anything, so the socket was closed
            return None


def main() -> None:
    """Run the command in the arguments, and report how it ended."""
    control, parent, grace = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    wake, wake_write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    _prctl(_SET_CHILD_SUBREAPER, 1)
    _prctl(_SET_PDEATHSIG, signal.SIGUSR1)  # a fork of hpt may keep the control socket open after hpt has died
    if os.getppid() != parent:
        return
    child = _start(sys.argv[4:], control)
    with contextlib.suppress(OSError):
        os.write(control, b"pid %d\n" % child)
    code = _watch(child, control, wake, parent)
    _end(child, grace, wake)
    if code is not None:
        with contextlib.suppress(OSError):
            os.write(control, b"exit %d\n" % code)


if __name__ == "__main__":
    main()
