"""The workers of one run, as the study's process sees them: it submits them as Dask tasks, serves and watches them."""

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
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing import connection as connections
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError

from hpt_core import Failure, HptError, Mistake, Peer, StoreServer, UsageError, pickle_by_value
from hpt_executor_dask.task import VERSIONS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from distributed import Client, Future

    from hpt_core import WorkerCall

__all__ = ["WorkerPool"]

_LOG = logging.getLogger("hpt")

_POLL_SECONDS = 0.1
_EXIT_CODE_SECONDS = 1.0
"""How long to wait for the exit code of a worker whose connection broke."""

_END_SECONDS = 3.0
"""How long to wait at the end until processes that were told to end have ended."""

_IDLE_SECONDS = 10.0
"""After how long without any connected worker to warn, or to end a run that needs none."""


@attrs.define(eq=False, kw_only=True)
class _Worker(Peer):
    """A connected worker.

    Attributes:
        dask_worker: The address of the Dask worker that runs it.
    """

    dask_worker: str


class WorkerPool:
    """Serves the store to the workers, one message at a time, and replaces workers that die.

    Args:
        client: A client of the cluster.
        host: The address of this machine as workers reach it.
        worker: What to run.
        lost: What to call when a worker died; see `hpt_core.Executor`.

    Raises:
        UsageError: If the worker cannot be pickled, or ``host`` is not an address of this machine.
    """

    def __init__(self, client: Client, host: str, worker: WorkerCall, lost: Callable[[str, Failure], bool]) -> None:
        self._client, self._worker, self._lost = client, worker, lost
        self._scheduler = str(client.scheduler.addr)
        self._pickled = _pickled(worker)
        self._server = StoreServer(worker.store)
        self._key = secrets.token_bytes(32)
        self._listener = _listener(host)
        self._arrivals: queue.SimpleQueue[tuple[str, str, str, Connection]] = queue.SimpleQueue()
        self._tasks: dict[str, Future] = {}  # by key: of workers that are to come, and of those in _workers
        self._workers: dict[str, _Worker] = {}  # by the key of its task
        self._left: dict[str, _Worker] = {}  # died without a trial; by the key of the task, which was left to Dask
        self._ending: list[Future] = []  # of workers that have ended, whose processes may still be about to
        self._idle_since = time.monotonic()
        self._any_ended, self._any_replaced = False, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the workers' processes. End those that still run (after an error or Ctrl-C), in a trial too."""
        self._listener.close()
        running = [*self._ending, *(self._tasks.pop(task) for task in self._workers)]
        self._cancel(self._tasks.values())
        while not self._arrivals.empty():
            self._arrivals.get()[-1].close()
        for worker in self._workers.values():
            self._server.forget(worker)  # it ends when its connection is closed
        wait_until = time.monotonic() + _END_SECONDS
        while not all(future.done() for future in running) and time.monotonic() < wait_until:
            time.sleep(_POLL_SECONDS)
        by_user = kind is not None and issubclass(kind, KeyboardInterrupt)
        for worker in self._workers.values():
            self._lost(worker.name, Failure("interrupted", f"interrupted by {'the user' if by_user else 'an error'}"))

    def start_worker(self) -> None:
        """Submit one more worker.

        Raises:
            HptError: If the scheduler is lost, and no worker is connected that could finish the study without it. Or if
                the current directory was removed.
        """
        task = f"hpt-{secrets.token_hex(8)}"
        arguments = (task, self._listener.getsockname()[:2], self._key, _working_folder(), _import_folders())
        try:
            self._tasks[task] = self._client.submit(_task_function(), *arguments, key=task, pure=False, retries=0)
        except ClosedClientError:  # caught, not checked before: a thread of the client may close it at any time
            self._raise_if_cluster_lost()

    def serve(self) -> None:
        """Serve until every worker has ended.

        Raises:
            Exception: Whatever a worker raised.
        """
        while self._tasks:
            by_pipe: dict[Any, tuple[str, _Worker]] = {w.pipe: (task, w) for task, w in self._workers.items()}
            for ready in connections.wait([self._listener, *by_pipe], _POLL_SECONDS):
                if ready is self._listener:
                    self._accept()
                    continue
                task, worker = by_pipe[ready]
                if not self._server.answer(worker):
                    self._worker_died(task)
                elif worker.ended:
                    self._worker_ended(task)
            self._admit_arrivals()
            self._end_late_trials()
            self._check_tasks()
            self._check_idle()

    def _raise_if_cluster_lost(self) -> None:
        """Raise an `HptError` if the client gave up reconnecting and no worker is connected."""
        if self._client.status == "closed" and not self._workers:
            raise HptError(f"The connection to the Dask scheduler at {self._scheduler} is lost.")

    def _cancel(self, futures: Iterable[Future]) -> None:
        with suppress(ClosedClientError):
            self._client.cancel(list(futures), force=True)

    # --- arrival of workers -----------------------------------------------------------------------------

    def _accept(self) -> None:
        """Accept a connection; a thread of its own authenticates it, so that a stranger who is silent blocks nobody."""
        accepted, _ = self._listener.accept()
        accepted.setblocking(True)  # else it has the timeout that the program may have set as default
        pipe = connections.Connection(accepted.detach())
        threading.Thread(target=self._authenticate, args=(pipe,), daemon=True, name="hpt-dask-arrival").start()

    def _authenticate(self, pipe: Connection) -> None:
        try:
            connections.deliver_challenge(pipe, self._key)
            connections.answer_challenge(pipe, self._key)
            task, dask_worker, versions = pipe.recv()
        except (AuthenticationError, OSError, EOFError):
            pipe.close()  # a stranger, or a worker that died
        else:
            self._arrivals.put((task, dask_worker, versions, pipe))

    def _admit_arrivals(self) -> None:
        """Send those that arrived their name and the study."""
        while not self._arrivals.empty():
            task, dask_worker, versions, pipe = self._arrivals.get()
            if versions != VERSIONS:
                msg = f"The Dask worker {dask_worker} has {versions}, this process has {VERSIONS}. Both need the same."
                raise HptError(msg)
            if task in self._workers:  # Dask lost the worker that ran this task, and has started the task again
                self._worker_died(task)
            if task not in self._tasks:
                pipe.close()  # no longer needed
                continue
            worker = self._workers[task] = _Worker(name=self._server.next_name(), pipe=pipe, dask_worker=dask_worker)
            with suppress(OSError):  # it has died, as the next look at its pipe shows
                pipe.send(worker.name)
                pipe.send_bytes(self._pickled)

    # --- end of workers ---------------------------------------------------------------------------------

    def _worker_ended(self, task: str) -> None:
        self._any_ended = True
        self._server.forget(self._workers.pop(task))
        self._ending.append(self._tasks.pop(task))  # not dropped: Dask cancels a task that nobody waits for

    def _worker_died(self, task: str, failure: Failure | None = None) -> None:
        """Record the loss of a worker. Another one takes its place unless its process died before its first trial."""
        worker, future = self._workers.pop(task), self._tasks[task]
        self._server.forget(worker)
        failure = failure or _death(future, worker)
        had_trial = self._lost(worker.name, failure) or worker.has_worked
        if not (had_trial or future.done()):
            self._left[task] = worker  # Dask runs the task again if the Dask worker was lost, else ends it soon
            return
        del self._tasks[task]
        self._cancel([future])  # or Dask would run it again
        if had_trial:
            self._any_replaced = True
            self.start_worker()
        else:
            self._go_on_without(failure)

    def _go_on_without(self, failure: Failure) -> None:
        if not self._tasks and not self._any_ended:
            raise HptError(f"A worker ended before it started a trial: {failure.message}.")

    def _end_late_trials(self) -> None:
        limit = self._worker.trial_timeout
        for task, worker in list(self._workers.items()):
            if worker.late(limit):
                self._worker_died(task, Failure("timeout", f"the trial took longer than {limit:g} s"))

    def _check_tasks(self) -> None:
        """Replace tasks that ended before their worker was connected.

        Raises:
            HptError: If a Dask worker cannot run the task, or the last worker died before it started a trial.
        """
        for task, future in list(self._tasks.items()):
            if future.done() and task not in self._workers and self._arrivals.empty():
                del self._tasks[task]
                err = future.exception() if future.status == "error" else None
                if err is not None:  # a lost scheduler cancels the future at any time, and with it the error
                    _raise_unless_given_up(err)
                if task in self._left and future.status in ("finished", "error"):
                    self._go_on_without(_death(future, self._left[task]))
                else:
                    self.start_worker()

    def _check_idle(self) -> None:
        """Warn if no worker is connected for long, or end the run if none is needed any more.

        Raises:
            HptError: If the scheduler is lost.
        """
        now = time.monotonic()
        if self._workers or not self._tasks:
            self._idle_since = now
            return
        self._raise_if_cluster_lost()  # a task that was submitted while the client reconnected would never end
        if now - self._idle_since > _IDLE_SECONDS:
            self._idle_since = float("inf")  # do this once
            if self._any_ended and not self._any_replaced:  # workers end when there is no trial left to start
                self._cancel(self._tasks.values())
                self._tasks.clear()
            else:
                _LOG.warning("%s", _idle_warning(self._client, self._scheduler))


def _task_function() -> Callable[..., int]:
    """What Dask runs: pickled by value, being local. A Dask worker that cannot import a task's function exits."""

    def run_worker(*arguments: Any) -> int:
        from hpt_executor_dask import task

        return task.run_worker(*arguments)

    return run_worker


def _listener(host: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, 0), family=family, backlog=64)
    except OSError as err:
        message = f"Must be a name or address of this machine. Got {host!r}: {err.strerror or err}"
        raise UsageError(Mistake("executor.host", message)) from err


def _pickled(worker: WorkerCall) -> bytes:
    try:
        return pickle_by_value(worker)
    except Exception as err:
        msg = f"This study cannot be sent to Dask workers: {type(err).__name__}: {err}."
        raise UsageError(msg) from err


def _working_folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError as err:
        msg = "No worker can be started: the current directory does not exist any more. Change to another one."
        raise UsageError(msg) from err


def _import_folders() -> tuple[str, ...]:
    """The folders from which this process imports modules, without those of installed packages."""
    library = sysconfig.get_path("stdlib")
    installed = ("site-packages", "dist-packages")
    folders = [str(Path(entry).resolve()) for entry in sys.path]
    return tuple(f for f in folders if not f.startswith(library) and not f.endswith(installed))


def _death(future: Future, worker: _Worker) -> Failure:
    """The failure of a trial whose worker died, as far as its Dask worker knows why."""
    where = f"the Dask worker {worker.dask_worker}"
    try:  # without a look at the future's status before, as Dask's threads may change that at any time
        code = future.result(timeout=_EXIT_CODE_SECONDS)
    except (CancelledError, CommClosedError, TimeoutError):
        return Failure("worker-lost", f"{where} was lost")
    except Exception as err:  # noqa: BLE001 - whatever the task raised
        problem = "was lost" if _given_up(err) else f"could not run its process: {type(err).__name__}: {err}"
        return Failure("worker-lost", f"{where} {problem}")
    return Failure("worker-lost", f"{_ending(code)}; the log of {where} may say more")


def _ending(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"its process was killed by {name}{' (the system may have been out of memory)' if name == 'SIGKILL' else ''}"


def _raise_unless_given_up(err: BaseException) -> None:
    if _given_up(err):
        return
    if isinstance(err, HptError):
        raise err
    hint = "hpt-core and hpt-executor-dask must be installed where Dask workers run."
    raise HptError(f"A Dask worker cannot run the study: {type(err).__name__}: {err}. {hint}")


def _given_up(err: BaseException) -> bool:
    """Whether Dask gave up a task because several Dask workers died while they held it, of whatever cause."""
    return type(err).__name__ == "KilledWorker"


def _idle_warning(client: Client, scheduler: str) -> str:
    if client.status != "running":
        state = "is not reachable"
    elif client.scheduler_info(n_workers=-1).get("workers"):  # it has no content once the client is closed
        state = "runs, but all its workers are busy"
    else:
        state = "runs, but it has no workers"
    return f"No Dask worker has taken up the study: the cluster at {scheduler} {state}. Waiting."
