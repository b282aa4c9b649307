"""What went wrong with a file, in words that say what to do."""

from __future__ import annotations

import errno
from pathlib import Path

from hpt_core import StoreError

__all__ = ["damaged", "edited", "explain", "not_ours"]


def explain(err: OSError, path: Path) -> StoreError:
    """Turn an error of the system into one that names the file, the cause and the remedy."""
    if err.errno == errno.ENAMETOOLONG:
        return StoreError(f"The path {str(path)[:80]!r}... is too long for this system. Give a shorter one.")
    if err.errno in (errno.EACCES, errno.EPERM, errno.EROFS):  # before the folder is looked at: that may be refused
        return StoreError(
            f"{path} cannot be used ({err.strerror}). Allow this user to read and write it and its folder, or give "
            f"another path."
        )
    if not path.parent.is_dir():
        return StoreError(f"There is no folder {path.parent} for the store {path.name}. Make it, or give another path.")
    if path.is_dir():
        return StoreError(f"{path} is a folder, and a study needs a file there. Move it, or give another path.")
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"The disk is full: nothing could be added to {path}. What is in it is safe; make room and run again."
        )
    return StoreError(f"{path} failed: {err}. What was acknowledged is in it; check the disk, then run again.")


def damaged(path: Path, line: int, cause: str) -> StoreError:
    """The error for a line that cannot be what hpt wrote."""
    return StoreError(
        f"{path} is damaged in line {line}: {cause}. Go back to a copy of it, or delete that line and all below it to "
        f"keep what is above."
    )


def edited(path: Path, cause: str) -> StoreError:
    """The error for a file that a spreadsheet or an editor has saved."""
    return StoreError(
        f"{path} was changed by a spreadsheet or an editor ({cause}), so its content is no longer certain. If nothing "
        f"but the ends of lines was, this takes it back: python -m hpt_store_csv.repair {path.name}. Else go back to a "
        f"copy, and save what you edit under another name."
    )


def not_ours(path: Path) -> StoreError:
    """The error for a file that is something else."""
    return StoreError(f"{path} is not a store of hpt: its first line is not hpt's. Give another path.")
