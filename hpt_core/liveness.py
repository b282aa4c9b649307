"""Names processes, and tells whether the process that runs a trial is still alive."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["LEASE_SECONDS", "is_alive", "owner_of", "this_process", "worker_name"]

LEASE_SECONDS = 300.0
"""A process on another machine counts as dead after this long without a record. It beats five times as often."""

_CAN_LOOK_UP = sys.platform != "win32"
"""Whether a process can be looked up. On Windows ``os.kill(pid, 0)`` would send Ctrl-C."""

_MAIN_NAMESPACE = 0xEFFFFFFC
"""The inode of Linux's PID namespace outside of containers (``PROC_PID_INIT_INO``)."""


@cache
def this_process() -> str:
    """The unique name of this process: ``host:pid:start``."""
    return f"{_host()}:{os.getpid()}:{_start_of(os.getpid()) or 0}"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=this_process.cache_clear)


def worker_name(number: int) -> str:
    """The name of a worker of this process. Other threads than the first may run a study, too: theirs have their id."""
    thread = threading.current_thread()
    prefix = "" if thread is threading.main_thread() else f"{thread.native_id}."
    return f"{this_process()}/{prefix}{number}"


def owner_of(worker: str) -> str:
    """The process that owns a worker: the worker itself, or its supervisor (``owner/2``)."""
    return worker.partition("/")[0]


def is_alive(owner: str, silent_for: float) -> bool:
    """Whether a process is alive.

    Args:
        owner: Its name, from `this_process`.
        silent_for: Seconds since its last record. Only used for processes on other machines, on Windows, and for those
            of other users that the system hides.
    """
    if owner == this_process():
        return True
    ours = re.fullmatch(rf"{re.escape(_host())}:(\d{{1,9}}):(.*)", owner, re.ASCII)
    if ours is None or not _CAN_LOOK_UP:
        return silent_for < LEASE_SECONDS
    found = _start_of(int(ours[1]))
    if found == 0 and ours[2] != "0":  # it may be the same process or another one
        return silent_for < LEASE_SECONDS
    return found is not None and str(found) == ours[2]


@cache
def _host() -> str:
    """This machine. A container may share its name but not its process IDs, so it counts as another machine."""
    name = socket.gethostname()
    with suppress(OSError):  # only Linux has namespaces
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        name += f"-{namespace}" * (namespace != _MAIN_NAMESPACE)
    return name


def _start_of(pid: int) -> int | None:
    """When a process started, in clock ticks since boot. 0 if that is unknown, None if there is no such process."""
    if not _CAN_LOOK_UP:
        return 0
    with suppress(OSError):  # there is no such process, or no /proc, or it hides those of other users (hidepid)
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # a name may be any bytes
        return None if fields[0] in b"ZX" else int(fields[19])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return 0
    return 0
