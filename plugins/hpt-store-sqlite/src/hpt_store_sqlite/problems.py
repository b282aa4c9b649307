"""Errors that name the file, the cause and the remedy."""

from __future__ import annotations

import errno
import sqlite3
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from hpt_core import StoreError

__all__ = ["damaged", "damaged_record", "explained", "foreign", "newer", "replaced", "shrunk", "special"]

_NO_DATABASE = frozenset(
    {
        0,  # an error of the sqlite3 module itself, about text that is not Unicode
        sqlite3.SQLITE_CONSTRAINT,  # a study was deleted from one table only
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_ERROR,  # a table or a column is missing
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_NOTADB,
    }
)
_NOT_ALLOWED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY})


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an error of SQLite or the operating system into one that names the file, the cause and the remedy.

    The sqlite3 module raises a `UnicodeError` if SQLite's own message quotes bytes that are not text.

    Raises:
        StoreError: In place of such an error within the block.
    """
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeError) as err:
        raise _explanation(err, path) from err


def _explanation(err: sqlite3.Error | OSError | UnicodeError, path: Path) -> StoreError:
    number = err.errno if isinstance(err, OSError) else None
    code = getattr(err, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary result code
    if number == errno.ENAMETOOLONG:
        return StoreError(f"The path {str(path)[:80]!r}... is too long for this system. Give a shorter one.")
    # only then is the folder examined: if access to it is denied, or its network drive is gone, this fails, too
    if number in (errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
        if path.parent.is_file():
            return StoreError(f"{path.parent} is a file, so the store {path.name} cannot be in it. Give another path.")
        if not path.parent.is_dir():
            return StoreError(
                f"The folder {path.parent} of the store {path.name} does not exist. Create it or give another path."
            )
    if number in (errno.ENOSPC, errno.EDQUOT) or code == sqlite3.SQLITE_FULL:
        return StoreError(
            f"The disk is full: nothing could be added to {path}. Its content is intact. Free some space and run again."
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or code in _NOT_ALLOWED:
        return StoreError(
            f"{path} cannot be used ({err}). Allow this user to read and write it and its folder, or give another path."
        )
    if code == sqlite3.SQLITE_TOOBIG:
        return StoreError(f"A record is too large for {path} ({err}). Store less in it, and keep large data in files.")
    no_database = isinstance(err, (sqlite3.Error, UnicodeError)) and code in _NO_DATABASE
    failed = f"{path} failed: {err}. It has all acknowledged records. Check the disk, then run again."
    return damaged(path, str(err)) if no_database else StoreError(failed)


def damaged(path: Path, cause: str) -> StoreError:
    """The error for a file whose content differs from what hpt wrote."""
    return StoreError(
        f"{path} is damaged or not a store of hpt ({cause}). Restore a copy of it, or recover what is readable into a "
        f"new file: sqlite3 {path.name} .recover | sqlite3 saved.db (if this prints 'SQL logic error', with the "
        f"sqlite3 of sqlite.org: that of some systems lacks the command)"
    )


def damaged_record(path: Path, study: str, position: int, cause: str) -> StoreError:
    """The error for a record that differs from what hpt wrote, in a file that SQLite can read."""
    return StoreError(
        f"{path} is damaged in record {position} of the study {study!r}: {cause}. Restore a copy of the file, or "
        f"delete this and all later rows of the study from its table `events` to keep the earlier ones."
    )


def foreign(path: Path, tables: Collection[str]) -> StoreError:
    """The error for the database of another program."""
    if {"studies", "trials", "trial_params"} <= set(tables):
        return StoreError(
            f"{path} is not a store of hpt: it is the SQLite database of Optuna. Copy a study from it with 'hpt import "
            f"{path} --store NEW.db', a command of the plugin hpt-sampler-optuna, or give another path."
        )
    return StoreError(f"{path} is not a store of hpt: it is the SQLite database of another program. Give another path.")


def newer(path: Path, found: int, known: int) -> StoreError:
    """The error for a format that only a later version knows."""
    return StoreError(
        f"{path} was written by a newer hpt-store-sqlite (format {found}, known: {known}). Update that package. The "
        f"file was left unchanged."
    )


def replaced(path: Path) -> StoreError:
    """The error for a file that disappeared while it was in use."""
    return StoreError(
        f"{path} was moved, deleted or replaced while it was in use. Restore it, or run again with a new file."
    )


def shrunk(path: Path) -> StoreError:
    """The error for a file that lost records while it was in use."""
    return StoreError(
        f"{path} lacks records that it had before: while in use, it or {path.name}-late beside it was deleted or "
        f"replaced by an older copy. It was left unchanged. Restore it, or run again to continue from its present "
        f"state."
    )


def special(path: Path, mode: int) -> StoreError:
    """The error for a path that is not a file, by its mode."""
    if stat.S_ISDIR(mode):
        return StoreError(f"{path} is a folder, but must be a file. Give a path like {path / 'hpt.db'}.")
    return StoreError(f"{path} is a pipe, a socket or a device, but must be a file. Give another path.")
