"""Errors that name the file, the cause and the remedy."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpt_core import StoreError

__all__ = ["damaged", "edited", "explained", "not_ours", "special"]


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an operating-system error into one that names the file, the cause and the remedy.

    Raises:
        StoreError: In place of such an error within the block.
    """
    try:
        yield
    except OSError as err:
        raise _explanation(err, path) from err


def _explanation(err: OSError, path: Path) -> StoreError:
    if err.errno == errno.ENAMETOOLONG:
        return StoreError(f"The path {str(path)[:80]!r}... is too long for this system. Give a shorter one.")
    if err.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            f"{path} cannot be used ({err.strerror}). Allow this user to read and write it and its folder, or give "
            f"another path."
        )
    # only then is the folder examined: on a network drive that is gone this fails, too
    misplaced = err.errno in (errno.EEXIST, errno.ENOENT, errno.ENOTDIR)
    if misplaced and (path.parent.is_file() or err.errno == errno.ENOTDIR):
        file = path.parent if path.parent.is_file() else path
        return StoreError(
            f"{file} is a file, not a folder. Give another path; one that does not end with .csv is a folder."
        )
    if misplaced and not path.parent.is_dir():
        return StoreError(
            f"The folder {path.parent} of the store {path.name} does not exist. Create it or give another path."
        )
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"The disk is full: nothing could be added to {path}. Its content is intact. Free some space and run again."
        )
    return StoreError(f"{path} failed: {err}. It has all acknowledged records. Check the disk, then run again.")


def damaged(path: Path, line: int, cause: str) -> StoreError:
    """The error for a line that differs from what hpt wrote."""
    return StoreError(
        f"{path} is damaged in line {line}: {cause}. Restore a copy of the file, or delete this and all later lines to "
        f"keep the earlier ones."
    )


def edited(path: Path, cause: str) -> StoreError:
    """The error for a file that a spreadsheet or an editor has saved."""
    return StoreError(
        f"{path} was changed by a spreadsheet or an editor ({cause}), so its content cannot be trusted. If only line "
        f"endings were changed, this repairs it: python -m hpt_store_csv.repair {path.name}. Otherwise restore a copy, "
        f"and save edited files under another name."
    )


def not_ours(path: Path) -> StoreError:
    """The error for a file that is not a store."""
    return StoreError(f"{path} is not a store of hpt: its first line is not a header of hpt. Give another path.")


def special(path: Path, mode: int) -> StoreError:
    """The error for a path that is not a file, by its mode."""
    if stat.S_ISDIR(mode):
        return StoreError(f"{path} is a folder, but must be a file. Move the folder or give another path.")
    return StoreError(f"{path} is a pipe, a socket or a device, but must be a file. Give another path.")
