"""The process of a worker: how it is started so that it can load the worker, and what runs in it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hpt_core.errors import UsageError
from hpt_core.loop.serving import run_served
from hpt_core.pickling import pickle_by_value

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from hpt_core.components import WorkerCall

__all__ = ["loading_hint", "start_worker"]

_CONTEXT = multiprocessing.get_context("spawn")
_START_METHODS = ("fork", "spawn", "forkserver")  # get_all_start_methods() may have those that a library added
_HAS_CLOUDPICKLE = importlib.util.find_spec("cloudpickle") is not None
_SCRIPT_HINT = "A script that runs workers must do so under `if __name__ == '__main__':`."
_IMPORT_HINT = (
    "Use functions and classes that can be imported from a module. Lambdas, and those defined in a function, in a "
    "notebook or on standard input, need cloudpickle (pip install cloudpickle). Or use workers=1."
)
_DAEMONIC = (
    "Several workers (or a trial timeout) run trials in new processes, and this process may not start any: it is a "
    "daemonic one, such as those of multiprocessing.Pool. Use a concurrent.futures.ProcessPoolExecutor instead, or "
    "workers=1 without a trial timeout."
)


def start_worker(worker: WorkerCall, name: str, slot: int, pipe: Connection, stderr: Path) -> BaseProcess:
    """Start a process that runs a worker. Pickles it by reference, or by value if the process cannot import part of it.

    Args:
        worker: The worker.
        name: Its name.
        slot: The value of its environment variable ``HPT_WORKER``.
        pipe: Its end of the connection to the `StoreServer`.
        stderr: The file for its stderr.

    Raises:
        UsageError: If it cannot be pickled, or if this process may not start others.
        OSError: If the process cannot be started.
    """
    if multiprocessing.current_process().daemon:
        raise UsageError(_DAEMONIC)
    forms: list[Any] = [worker, _ByValue(worker)] if _HAS_CLOUDPICKLE else [worker]
    for form in forms[-1:] if _main_is_interactive() else forms:
        process = _CONTEXT.Process(target=_main, args=(form, name, pipe, stderr, _start_method()), name=name)
        try:
            with _environment("HPT_WORKER", str(slot)), _without_interactive_main(), _known_start_method():
                process.start()
        except (AttributeError, TypeError, ValueError, ImportError, pickle.PicklingError) as err:
            problem: Exception = err
        else:
            return process
    head = "Several workers (or a trial timeout) run trials in new processes, and this study cannot be sent there"
    raise UsageError(f"{head}: {problem}. {_IMPORT_HINT}") from problem


def loading_hint() -> str:
    """What to change if a process ended before it had loaded its worker."""
    return _IMPORT_HINT if _main_is_interactive() else _SCRIPT_HINT


class _ByValue:
    """Pickles a call by value, including lambdas and notebook definitions, which no other process can import."""

    def __init__(self, call: WorkerCall) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return pickle.loads, (pickle_by_value(self._call),)


def _main_is_interactive() -> bool:
    """Whether new processes cannot import the main program: it is a notebook, a prompt or standard input."""
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is None and not Path(getattr(main, "__file__", None) or "").is_file()


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Start processes with an environment variable, which they have before they import anything."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _without_interactive_main() -> Iterator[None]:
    """Keep new processes from looking for a main program ``<stdin>``, which multiprocessing takes for a file."""
    main = vars(sys.modules["__main__"])
    file = main.pop("__file__", None) if _main_is_interactive() else None
    try:
        yield
    finally:
        if file is not None:
            main["__file__"] = file


def _start_method() -> str | None:
    """How this process starts others, so that trials in a worker do the same. None: by Python's default."""
    method = multiprocessing.get_start_method(allow_none=True)
    return method if method in _START_METHODS else None


@contextlib.contextmanager
def _known_start_method() -> Iterator[None]:
    """Start processes with a start method that they know. They take over that of this one, which may be joblib's."""
    method = multiprocessing.get_start_method(allow_none=True)
    if method is None or method in _START_METHODS:
        yield
        return
    multiprocessing.set_start_method("spawn", force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(method, force=True)


def _main(worker: WorkerCall, name: str, pipe: Connection, stderr: Path, start_method: str | None) -> None:
    """Run a worker's loop on the served store, as the main function of its process."""
    multiprocessing.set_start_method(start_method, force=True)  # else its trials would spawn, as this one was spawned
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor receives it too and ends this process
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # processes that a trial starts may need it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=pipe.close)  # else what a trial forked would keep a dead worker's pipe open
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # so that processes that a trial starts are killed with this one
    end = partial(_end, stderr)
    with contextlib.suppress(FileExistsError):
        stderr.parent.mkdir(0o700)  # a cleaner of old temporary files may have removed it
    try:
        handle = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except FileNotFoundError:  # the supervisor is gone, and another worker has removed its folder
        end()
    os.dup2(handle, 2)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")  # as the supervisor reads it
    threading.Thread(target=_die_with_parent, args=(end,), daemon=True).start()
    run_served(worker, name, pipe, end)
    with contextlib.suppress(Exception):  # a trial may have closed stdout
        sys.stdout.flush()
    os._exit(0)  # do not wait for threads that a trial started


def _end(stderr: Path) -> NoReturn:
    """Kill this process and all that its trials started, as the supervisor is gone. Remove the files that it left."""
    with contextlib.suppress(OSError):  # the folder has the files of other workers
        stderr.unlink(missing_ok=True)
        stderr.parent.rmdir()
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _die_with_parent(end: Callable[[], NoReturn]) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        end()
