"""A store served to workers: one process opens it, the others ask over connections.

So any store works with any number of workers, on any machine; one process writes, and it knows which trial each worker
has and since when. An executor that serves holds a `StoreServer` and a `Peer` for each worker, whose process calls
`run_served`. What travels are tuples: a verb and its arguments one way, ``(fine, result)`` the other.
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
from hpt_core.liveness import this_process

if TYPE_CHECKING:
    from hpt_core.components import Store, WorkerCall
    from hpt_core.events import Record

__all__ = ["Peer", "StoreServer", "run_served"]


@attrs.define(eq=False)
class Peer:
    """One worker as its server knows it.

    Attributes:
        name: The worker's name in the log.
        pipe: The connection to it.
        trial_since: When its trial was started, on the monotonic clock; None while it has none.
        ended: Whether it has said that its loop ended.
    """

    name: str
    pipe: Connection
    trial_since: float | None = None
    ended: bool = False

    def trial_started(self) -> None:
        """Its trial starts."""
        self.trial_since = time.monotonic()

    def late(self, limit: float | None) -> bool:
        """Whether its trial takes longer than ``limit`` seconds; None: no limit.

        Not while it waits for an answer: what it says may be that the trial has ended.
        """
        if limit is None or self.trial_since is None:
            return False
        return time.monotonic() - self.trial_since > limit and not self.pipe.poll()


class StoreServer:
    """Answers workers, one message at a time; the lock is given to one of them at a time.

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
        """A name for one more worker, from which the log tells that this process answers for it."""
        self._named += 1
        return f"{this_process()}/{self._named}"

    def answer(self, peer: Peer) -> bool:
        """Answer one message; False where the connection is at an end.

        Raises:
            Exception: What the worker raised, which is its last message.
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
        """A worker is gone: close its connection, and give the lock to the next if it held it."""
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
            result = (False, err if _can_travel(err) else StoreError(str(err)))
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
    with contextlib.suppress(OSError):  # it is dead, which its executor will hear
        peer.pipe.send(message)


def run_served(worker: WorkerCall, name: str, pipe: Connection, gone: Callable[[], NoReturn]) -> None:
    """Run a worker's loop on the store at the other end of ``pipe``, and say how it ended.

    Args:
        worker: What the executor was given to run.
        name: The worker's name.
        pipe: The connection to the `StoreServer`.
        gone: Called where the server is gone, and nobody would hear of anything that is done from here on: ends the
            process or raises.
    """
    try:
        worker(name, _ServedStore(pipe, gone))
    except Exception as err:  # noqa: BLE001 - it travels to the server
        _send_error(pipe, err)
    else:
        pipe.send(("ended",))


def _send_error(pipe: Connection, err: Exception) -> None:
    text = "".join(traceback.format_exception(err))
    err.add_note(f"In a worker process:\n{text}")
    with contextlib.suppress(OSError):  # nobody is there to hear it
        pipe.send(("raised", err if _can_travel(err) else None, text))


def _can_travel(err: Exception) -> bool:
    """Whether an error arrives: one whose class takes other arguments than its message can be sent and not received."""
    try:
        pickle.loads(pickle.dumps(err))  # noqa: S301 - its own words
    except Exception:  # noqa: BLE001 - a stranger's class may raise anything
        return False
    return True


class _ServedStore:
    """A worker's side of the connection."""

    def __init__(self, pipe: Connection, gone: Callable[[], NoReturn]) -> None:
        self._pipe = pipe
        self._gone = gone
        self._process = os.getpid()
        self._mutex = threading.RLock()

    def append(self, study: str, records: Sequence[Record]) -> int:
        """Write through the server."""
        return int(self._call("append", study, list(records)))

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        """Read through the server."""
        records: Sequence[Record] = self._call("read", study, after)
        return records

    def studies(self) -> Sequence[str]:
        """List through the server."""
        names: Sequence[str] = self._call("studies")
        return names

    @contextlib.contextmanager
    def lock(self, study: str) -> Any:
        """Hold the lock; the server gives it to one worker at a time."""
        self._call("lock", study)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the next call will find out
                self._pipe.send(("unlock",))

    def close(self) -> None:
        """The server closes its store itself."""

    def _call(self, verb: str, *arguments: object) -> Any:
        if os.getpid() != self._process:
            os._exit(1)  # a trial forked, and its child came back out of the trial: one of them is enough
        with self._mutex:
            try:
                self._pipe.send((verb, *arguments))
                fine, result = self._pipe.recv()
            except (EOFError, OSError):
                self._gone()
        if not fine:
            raise result
        return result
