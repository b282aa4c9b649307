"""The process in which a worker runs its loop, on the store that the study's process serves; `task` starts it."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from hpt_core import HptError, run_served

__all__ = ["main"]


def main() -> None:
    """Read the job from standard input and run the loop until it ends or the Dask worker dies."""
    line = sys.stdin.readline()
    if not line:
        return  # the Dask worker has died
    job = json.loads(line)
    sys.path[:] = job["path"]
    threading.Thread(target=_die_with_parent, args=(os.dup(0),), daemon=True).start()
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)  # a trial that reads its standard input finds it empty
    _serve(Connection(job["pipe"]), job["name"], job["dask_worker"])
    with suppress(Exception):  # a trial may have closed it
        sys.stdout.flush()
    os._exit(0)  # do not wait for threads that trials left behind


def _serve(pipe: Connection, name: str, dask_worker: str) -> None:
    """Load the study and run the loop as worker ``name``."""
    try:
        worker = pipe.recv()
    except (EOFError, OSError):
        return  # this worker is no longer needed
    except Exception as err:  # noqa: BLE001 - unpickling imports the user's modules, which may raise anything
        msg = (
            f"The Dask worker {dask_worker} cannot load the study: {type(err).__name__}: {err}. "
            "What the study imports must be installed there, or be in a folder that both machines have."
        )
        pipe.send(("raised", HptError(msg), "".join(traceback.format_exception(err))))
    else:
        run_served(worker, name, pipe, _exit)


def _exit() -> NoReturn:
    os._exit(1)


def _die_with_parent(stdin: int) -> None:
    """Kill this process and all that its trials started when the Dask worker dies, which closes its end of the pipe."""
    os.read(stdin, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
