"""The workers of one run: a Dask task for each, served with the study's store and watched."""

from __future__ import annotations

import os
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing import connection as connections
from typing import TYPE_CHECKING, Any, NoReturn, Self

import attrs
from distributed import Future, get_worker

from hpt_core import Failure, HptError, Peer, StoreError, StoreServer, run_served

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from distributed import Client

    from hpt_core import WorkerCall

__all__ = ["Crew"]

_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 0.3


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
    """

    def __init__(self, client: Client, host: str, worker: WorkerCall, lost: Callable[[str, Failure], bool]) -> None:
        self._client, self._worker, self._lost = client, worker, lost
        self._server = StoreServer(worker.store)
        self._key = secrets.token_bytes(32)
        self._listener = connections.Listener((host, 0), backlog=64, authkey=self._key)
        self._arrivals: queue.SimpleQueue[tuple[str, str, Connection]] = queue.SimpleQueue()
        self._tasks: dict[str, Future] = {}
        self._hands: dict[str, _Hand] = {}
        self._closed = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._admit, daemon=True, name="hpt-dask-door").start()
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs, trials in the middle too: after an error or Ctrl-C nobody waits for them."""
        self._closed = True
        self._listener.close()
        self._client.cancel(list(self._tasks.values()), force=True)
        for hand in self._hands.values():
            self._server.forget(hand)
        if self._hands:
            time.sleep(3 * _GRACE_SECONDS)  # they end themselves meanwhile

    def hire(self) -> None:
        """Start one more worker."""
        task = f"hpt-{secrets.token_hex(8)}"
        door = (self._listener.address, self._key)
        self._tasks[task] = self._client.submit(_work, self._worker, task, *door, key=task, pure=False, retries=0)

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

    # --- coming and going -------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Let workers in, in a thread, until the door is closed."""
        while not self._closed:
            try:
                pipe = self._listener.accept()
                task, address = pipe.recv()
            except (AuthenticationError, OSError, EOFError):
                continue  # a stranger, or one that died at the door
            self._arrivals.put((task, address, pipe))

    def _greet(self) -> None:
        """Give those who arrived a name. Dask may have started a task again whose worker died."""
        while not self._arrivals.empty():
            task, address, pipe = self._arrivals.get()
            before = self._hands.get(task)
            if before is not None:
                self._mourn(task, before)
            if task not in self._tasks:
                pipe.close()
                continue
            hand = _Hand(self._server.next_name(), pipe, address=address)
            self._hands[task] = hand
            pipe.send(hand.name)

    def _dismiss(self, task: str, hand: _Hand) -> None:
        self._server.forget(hand)
        del self._hands[task], self._tasks[task]

    def _mourn(self, task: str, hand: _Hand, failure: Failure | None = None) -> None:
        """A worker is gone. Its task may go on elsewhere, or another is hired when Dask gives it up."""
        self._server.forget(hand)
        del self._hands[task]
        gone = failure or Failure("worker-lost", f"the connection to its Dask worker {hand.address} broke")
        if self._lost(hand.name, gone):
            return
        self._client.cancel([self._tasks.pop(task)], force=True)
        if not self._tasks:
            raise HptError(f"A worker died before it had a trial: {gone.message}.")

    def _look_after_tasks(self) -> None:
        """Hire in place of tasks that Dask has given up."""
        for task, future in list(self._tasks.items()):
            if not future.done() or task in self._hands or not self._arrivals.empty():
                continue
            del self._tasks[task]
            if future.status == "error" and not self._was_killed(future):
                msg = f"A Dask worker cannot run the study: {type(future.exception()).__name__}: {future.exception()}"
                raise HptError(msg) from future.exception()
            self.hire()

    def _was_killed(self, future: Future) -> bool:
        return type(future.exception()).__name__ == "KilledWorker"

    def _end_late_ones(self) -> None:
        limit = self._worker.trial_timeout
        for task, hand in list(self._hands.items()):
            if hand.late(limit):
                self._mourn(task, hand, Failure("timeout", f"the trial took longer than {limit:g} s"))


def _work(worker: WorkerCall, task: str, address: tuple[str, int], key: bytes) -> None:
    """What a task does: the loop on the served store."""
    ended = threading.Event()
    with connections.Client(address, authkey=key) as pipe:
        pipe.send((task, get_worker().address))
        name = pipe.recv()
        threading.Thread(target=_end_with, args=(os.dup(pipe.fileno()), ended), daemon=True).start()
        run_served(worker, name, pipe, _gone)
        ended.set()


def _gone() -> NoReturn:
    raise StoreError("The process that runs the study is gone.")


def _end_with(connection: int, ended: threading.Event) -> None:
    """End this process, in the middle of a trial too, when the connection is; its nanny starts another."""
    with socket.socket(fileno=connection) as line, suppress(OSError):  # reset: the other end died with an answer unread
        while line.recv(1, socket.MSG_PEEK):  # an answer that the worker has not read yet
            time.sleep(_GRACE_SECONDS)
    if not ended.wait(_GRACE_SECONDS):
        os._exit(1)
