"""Errors that name the database, the cause and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpt_core import StoreError

if TYPE_CHECKING:
    import psycopg

__all__ = ["cut_off", "damaged_record", "explain", "foreign", "lock_lost", "newer", "pooled", "shrunk", "unreachable"]

_FOREIGN = frozenset({"23505", "42703", "42804", "42P01", "42P07", "42P10"})
"""A table or column is missing or of another kind, or a table or record is there already."""

_POOLED = (
    "is reached through a pooler in transaction mode, which gives the lock of a study away",
    "Let it pool sessions (PgBouncer: pool_mode = session), or connect to the server directly.",
)

_CAUSES = {
    "22P05": (
        "cannot hold the name of the study",
        "Rename the study, or use a database in the encoding UTF8 (createdb --encoding=UTF8 --template=template0 hpt).",
    ),
    "25006": (
        "can only be read",
        "If the server is a standby, connect to the primary; else let default_transaction_read_only be off.",
    ),
    "26000": _POOLED,
    "42501": (
        "refuses this user",
        (
            "Before the first study, let the owner of the database GRANT CREATE ON DATABASE, or the owner of an empty "
            "schema hpt GRANT USAGE, CREATE ON SCHEMA hpt. After it, GRANT USAGE ON SCHEMA hpt and SELECT, INSERT, "
            "UPDATE ON ALL TABLES IN SCHEMA hpt. For reading, USAGE and SELECT are enough."
        ),
    ),
    "42P05": _POOLED,
    "53100": ("has no space left", "Its content is intact. Free some space and run again."),
    "53200": ("has no memory left", "Its content is intact. Run again."),
    "54000": (
        "refuses data of this size",
        "Shorten the name of the study (2,000 bytes always fit), or store less in a record.",
    ),
    "55P03": (
        "is held up: another session has locked the study's row for too long",
        "End that session (see pg_stat_activity), or raise the store's option `lock_timeout`.",
    ),
    "57014": (
        "cancelled a statement",
        "Raise its statement_timeout, or add ?options=-cstatement_timeout%3D0 to the URL.",
    ),
}
"""SQLSTATE -> what the database does, and the remedy."""

_TOO_MANY = (
    "Each run needs two connections, whatever its number of workers. Start fewer runs, or raise the server's "
    "max_connections or the user's connection limit."
)
_NO_CONNECTION = {
    "password": (
        "Check the user and the password. It may be in the URL (special characters percent-encoded), in PGPASSWORD or "
        "in ~/.pgpass."
    ),
    "certificate": "Check sslrootcert, sslcert and sslkey in the URL or in ~/.postgresql.",
    "does not exist": "Create it (createdb, createuser), or correct the URL.",
    "pg_hba.conf": "Let the server's pg_hba.conf admit this user from this machine, or connect with another sslmode.",
    "too many": _TOO_MANY,
    "remaining connection slots": _TOO_MANY,
    "starting up": "Wait until the server has started, then run again.",
}
"""Part of libpq's message, which has no SQLSTATE -> the remedy."""


def explain(err: psycopg.Error, where: str) -> StoreError:
    """Turn an error of a statement into one that names the database, the cause and the remedy."""
    cause = err.diag.message_primary or " ".join(str(err).split())
    if err.sqlstate in _FOREIGN:
        return foreign(where, cause)
    does, remedy = _CAUSES.get(
        err.sqlstate or "", ("failed", "It has all acknowledged records. See the server's log, then run again.")
    )
    return StoreError(f"{where} {does} ({cause}). {remedy}")


def unreachable(err: psycopg.Error, where: str) -> StoreError:
    """The error for a connection that could not be made."""
    lines = str(err).removeprefix("connection failed: ").splitlines()
    told = " ".join(line for line in lines if not line[:1].isspace())  # libpq indents its hints
    cause = " ".join(told.split())
    remedy = next(
        (remedy for part, remedy in _NO_CONNECTION.items() if part in cause),
        "Check that the server runs and can be reached from this machine, and the host and port in the URL.",
    )
    return StoreError(f"Cannot connect to {where}: {cause.rstrip('.')}. {remedy}")


def cut_off(err: StoreError, where: str) -> StoreError:
    """The error for a connection that was lost and could not be made again."""
    return StoreError(
        f"The connection to {where} was lost. {err} Whether the records of the last append were stored is unknown; the "
        f"next run reads what is there."
    )


def lock_lost(where: str, study: str) -> StoreError:
    """The error for a connection that was lost while it held the lock of a study."""
    return StoreError(
        f"The connection to {where} was lost while this process held the lock of the study {study!r}. Another process "
        f"may have it now, so nothing was written. Run again."
    )


def pooled(where: str) -> StoreError:
    """The error for a lock that another session took over."""
    return StoreError(f"{where} {_POOLED[0]}. {_POOLED[1]}")


def newer(where: str, found: int, known: int) -> StoreError:
    """The error for a format that only a later version knows."""
    return StoreError(
        f"{where} was written by a newer hpt-store-postgres (format {found}, known: {known}). Update that package. The "
        f"database was left unchanged."
    )


def foreign(where: str, cause: str) -> StoreError:
    """The error for a schema whose tables differ from those that hpt creates."""
    return StoreError(
        f"The schema hpt of {where} is damaged or belongs to another program ({cause}). Restore a backup, or give "
        f"another database."
    )


def damaged_record(where: str, study: str, position: int, cause: str) -> StoreError:
    """The error for a record that differs from what hpt wrote."""
    return StoreError(
        f"{where} is damaged in record {position} of the study {study!r}: {cause}. Restore a backup. Or, to keep the "
        f"earlier records, delete this and all later rows of the study from hpt.events, and set its size in "
        f"hpt.studies to {position - 1}."
    )


def shrunk(where: str, study: str) -> StoreError:
    """The error for a study that lost records while it was in use."""
    return StoreError(
        f"{where} lacks records of the study {study!r} that it had before: its server crashed before the last starts "
        f"and reports were on disk, or they were deleted, or an older state was restored. It was left unchanged. Run "
        f"again to continue from its present state, or restore it first."
    )
