"""The tables, and the statements on them.

``events`` is the log: one row per record, whose ``body`` is JSON as text, because ``jsonb`` keeps neither the order of
keys nor the types of numbers. The text is ASCII, so it fits a database of any encoding.

An append is one statement, and so one transaction and one round trip. It locks the row of its study, which also has the
study's last position; so positions have no gaps. The first record of an append has a random number in ``batch``. If a
connection is lost and it is unknown whether the append was committed, it is simply repeated: it fails if it was. The
number also tells whether the last append that a process knows is still there. As appends to a study are committed in
order, all earlier ones are there then. Lazy ones are lost if the server crashes, while its clients live on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, LiteralString

from psycopg.errors import UniqueViolation

from hpt_store_postgres.problems import foreign, newer

if TYPE_CHECKING:
    import uuid

    import psycopg

__all__ = ["NAMES", "READ", "SIZE", "append", "create", "exists", "where_is"]

FORMAT = 1
"""Version of the tables; a database with a higher one is refused."""

_CREATION = 0x6870743A706731
"""Key of the advisory lock under which the tables are created ("hpt:pg1")."""

_TABLES: Sequence[LiteralString] = (
    "CREATE TABLE hpt.format (version integer NOT NULL)",
    """CREATE TABLE hpt.studies (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, size bigint NOT NULL
)""",
    """CREATE TABLE hpt.events (
  study_id bigint NOT NULL REFERENCES hpt.studies ON DELETE CASCADE, seq bigint NOT NULL, batch uuid UNIQUE,
  body text NOT NULL, PRIMARY KEY (study_id, seq)
)""",
)

_APPEND = """
WITH place AS (
  UPDATE hpt.studies SET size = size + %(count)s
  WHERE name = %(study)s AND set_config('synchronous_commit', %(commit)s, true) = %(commit)s
    AND (%(known)s::uuid IS NULL OR EXISTS (SELECT FROM hpt.events WHERE batch = %(known)s AND study_id = id))
  RETURNING id, size
), added AS (
  INSERT INTO hpt.events (study_id, seq, batch, body)
  SELECT id, size - %(count)s + i, CASE WHEN i = 1 THEN %(batch)s::uuid END, body
  FROM place, unnest(%(bodies)s::text[]) WITH ORDINALITY AS record (body, i)
)
SELECT size FROM place
"""

READ = (
    "SELECT seq, body, batch FROM hpt.events "
    "WHERE study_id = (SELECT id FROM hpt.studies WHERE name = %s) AND seq > %s ORDER BY seq LIMIT %s"
)
"""Arguments: a study, a position, and how many records after it to read."""

SIZE = "SELECT size FROM hpt.studies WHERE name = %s"

NAMES = "SELECT name FROM hpt.studies WHERE size > 0 ORDER BY id"


def exists(connection: psycopg.Connection, where: str) -> bool:
    """Whether the database has the tables. Looks in a table, as the cache behind to_regclass() may be out of date.

    Raises:
        StoreError: If they have a newer format.
    """
    if not connection.execute("SELECT FROM pg_tables WHERE schemaname = 'hpt' AND tablename = 'format'").fetchall():
        return False
    found = connection.execute("SELECT version FROM hpt.format").fetchone()
    if found is None:
        raise foreign(where, "its table format is empty")
    if found[0] > FORMAT:
        raise newer(where, found[0], FORMAT)
    return True


def create(connection: psycopg.Connection, where: str) -> None:
    """Create the tables, unless another process has."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_CREATION])
        if exists(connection, where):
            return
        if not connection.execute("SELECT FROM pg_namespace WHERE nspname = 'hpt'").fetchall():
            connection.execute("CREATE SCHEMA hpt")
        for table in _TABLES:
            connection.execute(table)
        connection.execute("INSERT INTO hpt.format VALUES (%s)", [FORMAT])


def append(
    connection: psycopg.Connection,
    study: str,
    bodies: Sequence[str],
    *,
    batch: uuid.UUID,
    known: uuid.UUID | None,
    durable: bool,
) -> int | None:
    """Append records, all or none; repeated with the same ``batch``, it does nothing more.

    Args:
        connection: In autocommit mode.
        study: The study.
        bodies: The records, at least one.
        batch: Identifies this append.
        known: The last append that this process knows, if any.
        durable: Whether to wait for the disk.

    Returns:
        The position of the last record; None if ``known`` is not there, and nothing was written.
    """
    commit = "on" if durable else "off"
    values = {"study": study, "count": len(bodies), "bodies": bodies, "batch": batch, "known": known, "commit": commit}
    try:
        found = connection.execute(_APPEND, values).fetchone()
        if found is None and known is None:
            connection.execute("INSERT INTO hpt.studies (name, size) VALUES (%s, 0) ON CONFLICT DO NOTHING", [study])
            found = connection.execute(_APPEND, values).fetchone()
    except UniqueViolation:
        position = where_is(connection, batch, len(bodies))
        if position is None:  # another record has the position
            raise
        return position
    return None if found is None else int(found[0])


def where_is(connection: psycopg.Connection, batch: uuid.UUID, count: int) -> int | None:
    """The position of the last record of an append; None if it was not committed."""
    found = connection.execute("SELECT seq FROM hpt.events WHERE batch = %s", [batch]).fetchone()
    return None if found is None else int(found[0]) + count - 1
