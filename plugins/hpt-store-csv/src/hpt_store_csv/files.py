"""Reading bytes, and writing them durably, with errors that name a remedy."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpt_core import replace_file
from hpt_store_csv.problems import explained, special

__all__ = ["opened", "read", "read_line", "replace", "write"]

_BINARY = getattr(os, "O_BINARY", 0)
_PIECE = 1 << 16


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int | None]:
    """Open a file for the duration of a block; None if it does not exist.

    Raises:
        StoreError: For any operating-system error within the block, and for a folder, a pipe or a device.
    """
    with explained(path):
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


def replace(path: Path, content: bytes, *, like: Path | None = None) -> None:
    """Replace a file durably, see `hpt_core.replace_file`.

    Raises:
        StoreError: If this fails; then the old file is kept.
    """
    with explained(path):
        replace_file(path, content, like=like)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open folders
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
