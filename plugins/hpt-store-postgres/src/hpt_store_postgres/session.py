"""The logs of all studies, as one process reads and writes them."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, LiteralString

from hpt_core import decode_records
from hpt_store_postgres import schema
from hpt_store_postgres.connections import Connections, LockLostError
from hpt_store_postgres.problems import damaged_record, lock_lost, shrunk

if TYPE_CHECKING:
    import psycopg

    from hpt_core import Record
    from hpt_store_postgres.address import Address

__all__ = ["Session"]

_CHUNK = 5000
"""Records read at once."""


class Session:
    """Reads and writes with the connections of one process.

    Args:
        url: The database.
        patience: See `Connections`.

    Attributes:
        connections: The connections.
    """

    def __init__(self, url: Address, patience: float) -> None:
        self.connections = Connections(url, patience)
        self._url = url
        self._has_tables = False
        self._known: dict[str, tuple[int, uuid.UUID]] = {}  # study -> position and number of the last known append

    def append(self, study: str, bodies: Sequence[str], *, durable: bool) -> int:
        """Append records, all or none; returns the position of the last one."""
        if not bodies:
            return next((size for (size,) in self.select(schema.SIZE, study)), 0)
        batch, (_, known) = uuid.uuid4(), self._known.get(study, (0, None))

        def write(connection: psycopg.Connection) -> int | None:
            if not self._ready(connection):
                schema.create(connection, self._url)
            return schema.append(connection, study, bodies, batch=batch, known=known, durable=durable)

        def find(connection: psycopg.Connection) -> int | None:
            return schema.where_is(connection, batch, len(bodies)) if self._ready(connection) else None

        try:
            position = self.connections.run_locked(study, write)
        except LockLostError as err:
            position = self.connections.run(find)
            if position is None:
                raise lock_lost(self._url, study) from err
        if position is None:
            raise shrunk(self._url, study)
        self._note(study, position, batch)
        return position

    def read(self, study: str, after: int) -> Sequence[Record]:
        """Read the records after position ``after``."""
        found: list[Record] = []
        damaged = functools.partial(damaged_record, self._url, study)
        while True:
            position = after + len(found)
            rows = self.select(schema.READ, study, position, _CHUNK)
            found += decode_records([(seq, body) for seq, body, _ in rows], position, damaged)
            last = next(((seq, batch) for seq, _, batch in reversed(rows) if batch is not None), None)
            if last is not None:
                self._note(study, *last)
            if len(rows) < _CHUNK:
                return found

    def select(self, sql: LiteralString, *arguments: object) -> list[tuple[Any, ...]]:
        """The rows that a query finds; none if nothing was ever written."""

        def query(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
            return connection.execute(sql, arguments).fetchall() if self._ready(connection) else []

        return self.connections.run(query)

    def _ready(self, connection: psycopg.Connection) -> bool:
        self._has_tables = self._has_tables or schema.exists(connection, self._url)
        return self._has_tables

    def _note(self, study: str, position: int, batch: uuid.UUID) -> None:
        if study not in self._known or self._known[study][0] < position:
            self._known[study] = (position, batch)
