"""The store `postgres`: many studies in a PostgreSQL database."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from hpt_core import Record, StoreError, encode_record, option
from hpt_store_postgres.address import Address
from hpt_store_postgres.schema import NAMES
from hpt_store_postgres.session import Session

__all__ = ["PostgresStore"]


@attrs.define(kw_only=True)
class PostgresStore:
    """Many studies in a PostgreSQL database, for workers on machines that share no files.

    The first study creates the schema ``hpt`` in the database. A store can be used from any thread and after a fork,
    and can be pickled to other processes.
    """

    url: str = option(
        "postgresql://",
        help=(
            "The database, as in postgresql://user@host/database. Parts left out come from libpq's environment "
            "variables (PGHOST, PGPASSWORD), ~/.pgpass or defaults. A password is never shown or recorded."
        ),
        converter=Address.parse,
    )
    lock_timeout: float = option(
        60.0,
        ge=0,
        seconds=True,
        help="Seconds to wait for a lock that another process holds, or for a server that restarts.",
    )
    _sessions: dict[int, Session] = attrs.field(init=False, repr=False, eq=False, factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), url=self.url, lock_timeout=self.lock_timeout), ()

    @property
    def location(self) -> str:
        """The URL without the password."""
        return str(self.url)

    def append(self, study: str, records: Sequence[Record]) -> int:
        """Append the records durably, all or none of them.

        Returns:
            The position of the last record.

        Raises:
            StoreError: If they cannot be written. Then none of them is stored, unless the message says otherwise.
        """
        return self._append(study, records, durable=True)

    def append_lazily(self, study: str, records: Sequence[Record]) -> int:
        """Append without waiting for the server's disk: its crash before the next `append` may lose the records.

        Returns:
            The position of the last record.

        Raises:
            StoreError: If they cannot be written. Then none of them is stored, unless the message says otherwise.
        """
        return self._append(study, records, durable=False)

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        """Read the records after position ``after``, in order. A study that does not exist has none.

        Raises:
            StoreError: If the tables are damaged, of a newer format, or cannot be read.
        """
        return self._session().read(_checked_name(study), after)

    def studies(self) -> Sequence[str]:
        """Names of the studies that have records, in order of creation."""
        return [name for (name,) in self._session().select(NAMES)]

    @contextmanager
    def lock(self, study: str) -> Iterator[None]:
        """Hold the study's lock against other processes and threads; they can still append.

        Raises:
            StoreError: If another holder keeps the lock for ``lock_timeout`` seconds.
        """
        digest = hashlib.sha256(f"hpt {_checked_name(study)}".encode()).digest()
        with self._session().connections.lock(study, int.from_bytes(digest[:8], signed=True)):
            yield

    def close(self) -> None:
        """Close the connections; the next use connects again."""
        session = self._sessions.pop(os.getpid(), None)
        if session is not None:
            session.connections.close()

    def _append(self, study: str, records: Sequence[Record], *, durable: bool) -> int:
        bodies = [encode_record(record) for record in records]
        return self._session().append(_checked_name(study), bodies, durable=durable)

    def _session(self) -> Session:
        pid = os.getpid()
        session = self._sessions.get(pid)
        if session is None:
            session = self._sessions.setdefault(pid, Session(Address.parse(self.url), self.lock_timeout))
            for other in [p for p in self._sessions if p != pid]:  # the parent's sessions, useless after a fork
                self._sessions.pop(other, None)
        return session


def _checked_name(study: str) -> str:
    """The name of a study.

    Raises:
        StoreError: If it is no text that PostgreSQL can store.
    """
    try:
        study.encode()
    except UnicodeEncodeError as err:
        raise StoreError(f"The name of a study must be valid Unicode text. Got {study!r}.") from err
    if "\0" in study:
        raise StoreError(f"The name of a study must not contain the character NUL. Got {study!r}.")
    return study
