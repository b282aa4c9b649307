"""Files that other users may share: replaced as a whole, with the permissions and the owner that they had."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["replace_file", "share_access"]


def replace_file(path: Path, content: bytes, *, like: Path | None = None) -> None:
    """Write a file as a whole or not at all, even if the power fails. The same users may read and write it as before.

    Args:
        path: The file. If it is a link, the file that the link names is replaced. A pipe or a device is written to.
        content: The new content.
        like: The file whose permissions, group and owner it gets, as far as this user may set them. Default: the file
            that is replaced. If there is none, the umask decides as usual.

    Raises:
        OSError: If it cannot be written; then the old file is kept.
    """
    if path.exists() and not path.is_file():  # before links are followed: what /dev/stdout leads to may have no path
        path.write_bytes(content)
        return
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".hpt-{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            share_access(file.fileno(), like or target)  # before there is anything to read
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def share_access(fd: int, like: Path) -> None:
    """Give a new file or folder, which is open, the permissions, group and owner of another, as far as this user may.

    A file that is like a folder is not executable.
    """
    if not hasattr(os, "fchown"):
        return  # Windows has other permissions
    with suppress(OSError):  # there is no other one, or the file system has no permissions
        found, is_folder = like.stat(), stat.S_ISDIR(os.fstat(fd).st_mode)
        mode = stat.S_IMODE(found.st_mode)
        os.fchmod(fd, mode if is_folder == stat.S_ISDIR(found.st_mode) else mode & 0o666)
        os.fchown(fd, -1, found.st_gid)
        os.fchown(fd, found.st_uid, -1)  # only root may, who would take the file from its owner
