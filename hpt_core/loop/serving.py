"""Serves a store to workers: one process opens the store, and the workers access it over connections.

So any store works with any number of workers, on any machine. Only one process writes, and it knows which trial each
worker runs and since when. The executor holds a `StoreServer` and a `Peer` per worker; the worker process calls
`run_served`. Requests are tuples of a verb and its arguments, responses are ``(ok, result)``.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from hpt_core.errors import HptError, PluginError, StoreError
from hpt_core.liveness import worker_name

if TYPE_CHECKING:
    from hpt_core.components import Store, WorkerCall
    from hpt_core.history.events import Record

__all__ = ["Peer", "StoreServer", "run_served"]


@attrs.define(eq=False)
class Peer:
    """A worker as seen by its server.

    Attributes:
        name: The worker's name in the log.
        pipe: The connection to the worker.
        trial_since: When its current trial started, on the monotonic clock. None while it runs no trial.
        has_worked: Whether it has started a trial.
        ended: Whether the worker reported that its loop has ended.
    """

    name: str
    pipe: Connection
    trial_since: float | None = None
    has_worked: bool = False
    ended: bool = False

    def trial_started(self) -> None:
        """Note that the worker starts a trial."""
        self.trial_since, self.has_worked = time.monotonic(), True

    def late(self, limit: float | None) -> bool:
        """Whether its trial has taken longer than ``limit`` seconds. None: no limit.

        False while a request of the worker is unread, as that may be the end of the trial.
        """
        if limit is None or self.trial_since is None:
            return False
        return time.monotonic() - self.trial_since > limit and not self.pipe.poll()


class StoreServer:
    """Answers the requests of workers, one at a time. One worker at a time holds the lock.

    Args:
        store: The open store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._named = 0
        self._holder: Peer | None = None
        self._held = contextlib.ExitStack()
        self._waiting: deque[tuple[Peer, str]] = deque()

    def next_name(self) -> str:
        """The name for the next worker. It begins with the name of this process, which owns the worker."""
        self._named += 1
        return worker_name(self._named)

    def answer(self, peer: Peer) -> bool:
        """Answer one message. Returns False if the connection has ended.

        Raises:
            Exception: The exception that ended the worker, which is its last message.
        """
        try:
            verb, *arguments = peer.pipe.recv()
        except (EOFError, OSError):
            return False
        if verb == "ended":
            peer.ended = True
        elif verb == "raised":
            peer.ended = True
            error, text = arguments
            raise error if isinstance(error, Exception) else PluginError(text)
        elif verb == "lock":
            self._waiting.append((peer, arguments[0]))
            self._grant()
        elif verb == "unlock":
            self._release()
        else:
            self._call(peer, verb, arguments)
        return True

    def forget(self, peer: Peer) -> None:
        """Close the connection to a dead worker, and release the lock if it held it."""
        self._waiting = deque(item for item in self._waiting if item[0] is not peer)
        if self._holder is peer:
            self._release()
        peer.pipe.close()

    def _call(self, peer: Peer, verb: str, arguments: Sequence[Any]) -> None:
        try:
            if verb == "append":
                _note_trial(peer, arguments[1])
            result = (True, getattr(self._store, verb)(*arguments))
        except HptError as err:
            result = (False, err if _can_be_sent(err) else StoreError(str(err)))
        _send(peer, result)

    def _grant(self) -> None:
        if self._holder is None and self._waiting:
            peer, study = self._waiting.popleft()
            self._held.enter_context(self._store.lock(study))
            self._holder = peer
            _send(peer, (True, None))

    def _release(self) -> None:
        self._holder = None
        self._held.close()
        self._grant()


def _note_trial(peer: Peer, records: Sequence[Record]) -> None:
    for record in records:
        if record["event"] == "started":
            peer.trial_started()
        elif record["event"] in ("finished", "paused", "released"):
            peer.trial_since = None


def _send(peer: Peer, message: object) -> None:
    with contextlib.suppress(OSError):  # the worker is dead, which its executor will notice
        peer.pipe.send(message)


def run_served(worker: WorkerCall, name: str, pipe: Connection, gone: Callable[[], NoReturn]) -> None:
    """Run a worker's loop on the store at the other end of ``pipe``, and report how it ended.

    Args:
        worker: The call that the executor was given to run.
        name: The worker's name.
        pipe: The connection to the `StoreServer`.
        gone: Called if the server is gone, so that no result can be recorded any more. Must end the process or raise.
    """
    try:
        worker(name, _ServedStore(pipe, gone))
    except Exception as err:  # noqa: BLE001 - it is sent to the server
        _send_error(pipe, err)
    else:
        pipe.send(("ended",))


def _send_error(pipe: Connection, err: Exception) -> None:
    text = "".join(traceback.format_exception(err))
    err.add_note(f"In a worker process:\n{text}")
    with contextlib.suppress(OSError):  # the server is gone
        pipe.send(("raised", err if _can_be_sent(err) else None, text))


def _can_be_sent(err: Exception) -> bool:
    """Whether an error survives pickling. One whose class takes more arguments than its message fails to load."""
    try:
        pickle.loads(pickle.dumps(err))  # noqa: S301 - reads its own output
    except Exception:  # noqa: BLE001 - a third-party class may raise anything
        return False
    return True


class _ServedStore:
    """The served store, at the worker's end of the connection."""

    def __init__(self, pipe: Connection, gone: Callable[[], NoReturn]) -> None:
        self._pipe = pipe
        self._gone = gone
        self._process = os.getpid()
        self._mutex = threading.RLock()

    def append(self, study: str, records: Sequence[Record]) -> int:
        """See `Store.append`."""
        return int(self._call("append", study, list(records)))

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        """See `Store.read`."""
        records: Sequence[Record] = self._call("read", study, after)
        return records

    def studies(self) -> Sequence[str]:
        """See `Store.studies`."""
        names: Sequence[str] = self._call("studies")
        return names

    @contextlib.contextmanager
    def lock(self, study: str) -> Any:
        """See `Store.lock`; the server grants it to one worker at a time."""
        self._call("lock", study)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the next call notices
                self._pipe.send(("unlock",))

    def close(self) -> None:
        """Do nothing: the server closes its store itself."""

    def _call(self, verb: str, *arguments: object) -> Any:
        if os.getpid() != self._process:
            os._exit(1)  # a child that a trial forked has returned from the trial; only its parent may go on
        with self._mutex:
            try:
                self._pipe.send((verb, *arguments))
                ok, result = self._pipe.recv()
            except (EOFError, OSError):
                self._gone()
        if not ok:
            raise result
        return result
