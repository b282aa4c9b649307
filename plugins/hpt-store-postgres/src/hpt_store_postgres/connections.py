"""The connections of one process to the server: one for reading and writing, and one for each lock that is held."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.errors import LockNotAvailable

from hpt_core import StoreError, wait_for
from hpt_store_postgres.problems import cut_off, explain, pooled, unreachable

if TYPE_CHECKING:
    from hpt_store_postgres.address import Address

__all__ = ["Connections", "LockLostError"]

T = TypeVar("T")

_LOG = logging.getLogger("hpt")

_NAP = 0.2
"""Seconds between two attempts to reach a server that restarts."""

_SLICE = 1.0
"""Seconds that the server waits for a lock at once. Between two such waits the holder is looked up."""

_MIN_ROW_WAIT = 1000
"""Milliseconds to wait at least for the commits of others to a study, even if the user wants to wait for no lock."""

_ENCODING = {"client_encoding": "UTF8"}
_DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

_SETTINGS = """
SELECT set_config(name, wanted.value, false) FROM pg_settings JOIN (VALUES
  ('default_transaction_isolation', 'read committed'), ('lock_timeout', %s),
  ('idle_session_timeout', '0'), ('transaction_timeout', '0'),
  ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3')
) AS wanted (name, value) USING (name)
"""
"""With these, the server ends no session that waits, and notices within a minute that a machine was lost."""

_TRY_LOCK = "SELECT set_config('lock_timeout', %s, true), pg_advisory_lock(%s)"

_HOLDER = """
SELECT concat(coalesce(nullif(application_name, ''), 'server process ' || pid), ' at ', state_change)
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND (classid::bigint << 32) | objid::bigint = %s
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_open: weakref.WeakSet[psycopg.Connection] = weakref.WeakSet()


def _let_go_in_child() -> None:
    """Detach a forked child from its parent's connections.

    The server releases a lock when the last copy of its socket is closed, which must not depend on children. The file
    descriptors are redirected, since libpq still knows them and would close their numbers.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for connection in list(_open):
        if not connection.closed:
            os.dup2(nothing, connection.fileno(), inheritable=False)
    os.close(nothing)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


class LockLostError(Exception):
    """A connection was lost that held the lock of a study."""


class Connections:
    """The connections of one process, used by any of its threads.

    Args:
        url: The database.
        patience: Seconds to wait for a lock that another process holds, and for a server that restarts.
    """

    def __init__(self, url: Address, patience: float) -> None:
        self._url = url
        self._patience = patience
        self._deadline: float | None = 0.0  # of waiting for the server; None: it was reached by the last attempt
        self._mutex = threading.RLock()
        self._main: psycopg.Connection | None = None
        self._idle: list[psycopg.Connection] = []
        self._holders: dict[tuple[str, int], psycopg.Connection] = {}

    def __del__(self) -> None:
        self._close()  # without the mutex, which a thread of the parent process may have held during a fork

    def close(self) -> None:
        """Close all connections that hold no lock; the next use connects again."""
        with self._mutex:
            self._close()

    def _close_idle(self) -> None:
        with suppress(IndexError):  # another thread may take the last one
            while True:
                self._idle.pop().close()

    def _close(self) -> None:
        self._close_idle()
        if self._main is not None:
            self._main.close()
        self._main = None

    def run(self, action: Callable[[psycopg.Connection], T]) -> T:
        """Run statements. If the connection is lost, connect and run them again, once.

        Raises:
            StoreError: If they fail, or the server cannot be reached.
        """
        with self._mutex:
            if self._main is None:
                self._main = self._connect()
            try:
                return self._run_on(self._main, action)
            except psycopg.Error:  # the connection was lost
                self._main = None
            try:
                self._main = self._connect()
            except StoreError as err:
                raise cut_off(err, self._url) from err
            try:
                return self._run_on(self._main, action)
            except psycopg.Error as err:
                raise cut_off(explain(err, self._url), self._url) from err

    def run_locked(self, study: str, action: Callable[[psycopg.Connection], T]) -> T:
        """Like `run`, but if this thread holds the study's lock, only as long as it does.

        Raises:
            LockLostError: If the lock was lost with its connection; whether the statements were executed is unknown.
        """
        connection = self._holders.get((study, threading.get_ident()))
        if connection is None:
            return self.run(action)
        try:
            return self._run_on(connection, action)
        except psycopg.Error as err:
            raise LockLostError from err

    @contextmanager
    def lock(self, study: str, key: int) -> Iterator[None]:
        """Hold an advisory lock of the server, which it releases when this process dies.

        Raises:
            StoreError: If another holder keeps the lock for too long.
        """
        connection = self._acquire(study, key)
        place = (study, threading.get_ident())
        self._holders[place] = connection
        try:
            yield
        finally:
            del self._holders[place]
            self._release(connection, key)

    def _acquire(self, study: str, key: int) -> psycopg.Connection:
        with suppress(IndexError, psycopg.Error):  # there is none, or it was lost while it was idle
            return self._locked(self._idle.pop(), study, key)
        self._close_idle()
        with suppress(psycopg.Error):  # it was lost while it waited for the lock
            return self._locked(self._connect(), study, key)
        try:
            return self._locked(self._connect(), study, key)
        except psycopg.Error as err:
            raise unreachable(err, self._url) from err

    def _locked(self, connection: psycopg.Connection, study: str, key: int) -> psycopg.Connection:
        try:
            self._run_on(connection, lambda connection: self._wait(connection, study, key))
        except BaseException:  # also Ctrl-C, perhaps when the server has just given the lock
            connection.close()
            raise
        return connection

    def _wait(self, connection: psycopg.Connection, study: str, key: int) -> None:
        milliseconds = max(1, int(1000 * min(_SLICE, self._patience)))

        def attempt() -> bool:
            try:
                connection.execute(_TRY_LOCK, [str(milliseconds), key])
            except LockNotAvailable:
                return False
            return True

        def holder() -> str:
            found = connection.execute(_HOLDER, [key]).fetchone()
            return "" if found is None else str(found[0])

        wait_for(attempt, f"the study {study!r} in {self._url}", self._patience, holder)

    def _release(self, connection: psycopg.Connection, key: int) -> None:
        if connection.closed or connection not in _open:  # lost, or this is a forked child
            return
        unlocked = None
        with suppress(psycopg.Error):
            unlocked = connection.execute("SELECT pg_advisory_unlock(%s)", [key]).fetchone()
        if unlocked == (True,):
            self._idle.append(connection)
            return
        connection.close()
        if unlocked is not None:  # its session did not hold the lock
            raise pooled(self._url)

    def _run_on(self, connection: psycopg.Connection, action: Callable[[psycopg.Connection], T]) -> T:
        """Run statements; a `psycopg.Error` means that the connection was lost."""
        try:
            return action(connection)
        except psycopg.Error as err:
            if connection.closed:
                raise
            raise explain(err, self._url) from err

    def _connect(self) -> psycopg.Connection:
        """Connect; once this process has been connected, wait for a server that restarts.

        The time to wait starts when the server is missed, not with each use: a run that gives up has more to write.
        """
        while True:
            try:
                connection = self._try_to_connect()
            except StoreError as err:
                deadline = self._deadline  # another thread may change it
                if deadline is None:
                    deadline = self._deadline = time.monotonic() + self._patience
                    if self._patience:
                        _LOG.warning("%s Trying again for %g s.", err, self._patience)
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_NAP)
            else:
                self._deadline = None
                _open.add(connection)
                return connection

    def _try_to_connect(self) -> psycopg.Connection:
        name = {"application_name": f"process {os.getpid()} on {socket.gethostname()}"}
        defaults = {key: value for key, value in _DEFAULTS.items() if f"PG{key.upper()}" not in os.environ}
        parameters: dict[str, Any] = {**name, **defaults, **self._url.parameters, **_ENCODING}
        try:
            connection = psycopg.connect(autocommit=True, **parameters)
        except psycopg.Error as err:
            raise unreachable(err, self._url) from err
        try:
            connection.execute(_SETTINGS, [str(max(_MIN_ROW_WAIT, int(1000 * self._patience)))])
        except psycopg.Error as err:
            connection.close()
            raise unreachable(err, self._url) from err
        return connection
