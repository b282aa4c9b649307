"""Reading bytes, and writing them durably, with errors that name a remedy."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpt_store_csv.problems import explain, special

__all__ = ["append", "opened", "read", "read_line", "replace", "write"]

_BINARY = getattr(os, "O_BINARY", 0)
_PIECE = 1 << 16


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int | None]:
    """Open a file for the duration of a block; None if it does not exist.

    Raises:
        StoreError: For any operating-system error within the block, and for a folder, a pipe or a device.
    """
    try:
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):  # to open a pipe would wait for its other end
                raise special(path, mode)
            fd = os.open(path, flags | _BINARY)
        except (FileNotFoundError, NotADirectoryError):
            yield None
            return
        try:
            yield fd
        finally:
            os.close(fd)
    except OSError as err:
        raise explain(err, path) from err


def read(fd: int, offset: int, size: int) -> bytes:
    """Read ``size`` bytes from an offset, or fewer at the end of the file."""
    os.lseek(fd, offset, os.SEEK_SET)
    pieces = []
    while size > 0:
        piece = os.read(fd, size)
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def write(fd: int, data: bytes, *, to_disk: bool = True) -> None:
    """Write all data in one call, and wait for the disk if ``to_disk``.

    Raises:
        OSError: If not all of the data could be written.
    """
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if to_disk:
        os.fsync(fd)


def read_line(fd: int) -> bytes:
    """Read the first line, with its line ending if it has one."""
    os.lseek(fd, 0, os.SEEK_SET)
    line = b""
    while b"\n" not in line:
        piece = os.read(fd, _PIECE)
        if not piece:
            break
        line += piece
    return line[: line.index(b"\n") + 1] if b"\n" in line else line


def append(path: Path, data: bytes, like: Path) -> None:
    """Append to a file durably; it is created if necessary, and then has the permissions of ``like``."""
    with path.open("ab") as file:
        _give_access(path, like)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    """Replace a file atomically by one with new content, which the same users may read and write.

    Raises:
        StoreError: If this fails; then the old file is kept.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("wb") as file:
            _give_access(temporary, path)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as err:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise explain(err, path) from err


def _give_access(path: Path, like: Path) -> None:
    """Give a file the permissions, group and owner of another one, as far as this user may."""
    with suppress(OSError):  # there is no other one, this one is another user's, or the file system has no permissions
        shutil.copymode(like, path)
        if hasattr(os, "chown"):
            found = like.stat()
            os.chown(path, -1, found.st_gid)
            os.chown(path, found.st_uid, -1)  # only root may, who would take a private file from its owner


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open folders
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
