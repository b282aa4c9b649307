"""The Dask task of a worker: it connects to the study's process, then starts and watches the worker's own process.

A process of its own imports the user's modules as they are now, not as they were when the Dask worker first imported
them. It can be killed in the middle of a trial, and a trial that holds the interpreter's lock does not block the Dask
worker.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from multiprocessing import AuthenticationError
from multiprocessing import connection as connections
from pathlib import Path

from distributed import get_worker

from hpt_core import HptError

__all__ = ["VERSIONS", "run_worker"]

VERSIONS = f"hpt-core {version('hpt-core')} on Python {sys.version_info.major}.{sys.version_info.minor}"
"""What must be the same on both sides, which exchange pickled objects."""

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 0.3
"""How long a process may run on after the study has hung up: it may be about to end by itself."""


def run_worker(task: str, address: tuple[str, int], key: bytes, folder: str, path: Sequence[str]) -> int:
    """Run one worker's loop in a new process, in the study's working folder if that exists here.

    Args:
        task: The key of this Dask task, by which the study's process identifies it.
        address: Host and port of the study's process.
        key: The secret that authenticates both sides.
        folder: The working folder of the study's process.
        path: The folders from which the study's process imports modules that are not installed.

    Returns:
        The exit code of the new process; negative if a signal ended it. 0 if the worker was no longer needed.

    Raises:
        HptError: If the study's process cannot be reached.
    """
    dask_worker = str(get_worker().address)
    with _connected(address, key, dask_worker) as (end, pipe):
        pipe.send((task, dask_worker, VERSIONS))
        try:
            name = pipe.recv()
        except (EOFError, OSError):
            return 0
        extra = [entry for entry in path if entry not in sys.path and Path(entry).is_dir()]
        job = {"pipe": end.fileno(), "name": name, "dask_worker": dask_worker, "path": [*extra, *sys.path]}
        return _run_process(end, json.dumps(job), folder if Path(folder).is_dir() else None)


@contextmanager
def _connected(
    address: tuple[str, int], key: bytes, dask_worker: str
) -> Iterator[tuple[socket.socket, connections.Connection]]:
    """The connection to the study's process, in two forms: to see whether it is closed, and to send and receive."""
    with ExitStack() as opened:
        try:
            end = opened.enter_context(socket.create_connection(address, timeout=None))
            pipe = opened.enter_context(connections.Connection(os.dup(end.fileno())))
            connections.answer_challenge(pipe, key)
            connections.deliver_challenge(pipe, key)
        except (OSError, EOFError, AuthenticationError) as err:
            place, cause = ":".join(map(str, address)), str(err) or "it hung up"
            msg = (
                f"The Dask worker {dask_worker} cannot reach the process that runs the study at {place}: {cause}. "
                "The executor's option `host` sets the name or address by which workers reach it."
            )
            raise HptError(msg) from err
        yield end, pipe


def _run_process(end: socket.socket, job: str, folder: str | None) -> int:
    """Run the process until it ends or the study hangs up."""
    command = [sys.executable, "-P", "-m", "hpt_executor_dask.process"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, cwd=folder, pass_fds=[end.fileno()], start_new_session=True
    )
    assert process.stdin is not None
    with process, suppress(BrokenPipeError):  # the process died at once; its exit code tells
        process.stdin.write(f"{job}\n".encode())
        process.stdin.flush()
        kill_at: float | None = None
        while process.poll() is None and (kill_at is None or time.monotonic() < kill_at):
            if kill_at is None and _hung_up(end):
                kill_at = time.monotonic() + _GRACE_SECONDS
            time.sleep(_POLL_SECONDS)
        with suppress(ProcessLookupError, PermissionError):  # nothing is left of the group
            os.killpg(process.pid, signal.SIGKILL)  # with all that its trials started
    return process.returncode


def _hung_up(end: socket.socket) -> bool:
    """Whether the other end is closed and nothing that it sent is left to read."""
    try:
        return not end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True  # reset: the other end died before it read all that this one sent
