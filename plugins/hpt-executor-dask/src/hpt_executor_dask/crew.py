"""The workers of one run: a Dask task for each, served with the study's store and watched."""

from __future__ import annotations

import logging
import queue
import secrets
import signal
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing import connection as connections
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs
import cloudpickle

from hpt_core import Failure, HptError, Mistake, Peer, StoreServer, UsageError
from hpt_executor_dask.hand import SETUP

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from distributed import Client, Future

    from hpt_core import WorkerCall

__all__ = ["Crew"]

_LOG = logging.getLogger("hpt")

_LOOK_SECONDS = 0.1
_DEATH_SECONDS = 1.0
"""How long to wait for what the Dask worker says of a process whose connection broke."""

_END_SECONDS = 3.0
_PATIENCE_SECONDS = 10.0
"""How long nobody may be at work before that is told."""


@attrs.define(eq=False, kw_only=True)
class _Hand(Peer):
    """One worker as the crew's head knows it.

    Attributes:
        address: The Dask worker that it runs on.
    """

    address: str


class Crew:
    """Serves the store to the workers one message at a time, and watches them.

    Args:
        client: A client of the cluster.
        host: This machine's address as workers reach it.
        worker: What to run.
        lost: What to call when a worker died; see `hpt_core.Executor`.

    Raises:
        UsageError: If the worker cannot be sent.
    """

    def __init__(self, client: Client, host: str, worker: WorkerCall, lost: Callable[[str, Failure], bool]) -> None:
        self._client, self._worker, self._lost = client, worker, lost
        self._parcel = _packed(worker)
        self._server = StoreServer(worker.store)
        key = secrets.token_bytes(32)
        self._listener = _listening(host, key)
        self._door = (self._listener.address, key, str(Path.cwd()), _own_folders())
        self._arrivals: queue.SimpleQueue[tuple[str, str, str, Connection]] = queue.SimpleQueue()
        self._tasks: dict[str, Future] = {}
        self._hands: dict[str, _Hand] = {}
        self._idle_since = time.monotonic()
        self._replacing, self._one_ended, self._closed = False, False, False

    def __enter__(self) -> Self:
        threading.Thread(target=self._admit, daemon=True, name="hpt-dask-door").start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End what still runs, trials in the middle too: after an error or Ctrl-C nobody waits for them."""
        self._closed = True
        with suppress(OSError):
            socket.create_connection(self._listener.address).close()  # the door is waiting for somebody
        self._listener.close()
        at_work = [self._tasks.pop(task) for task in self._hands]
        self._client.cancel(list(self._tasks.values()), force=True)
        for hand in self._hands.values():
            self._server.forget(hand)  # which ends it
        deadline = time.monotonic() + _END_SECONDS
        while not all(future.done() for future in at_work) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        by_user = kind is not None and issubclass(kind, KeyboardInterrupt)
        for hand in self._hands.values():
            self._lost(hand.name, Failure("interrupted", f"interrupted by {'the user' if by_user else 'an error'}"))

    def hire(self) -> None:
        """Start one more worker."""
        task = f"hpt-{secrets.token_hex(8)}"
        self._tasks[task] = self._client.submit(_start(), task, *self._door, key=task, pure=False, retries=0)

    def serve(self) -> None:
        """Serve until every worker has ended.

        Raises:
            Exception: Whatever a worker raised.
        """
        while self._tasks:
            self._greet()
            by_pipe: dict[Any, tuple[str, _Hand]] = {hand.pipe: (task, hand) for task, hand in self._hands.items()}
            for pipe in connections.wait(list(by_pipe), _LOOK_SECONDS):
                task, hand = by_pipe[pipe]
                if not self._server.answer(hand):
                    self._mourn(task, hand)
                elif hand.ended:
                    self._dismiss(task, hand)
            self._end_late_ones()
            self._look_after_tasks()
            self._mind_the_time()

    # --- coming and going -------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Let workers in, in a thread, until the door is closed."""
        while not self._closed:
            try:
                pipe = self._listener.accept()
                task, address, setup = pipe.recv()
            except (AuthenticationError, OSError, EOFError):
                continue  # a stranger, or one that died at the door
            self._arrivals.put((task, address, setup, pipe))

    def _greet(self) -> None:
        """Give those who arrived a name and the study. Dask may have started a task again whose worker died."""
        while not self._arrivals.empty():
            task, address, setup, pipe = self._arrivals.get()
            if setup != SETUP:
                raise HptError(f"The Dask worker {address} has {setup}, not {SETUP} as here: both sides need the same.")
            before = self._hands.get(task)
            if before is not None:
                self._mourn(task, before)
            if task not in self._tasks:
                pipe.close()
                continue
            hand = _Hand(self._server.next_name(), pipe, address=address)
            self._hands[task] = hand
            with suppress(OSError):  # it is dead, which the next look will tell
                pipe.send(hand.name)
                pipe.send_bytes(self._parcel)

    def _dismiss(self, task: str, hand: _Hand) -> None:
        self._one_ended = True
        self._server.forget(hand)
        del self._hands[task], self._tasks[task]

    def _mourn(self, task: str, hand: _Hand, failure: Failure | None = None) -> None:
        """A worker is gone, and its task with it; another takes its place."""
        self._server.forget(hand)
        del self._hands[task]
        future = self._tasks.pop(task)
        gone = failure or _death(future, hand)
        self._client.cancel([future], force=True)  # or Dask runs it again
        self._replace(self._lost(hand.name, gone), gone.message)

    def _replace(self, wanted: bool, message: str) -> None:
        if wanted:
            self._replacing = True
            self.hire()
        elif not self._tasks:
            raise HptError(f"A worker died before it had a trial: {message}.")

    def _look_after_tasks(self) -> None:
        """See to tasks that ended before their worker arrived."""
        for task, future in list(self._tasks.items()):
            if not future.done() or task in self._hands or not self._arrivals.empty():
                continue
            del self._tasks[task]
            if future.status == "finished":
                where = "the log of its Dask worker may say why"
                self._replace(False, f"its process ended with exit code {future.result()}; {where}")
            elif future.status == "error" and type(future.exception()).__name__ != "KilledWorker":
                raise _told(future.exception())
            else:
                self.hire()

    def _mind_the_time(self) -> None:
        """Tell that nobody is at work, or end where nobody is needed any more and Dask has nobody to send."""
        now = time.monotonic()
        if self._hands or not self._tasks:
            self._idle_since = now
        elif now - self._idle_since > _PATIENCE_SECONDS:
            self._idle_since = float("inf")  # once
            if self._one_ended and not self._replacing:
                self._client.cancel(list(self._tasks.values()), force=True)
                self._tasks.clear()
            else:
                _LOG.warning("%s", _nobody_comes(self._client))

    def _end_late_ones(self) -> None:
        limit = self._worker.trial_timeout
        for task, hand in list(self._hands.items()):
            if hand.late(limit):
                self._mourn(task, hand, Failure("timeout", f"the trial took longer than {limit:g} s"))


def _start() -> Callable[..., int]:
    """What Dask runs. Being local it travels by value: a Dask worker that cannot import what it is sent ends."""

    def start(*arguments: Any) -> int:
        from hpt_executor_dask.hand import work

        return work(*arguments)

    return start


def _listening(host: str, key: bytes) -> connections.Listener:
    try:
        return connections.Listener((host, 0), backlog=64, authkey=key)
    except OSError as err:
        message = f"Must be a name or address of this machine. Got {host!r}: {err.strerror or err}"
        raise UsageError(Mistake("executor.host", message)) from err


def _packed(worker: WorkerCall) -> bytes:
    try:
        return bytes(cloudpickle.dumps(worker))
    except Exception as err:
        msg = f"This study cannot travel to Dask workers: {type(err).__name__}: {err}."
        raise UsageError(msg) from err


def _own_folders() -> tuple[str, ...]:
    """Where this process finds modules, what is installed left out: each side has its own."""
    library = sysconfig.get_path("stdlib")
    installed = ("site-packages", "dist-packages")
    folders = [str(Path(entry).resolve()) for entry in sys.path]
    return tuple(f for f in folders if not f.startswith(library) and not f.endswith(installed))


def _death(future: Future, hand: _Hand) -> Failure:
    """What became of a worker, as far as its Dask worker knows; the cause may well be outside the trial."""
    try:
        code = int(future.result(timeout=_DEATH_SECONDS))
    except Exception:  # noqa: BLE001 - of whatever kind: that is as much as nothing
        return Failure("worker-lost", f"its Dask worker {hand.address} was lost")
    how = f"ended by itself with exit code {code}"
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        how = f"was killed by {name}{' (the system may have been out of memory)' if name == 'SIGKILL' else ''}"
    return Failure("worker-lost", f"its process {how}; the log of the Dask worker {hand.address} may say more")


def _told(err: BaseException | None) -> HptError:
    if isinstance(err, HptError):
        return err
    hint = "hpt-core and hpt-executor-dask must be installed where Dask workers run."
    return HptError(f"A Dask worker cannot run the study: {type(err).__name__}: {err}. {hint}")


def _nobody_comes(client: Client) -> str:
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    state = "all its workers are busy" if workers else "it has no workers"
    return f"No Dask worker takes up the study: the cluster at {client.scheduler.addr} is there, but {state}. Waiting."
