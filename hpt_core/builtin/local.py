"""The local executor: supervised worker processes on this machine.

The supervisor serves its store to the workers over pipes. So any store works with any number of workers, only one
process writes, and the supervisor knows which trial each worker runs and since when.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core.builtin.children import (
    GRACE_SECONDS,
    ctrl_c_blocked,
    has_ended,
    open_streams,
    terminate,
    wait_or_kill,
)
from hpt_core.builtin.worker_process import loading_hint, start_worker
from hpt_core.builtin.worker_stderr import WorkerStderr
from hpt_core.errors import HptError, UsageError
from hpt_core.history.trial import Failure
from hpt_core.loop.serving import Peer, StoreServer

if TYPE_CHECKING:
    from hpt_core.components import WorkerCall

__all__ = ["LocalExecutor"]

_LOG = logging.getLogger("hpt")

_CONTEXT = multiprocessing.get_context("spawn")
_POLL_SECONDS = 1.0
"""How often to poll for ended processes: a process that a worker forked keeps its pipe and sentinel open."""


@attrs.define(kw_only=True)
class LocalExecutor:
    """Runs workers as processes on this machine and replaces those that die.

    Each process has the environment variable ``HPT_WORKER``, a number from 0 to the number of workers - 1 that no
    other running worker has, to choose one of several GPUs, for example.
    """

    def run(self, worker: WorkerCall, count: int, lost: Callable[[str, Failure], bool]) -> None:
        """Run ``count`` workers until all have ended; see `hpt_core.Executor`."""
        open_streams()
        with tempfile.TemporaryDirectory(prefix="hpt-") as folder:
            supervisor = _Supervisor(worker, lost, Path(folder))
            try:
                for _ in range(count):
                    supervisor.start()
                supervisor.serve()
            except KeyboardInterrupt:
                supervisor.end_all(Failure("interrupted", "interrupted by the user"))
                raise
            finally:
                supervisor.end_all(Failure("interrupted", "another worker failed"))


@attrs.define(eq=False, kw_only=True)
class _Child(Peer):
    """A worker process as seen by its supervisor."""

    process: BaseProcess
    slot: int
    stderr: WorkerStderr
    timed_out: bool = False

    def trial_started(self) -> None:
        """Note that a trial starts, and clear stderr so that it holds the output of this trial only."""
        super().trial_started()
        self.stderr.clear()


class _Supervisor:
    """Serves the store to the worker processes, one message at a time, and watches them."""

    def __init__(self, worker: WorkerCall, lost: Callable[[str, Failure], bool], folder: Path) -> None:
        self._worker, self._lost, self._folder = worker, lost, folder
        self._server = StoreServer(worker.store)
        self._children: list[_Child] = []
        self._any_ended = False
        self._not_replaced: list[Failure] = []  # of workers that died before their first trial

    def start(self) -> None:
        """Start one more worker."""
        name = self._server.next_name()
        stderr = WorkerStderr(self._folder / f"stderr-{name.rpartition('/')[2]}")
        slot = min(set(range(len(self._children) + 1)) - {child.slot for child in self._children})
        try:
            Path.cwd()  # before multiprocessing starts a process of its own, which may die there
            with ctrl_c_blocked():
                ours, theirs = _CONTEXT.Pipe()
                process = start_worker(self._worker, name, slot, theirs, stderr.path)
                theirs.close()
                self._children.append(_Child(name=name, pipe=ours, process=process, slot=slot, stderr=stderr))
        except FileNotFoundError as err:
            msg = "No worker can be started: the current directory does not exist any more. Change to another one."
            raise UsageError(msg) from err
        except OSError as err:
            remedy = "Use fewer workers, or raise the limits on open files and processes (ulimit -n, ulimit -u)."
            raise UsageError(f"A worker process cannot be started: {err.strerror}. {remedy}") from err

    def end_all(self, failure: Failure) -> None:
        """End the remaining workers and record ``failure`` for their trials."""
        for child in self._children:
            terminate(child.process)
        patience = time.monotonic() + GRACE_SECONDS
        for child in self._children:
            wait_or_kill(child.process, patience)
            child.process.join()
            child.stderr.show(rest=True)
            self._server.forget(child)
            self._lost(child.name, failure)
        self._children = []

    def serve(self) -> None:
        """Serve until all workers have ended.

        Raises:
            Exception: The exception of a worker.
        """
        while self._children:
            by_pipe: dict[Any, _Child] = {child.pipe: child for child in self._children}
            by_sentinel: dict[Any, _Child] = {child.process.sentinel: child for child in self._children}
            ready = wait([*by_pipe, *by_sentinel], self._timeout())
            for pipe in ready:
                if pipe in by_pipe:
                    self._server.answer(by_pipe[pipe])
            ended = {child for child in self._children if has_ended(child.process)}
            for child in ended | {by_sentinel[sentinel] for sentinel in ready if sentinel in by_sentinel}:
                self._remove(child)
            self._kill_late_children()
            self._warn_of_missing()
            for child in self._children:
                if child.has_worked:  # else its output may become part of an error
                    child.stderr.show()

    def _timeout(self) -> float:
        """Seconds until the supervisor has to act, at most."""
        limit = self._worker.trial_timeout
        since = [child.trial_since for child in self._children if child.trial_since is not None]
        if limit is None or not since:
            return _POLL_SECONDS
        return min(_POLL_SECONDS, max(0.0, min(since) + limit - time.monotonic()) + 0.001)

    def _kill_late_children(self) -> None:
        limit = self._worker.trial_timeout
        for child in self._children:
            if not child.timed_out and child.late(limit):
                child.timed_out = True
                terminate(child.process)
                wait_or_kill(child.process)

    def _remove(self, child: _Child) -> None:
        """Remove an ended process. If it died, record the failure of its trial and start another."""
        while not child.ended and child.pipe.poll():
            if not self._server.answer(child):
                break
        self._children.remove(child)
        self._server.forget(child)
        wait_or_kill(child.process)
        child.process.join()
        if child.ended or child.has_worked:
            child.stderr.show(rest=True)
        if child.ended:
            self._any_ended = True
            return
        failure = self._death(child)
        if self._lost(child.name, failure) or child.has_worked:
            self.start()
        elif self._children or self._any_ended:
            self._not_replaced.append(failure)
        else:
            output = failure.detail or f"Its output, if any, is above. {loading_hint()}"
            raise HptError(f"A worker ended before it started a trial: {failure.message}.\n{output}")

    def _warn_of_missing(self) -> None:
        """Warn of workers that were not replaced, once another one works: if none does, the run ends with an error."""
        if self._not_replaced and (self._any_ended or any(child.has_worked for child in self._children)):
            count, last = len(self._not_replaced), self._not_replaced[-1]
            head = f"Workers that ended before they started a trial, and so were not replaced: {count}. The last one:"
            _LOG.warning("%s", f"{head} {last.message}.\n{last.detail}".rstrip())
            self._not_replaced = []

    def _death(self, child: _Child) -> Failure:
        tail = child.stderr.tail()
        if child.timed_out:
            message = f"the trial took longer than {self._worker.trial_timeout:g} s"
            return Failure("timeout", message, tail)
        code = child.process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            hint = " (the system may have been out of memory)" if name == "SIGKILL" else ""
            return Failure("killed", f"its process was killed by {name}{hint}", tail)
        return Failure("killed", f"its process ended with exit code {code}", tail)
