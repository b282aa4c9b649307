"""A file lock between processes and threads, for stores on disk. The system releases it when its holder dies.

It is a `flock` on a small file that is never deleted, since a deleted lock file could be locked twice. A `flock`
belongs to the open file, so two threads of one process exclude each other just like two processes.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from hpt_core.errors import StoreError
from hpt_core.files import share_access

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["file_lock", "wait_for"]

_LOG = logging.getLogger("hpt")

_NOTICE_SECONDS = 10.0
_SHORTEST_NAP, _LONGEST_NAP = 0.0002, 0.005
_LOCKED_BYTE = 1 << 30
"""Offset of the byte that is locked on Windows. Locked bytes cannot be read, so it lies beyond the content."""

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""What a network file system without locks answers."""

_open_files: set[int] = set()


def _close_in_child() -> None:
    """Close inherited lock files: a forked child shares its parent's locks and would keep them if the parent died."""
    for fd in _open_files:
        os.close(fd)
    _open_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def file_lock(path: Path, what: str, timeout: float) -> Iterator[None]:
    """Hold the lock on a lock file. Creates the file and its folder if missing, but no folder above that.

    Args:
        path: The lock file.
        what: What is locked, for messages.
        timeout: Seconds to wait while the same holder keeps the lock.

    Raises:
        StoreError: If the lock is not acquired in that time, or if the file system has no locks.
        OSError: If the lock file cannot be created.
    """
    process = os.getpid()
    try:
        fd = _acquire(path, what, timeout)
    except OSError as err:
        if err.errno in _NO_LOCKS:
            raise StoreError(_without_locks(what, err)) from err
        raise
    try:
        yield
    finally:
        if os.getpid() == process:  # a forked child has already closed its copy
            _release(fd)


def _acquire(path: Path, what: str, timeout: float) -> int:
    """Open and lock the file. Returns the file descriptor."""
    while True:
        fd = _open(path)
        try:
            wait_for(partial(_try_lock, fd), what, timeout, partial(_read_holder, fd))
            _write_holder(fd)
            if os.fstat(fd).st_nlink:
                return fd
        except BaseException:
            _release(fd)
            raise
        _release(fd)  # the file was deleted, so a lock on it excludes nobody


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        fd = _create(path)
    _open_files.add(fd)
    return fd


def _create(path: Path) -> int:
    """Create and open a lock file, and its folder if missing: for all users who may write in the folder above.

    Otherwise a study that root runs once would be locked for its owner for ever.
    """
    folder = path.parent
    with suppress(FileExistsError):
        folder.mkdir()
        _share_folder(folder)
    with suppress(FileExistsError):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        share_access(fd, folder)
        return fd
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # another process has created it


def _share_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # cannot open folders
    fd = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        share_access(fd, folder.parent)
    finally:
        os.close(fd)


def _release(fd: int) -> None:
    with suppress(OSError):
        _unlock(fd)  # closing is not enough: a child that is just being forked has a copy
    _open_files.discard(fd)
    with suppress(OSError):  # a network file system reports here what it could not write, which is only the holder
        os.close(fd)


def wait_for(attempt: Callable[[], bool], what: str, timeout: float, holder: Callable[[], str] = str) -> None:
    """Retry until an attempt succeeds. Logs a warning every ten seconds.

    Args:
        attempt: Returns whether it succeeded.
        what: What is waited for, for messages.
        timeout: Seconds to retry. The time starts again whenever the holder changes.
        holder: Returns a text that identifies the current holder's acquisition; empty if unknown.

    Raises:
        StoreError: After ``timeout``, with what to do about it.
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
            _LOG.warning("Waiting for %s for %.0f s; %s holds it.", what, now - start, _name_of(holder()))
            notice = now + _NOTICE_SECONDS
        time.sleep(min(_LONGEST_NAP, max(_SHORTEST_NAP, (now - start) / 100)))
        if attempt():
            return


def _name_of(holder: str) -> str:
    return holder.partition(" at ")[0] or "another process"


def _stuck(what: str, timeout: float, holder: str) -> str:
    return (
        f"Waited {timeout:g} s for {what}: {_name_of(holder)} holds it. Let that process finish or end it. The store's "
        f"option `lock_timeout` sets how long to wait."
    )


def _without_locks(what: str, err: OSError) -> str:
    return (
        f"Cannot lock {what}: its file system has no working locks ({err.strerror}). Give a path on another one, or "
        f"mount this one with locks."
    )


def _try_lock(fd: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(fd: int) -> None:
    if sys.platform == "win32":
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _write_holder(fd: int) -> None:
    """Write who holds the lock into the file. The time makes the text of each acquisition unique."""
    text = f"process {os.getpid()} at {time.time_ns()}\n"
    with suppress(OSError):  # a full disk must not prevent locking
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, text.encode())


def _read_holder(fd: int) -> str:
    with suppress(OSError):
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, 200).partition(b"\n")[0].decode(errors="replace")
    return ""
