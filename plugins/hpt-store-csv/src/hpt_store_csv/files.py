"""Reading and writing bytes so that they are on the disk, with errors that say what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpt_store_csv.problems import explain

__all__ = ["append", "opened", "read", "read_line", "replace", "write"]

_BINARY = getattr(os, "O_BINARY", 0)
_PIECE = 1 << 16


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int | None]:
    """Open a file for a while; None where there is none.

    Raises:
        StoreError: For any error of the system meanwhile.
    """
    try:
        try:
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
    """Read so many bytes from an offset, or up to the end of the file."""
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
    """Write in one go, to the disk, or only so that the system has it.

    Raises:
        OSError: If not all of it could be written.
    """
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if to_disk:
        os.fsync(fd)


def read_line(fd: int) -> bytes:
    """The first line, with its end if it has one."""
    os.lseek(fd, 0, os.SEEK_SET)
    line = b""
    while b"\n" not in line:
        piece = os.read(fd, _PIECE)
        if not piece:
            break
        line += piece
    return line[: line.index(b"\n") + 1] if b"\n" in line else line


def append(path: Path, data: bytes) -> None:
    """Add to a file, which is made if need be, on the disk."""
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    """Put a new file in the place of an old one: there is always one of the two, and whole.

    Raises:
        StoreError: If that cannot be done; then the old one is there.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as err:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise explain(err, path) from err


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows opens no folders
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
