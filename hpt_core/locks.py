"""A lock between processes and threads that the system gives back when its holder dies; for stores on disk.

It is a `flock` on a small file that stays there: a lock file that gets deleted could be held twice. `flock` belongs to
the open file, so two threads of one process exclude each other as two processes do.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from hpt_core.errors import StoreError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["file_lock", "wait_for"]

_LOG = logging.getLogger("hpt")

_NOTICE_SECONDS = 10.0
_SHORTEST_NAP, _LONGEST_NAP = 0.0002, 0.005
_FAR = 1 << 30
"""Windows locks bytes against reading, so it locks one that nobody reads."""

_open_files: set[int] = set()


def _close_in_child() -> None:
    """A forked child shares the locks of its parent, and would keep them when that one dies."""
    for fd in _open_files:
        os.close(fd)
    _open_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def file_lock(path: Path, what: str, timeout: float) -> Iterator[None]:
    """Hold the lock on a lock file, which is made if need be, with the folder that it is in, but none above that.

    Args:
        path: The lock file.
        what: What is locked, for messages.
        timeout: Seconds to wait while one and the same holder keeps it.

    Raises:
        StoreError: If it cannot be had in that time.
        OSError: If the lock file cannot be made.
    """
    process = os.getpid()
    fd = _locked(path, what, timeout)
    try:
        yield
    finally:
        if os.getpid() == process:  # a forked child has closed its copy already
            _give_back(fd)


def _locked(path: Path, what: str, timeout: float) -> int:
    while True:
        fd = _opened(path)
        try:
            wait_for(partial(_try_lock, fd), what, timeout, partial(_read, fd))
            _sign(fd)
            if os.fstat(fd).st_nlink:
                return fd
        except BaseException:
            _give_back(fd)
            raise
        _give_back(fd)  # somebody deleted the file: a lock on it excludes nobody


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT
    try:
        fd = os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(exist_ok=True)
        fd = os.open(path, flags, 0o666)
    _open_files.add(fd)
    return fd


def _give_back(fd: int) -> None:
    with suppress(OSError):
        _unlock(fd)  # closing alone would not do while a child that is just being forked has a copy
    _open_files.discard(fd)
    os.close(fd)


def wait_for(attempt: Callable[[], bool], what: str, timeout: float, holder: Callable[[], str] = str) -> None:
    """Try until it works, with a notice on the logger every ten seconds.

    Args:
        attempt: Returns whether it worked.
        what: What is waited for, for messages.
        timeout: Seconds to try for; they start anew whenever there is another holder.
        holder: Names who is in the way as far as known, anew at each acquisition.

    Raises:
        StoreError: After ``timeout``, with what to do.
    """
    if attempt():
        return
    start = since = time.monotonic()
    notice = start + _NOTICE_SECONDS
    first = holder()
    while True:
        now = time.monotonic()
        if now - since >= timeout:
            current = holder()
            if current == first:
                raise StoreError(_stuck(what, timeout, current))
            since, first = now, current
        if now >= notice:
            _LOG.warning("Waiting for %s for %.0f s; %s has it.", what, now - start, _who(holder()))
            notice = now + _NOTICE_SECONDS
        time.sleep(min(_LONGEST_NAP, max(_SHORTEST_NAP, (now - start) / 100)))
        if attempt():
            return


def _who(holder: str) -> str:
    return holder.partition(" at ")[0] or "another process"


def _stuck(what: str, timeout: float, holder: str) -> str:
    return (
        f"Waited {timeout:g} s for {what}: {_who(holder)} has it. Let that finish or end it; the store's option "
        f"`lock_timeout` sets how long to wait."
    )


def _try_lock(fd: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(fd, _FAR, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(fd: int) -> None:
    if sys.platform == "win32":
        os.lseek(fd, _FAR, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _sign(fd: int) -> None:
    """Leave word of who holds the lock; the time makes it another word at each acquisition."""
    text = f"process {os.getpid()} at {time.time_ns()}\n"
    with suppress(OSError):  # a full disk keeps nobody from a lock
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, text.encode())


def _read(fd: int) -> str:
    with suppress(OSError):
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, 200).partition(b"\n")[0].decode(errors="replace")
    return ""
