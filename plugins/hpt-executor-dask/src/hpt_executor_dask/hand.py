"""What a Dask worker does for a study: it starts a process, which runs the loop on the store that it is served.

A process of its own has the user's modules as they are now, not as they were when the Dask worker first imported them;
it can be ended in the middle of a trial; and one that holds the interpreter's lock does not silence the Dask worker.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from multiprocessing import AuthenticationError
from multiprocessing import connection as connections
from pathlib import Path
from typing import NoReturn

from distributed import get_worker

from hpt_core import HptError, run_served

__all__ = ["SETUP", "work"]

SETUP = f"hpt-core {version('hpt-core')} on Python {sys.version_info.major}.{sys.version_info.minor}"
"""What has to be the same on both sides: what travels between them is pickled."""

_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 0.3
"""How long a process may go on without its study: it may just be ending."""


def work(task: str, address: tuple[str, int], key: bytes, folder: str, path: Sequence[str]) -> int:
    """What a Dask task does: runs the loop in a new process, in the study's working folder if it is there.

    Args:
        task: The task's name, by which the study knows it.
        address: Host and port of the process that runs the study.
        key: What it has to be told before it answers.
        folder: Its working folder.
        path: The folders of its modules that are not installed.

    Returns:
        The exit code of the new process; negative: the signal that ended it. 0 where none was wanted any more.

    Raises:
        HptError: If the study cannot be reached.
    """
    where = str(get_worker().address)
    with _connected(address, key, where) as pipe:
        pipe.send((task, where, SETUP))
        try:
            name = pipe.recv()
        except (EOFError, OSError):
            return 0
        there = [place for place in path if place not in sys.path and Path(place).is_dir()]
        job = {"pipe": pipe.fileno(), "name": name, "where": where, "path": [*there, *sys.path]}
        return _run(pipe, json.dumps(job), folder if Path(folder).is_dir() else None)


def _connected(address: tuple[str, int], key: bytes, where: str) -> connections.Connection:
    try:
        return connections.Client(address, authkey=key)
    except (OSError, EOFError, AuthenticationError) as err:
        place = "{}:{}".format(*address)
        hint = "The option `host` of the executor says by which name or address workers reach it."
        msg = f"The Dask worker {where} cannot reach the process that runs the study at {place}: {err}. {hint}"
        raise HptError(msg) from err


def _run(pipe: connections.Connection, job: str, folder: str | None) -> int:
    """Run the process until it ends or the connection to the study does."""
    command = [sys.executable, "-P", "-m", __name__]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, cwd=folder, pass_fds=[pipe.fileno()], start_new_session=True
    )
    assert process.stdin is not None
    with process, suppress(BrokenPipeError):  # it is dead, as its exit code says
        process.stdin.write(f"{job}\n".encode())
        process.stdin.flush()
        alone_since: float | None = None
        # Not waited for yet, so its number is still its own and its group's.
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if alone_since is None and _hung_up(pipe.fileno()):
                alone_since = time.monotonic()
            if alone_since is not None and time.monotonic() - alone_since > _GRACE_SECONDS:
                break
            time.sleep(_LOOK_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what its trials started, too
    return process.returncode


def _hung_up(line: int) -> bool:
    """Whether the other end of a socket is closed, and nothing that it sent is left to read."""
    with socket.socket(fileno=os.dup(line)) as end:
        try:
            return not end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True  # reset: the other end died with a message unread


def main() -> None:
    """The process: the loop until it ends or the Dask worker does."""
    job = json.loads(sys.stdin.readline())
    sys.path[:] = job["path"]
    threading.Thread(target=_die_with_parent, args=(os.dup(0),), daemon=True).start()
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)  # a trial that reads its input finds none
    _serve(connections.Connection(job["pipe"]), job["name"], job["where"])
    with suppress(Exception):  # a trial may have closed it
        sys.stdout.flush()
    os._exit(0)  # no trial's thread may hold it up


def _serve(pipe: connections.Connection, name: str, where: str) -> None:
    try:
        worker = pipe.recv()
    except (EOFError, OSError):
        return  # nobody wants it any more
    except Exception as err:  # noqa: BLE001 - what is imported for it may raise anything
        said = f"The Dask worker {where} cannot load the study: {type(err).__name__}: {err}."
        hint = "What the study imports must be installed there, or lie in a folder that both sides have."
        pipe.send(("raised", HptError(f"{said} {hint}"), "".join(traceback.format_exception(err))))
    else:
        run_served(worker, name, pipe, _gone)


def _gone() -> NoReturn:
    os._exit(1)


def _die_with_parent(line: int) -> None:
    """End this process and what its trials started when the Dask worker is gone, for nobody else does."""
    os.read(line, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
