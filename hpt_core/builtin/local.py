"""The local executor: supervised processes on this machine.

The supervisor serves its store to the workers over pipes. So it knows which trial each worker has and since when, any
store works with any number of workers, and one process writes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from pickle import PicklingError
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from hpt_core.builtin.children import GRACE_SECONDS, deaf_to_ctrl_c, has_ended, terminate, wait_or_kill
from hpt_core.errors import HptError, UsageError
from hpt_core.serving import Peer, StoreServer, run_served
from hpt_core.trial import Failure

if TYPE_CHECKING:
    from hpt_core.components import WorkerCall

__all__ = ["LocalExecutor"]

_CONTEXT = multiprocessing.get_context("spawn")
_STDERR_TAIL = 8_000
_LOOK_SECONDS = 1.0
"""How often to look for processes that ended: what one forked has its pipe and sentinel, which then tell nothing."""

_HAS_CLOUDPICKLE = importlib.util.find_spec("cloudpickle") is not None
_FROM_A_SCRIPT = "A script that runs workers must do so under `if __name__ == '__main__':`."
_TYPED_IN = (
    "Give functions and classes that can be imported from a module, not lambdas or ones defined in a function, in a "
    "notebook or on standard input: these need cloudpickle (pip install cloudpickle). Or use workers=1."
)


@attrs.define(kw_only=True)
class LocalExecutor:
    """Runs workers as processes on this machine and replaces those that die."""

    def run(self, worker: WorkerCall, count: int, lost: Callable[[str, Failure], bool]) -> None:
        """Run ``count`` workers until all have ended; see `hpt_core.Executor`."""
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
    """One worker process as its supervisor knows it."""

    process: BaseProcess
    stderr: Path
    has_worked: bool = False
    timed_out: bool = False

    def trial_started(self) -> None:
        """What it says from now on belongs to this trial; what it said before may be much."""
        super().trial_started()
        self.has_worked = True
        with contextlib.suppress(OSError):  # it made none yet
            os.truncate(self.stderr, 0)


class _Supervisor:
    """Serves the store to the children one message at a time, and watches them."""

    def __init__(self, worker: WorkerCall, lost: Callable[[str, Failure], bool], folder: Path) -> None:
        self._worker, self._lost, self._folder = worker, lost, folder
        self._server = StoreServer(worker.store)
        self._children: list[_Child] = []

    def start(self) -> None:
        """Start one more worker."""
        name = self._server.next_name()
        stderr = self._folder / f"stderr-{name.rpartition('/')[2]}"
        try:
            with deaf_to_ctrl_c():
                ours, theirs = _CONTEXT.Pipe()
                process = self._process(name, theirs, str(stderr))
                theirs.close()
                self._children.append(_Child(name, ours, process=process, stderr=stderr))
        except OSError as err:
            more = "Give fewer workers, or let this user have more files and processes (ulimit -n, ulimit -u)."
            raise UsageError(f"A worker process cannot be started: {err.strerror}. {more}") from err

    def _process(self, *args: Any) -> BaseProcess:
        """Start a process: by import, or by value where something in the study cannot be imported there."""
        forms: list[Any] = [self._worker, _ByValue(self._worker)] if _HAS_CLOUDPICKLE else [self._worker]
        for form in forms[-1:] if _main_is_typed_in() else forms:
            process = _CONTEXT.Process(target=_child_main, args=(form, *args), name=args[0])
            try:
                with _without_what_was_typed_in():
                    process.start()
            except (AttributeError, TypeError, ValueError, ImportError, PicklingError) as err:
                problem: Exception = err
            else:
                return process
        raise UsageError(_cannot_travel(problem)) from problem

    def end_all(self, failure: Failure) -> None:
        """End what still runs; its trials are recorded with ``failure``."""
        for child in self._children:
            terminate(child.process)
        patience = time.monotonic() + GRACE_SECONDS
        for child in self._children:
            wait_or_kill(child.process, patience)
            child.process.join()
            self._server.forget(child)
            self._lost(child.name, failure)
        self._children = []

    def serve(self) -> None:
        """Serve until every worker has ended.

        Raises:
            Exception: Whatever a worker raised.
        """
        while self._children:
            by_handle: dict[Any, _Child] = {child.pipe: child for child in self._children}
            by_handle |= {child.process.sentinel: child for child in self._children}
            ready = wait(list(by_handle), self._patience())
            for handle in ready:
                if isinstance(handle, Connection):
                    self._server.answer(by_handle[handle])
            silent = {child for child in self._children if has_ended(child.process)}
            for child in silent | {by_handle[handle] for handle in ready if not isinstance(handle, Connection)}:
                self._bury(child)
            self._kill_late_ones()

    def _patience(self) -> float:
        limit = self._worker.trial_timeout
        since = [child.trial_since for child in self._children if child.trial_since is not None]
        if limit is None or not since:
            return _LOOK_SECONDS
        return min(_LOOK_SECONDS, max(0.0, min(since) + limit - time.monotonic()) + 0.001)

    def _kill_late_ones(self) -> None:
        limit = self._worker.trial_timeout
        for child in self._children:
            if not child.timed_out and child.late(limit):
                child.timed_out = True
                terminate(child.process)
                wait_or_kill(child.process)

    def _bury(self, child: _Child) -> None:
        """A process ended: as it should, or with the trial that it had."""
        while not child.ended and child.pipe.poll():
            if not self._server.answer(child):
                break
        self._children.remove(child)
        self._server.forget(child)
        wait_or_kill(child.process)
        child.process.join()
        if child.ended:
            return
        failure = self._death(child)
        if self._lost(child.name, failure) or child.has_worked:
            self.start()
        elif not self._children:
            hint = f"What it said is above. {_TYPED_IN if _main_is_typed_in() else _FROM_A_SCRIPT}"
            msg = f"A worker died before it had a trial: {failure.message}.\n{failure.detail or hint}"
            raise HptError(msg)

    def _death(self, child: _Child) -> Failure:
        tail = _tail(child.stderr)
        if child.timed_out:
            message = f"the trial took longer than {self._worker.trial_timeout:g} s"
            return Failure("timeout", message, tail)
        code = child.process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            hint = " (the system may have been out of memory)" if name == "SIGKILL" else ""
            return Failure("killed", f"its process was killed by {name}{hint}", tail)
        return Failure("killed", f"its process ended by itself with exit code {code}", tail)


class _ByValue:
    """A call that brings along lambdas, and what was typed into a notebook, for no other process can import them."""

    def __init__(self, call: WorkerCall) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        import cloudpickle

        return cloudpickle.loads, (cloudpickle.dumps(self._call),)


def _main_is_typed_in() -> bool:
    """Whether no new process can run the main program again to find functions: a notebook, prompt or standard input."""
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is None and not Path(getattr(main, "__file__", None) or "").is_file()


@contextlib.contextmanager
def _without_what_was_typed_in() -> Iterator[None]:
    """Let no new process look for a file of the name ``<stdin>``, which multiprocessing takes for the main program."""
    main = vars(sys.modules["__main__"])
    file = main.pop("__file__", None) if _main_is_typed_in() else None
    try:
        yield
    finally:
        if file is not None:
            main["__file__"] = file


def _child_main(worker: WorkerCall, name: str, pipe: Connection, stderr: str) -> None:
    """A worker process: the loop on the served store."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor has it too, and ends this process
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # what a trial starts may want it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # what a trial starts ends with this process
    handle = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 2)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    run_served(worker, name, pipe, _end)
    with contextlib.suppress(Exception):  # a trial may have closed it
        sys.stdout.flush()
    os._exit(0)  # no trial's thread may hold it up


def _end() -> NoReturn:
    """End this process with all that its trials started, for nobody else does."""
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        _end()


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _STDERR_TAIL))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def _cannot_travel(err: Exception) -> str:
    return (
        f"Several workers (or a trial timeout) run trials in new processes, and this study cannot travel there: {err}. "
        + _TYPED_IN
    )
