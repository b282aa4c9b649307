"""What went wrong with a file, in words that say what to do."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from hpt_core import StoreError

__all__ = ["damaged", "explain", "foreign", "replaced", "shrunk"]

_FULL = frozenset({sqlite3.SQLITE_FULL})
_NO_DATABASE = frozenset(
    {
        0,  # the module's own complaint, about text that is no Unicode
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_ERROR,  # a table or a column is missing
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_NOTADB,
    }
)
_NOT_ALLOWED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY})


def explain(err: sqlite3.Error | OSError | UnicodeError, path: Path) -> StoreError:
    """Turn an error of SQLite or of the system into one that names the file, the cause and the remedy.

    A `UnicodeError` is the module's own, where even SQLite's message quotes bytes that are no text.
    """
    number = err.errno if isinstance(err, OSError) else None
    code = getattr(err, "sqlite_errorcode", 0) & 0xFF  # the low byte is the class of the error
    if number == errno.ENAMETOOLONG:
        return StoreError(f"The path {str(path)[:80]!r}... is too long for this system. Give a shorter one.")
    refused = number in (errno.EACCES, errno.EPERM, errno.EROFS)  # then the folder, too, may refuse to be looked at
    if not refused and not path.parent.is_dir():
        return StoreError(f"There is no folder {path.parent} for the store {path.name}. Make it, or give another path.")
    if not refused and path.is_dir():
        return StoreError(f"{path} is a folder, and the store needs a file. Give a path like {path / 'hpt.db'}.")
    if number in (errno.ENOSPC, errno.EDQUOT) or code in _FULL:
        return StoreError(
            f"The disk is full: nothing could be added to {path}. What is in it is safe; make room and run again."
        )
    if refused or code in _NOT_ALLOWED:
        return StoreError(
            f"{path} cannot be used ({err}). Allow this user to read and write it and its folder, or give another path."
        )
    if code == sqlite3.SQLITE_TOOBIG:
        return StoreError(f"A record is too large for {path} ({err}). Note less, and keep large things in files.")
    no_database = isinstance(err, (sqlite3.Error, UnicodeError)) and code in _NO_DATABASE
    failed = f"{path} failed: {err}. What was acknowledged is in it; check the disk, then run again."
    return damaged(path, str(err)) if no_database else StoreError(failed)


def damaged(path: Path, cause: str) -> StoreError:
    """The error for a file whose content cannot be what hpt wrote."""
    return StoreError(
        f"{path} is damaged or not a store of hpt ({cause}). Go back to a copy of it, or save what can be read into a "
        f"new file: sqlite3 {path.name} .recover | sqlite3 saved.db"
    )


def foreign(path: Path) -> StoreError:
    """The error for the database of another program."""
    return StoreError(f"{path} is not a store of hpt: it is the SQLite database of another program. Give another path.")


def replaced(path: Path) -> StoreError:
    """The error for a file that was taken away while it was in use."""
    return StoreError(
        f"{path} was moved, deleted or replaced while it was in use. Put it back, or start again with a new one."
    )


def shrunk(path: Path) -> StoreError:
    """The error for a file that lost records while it was in use."""
    return StoreError(
        f"{path} lacks records that were there before: it, or {path.name}-late beside it, was deleted or put back to "
        f"an older copy while it was in use. It was left alone; run again to go on from what is there, or put it back "
        f"first."
    )
