"""The process of one trial, as seen by the process that runs the study: it starts, asks, measures and ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Pipe
from typing import Any, Self

import psutil

from hpt_core import EvaluationError

__all__ = ["TrialProcess"]

# The program may itself have added the folder of this package to the path. The trial sees no arguments.
_START = """
import sys
descriptor, *sys.path[:] = sys.argv[1:]
del sys.argv[1:]
from hpt_evaluator_wrap.child import main
main(int(descriptor))
"""
_POLL_SECONDS = 0.25
_GRACE_SECONDS = 2.0
"""How long the processes of a trial have to end before they are killed."""
_CHUNK = 1 << 16
_TAIL = 8_000
"""How many bytes of its stderr are kept of a trial whose process died."""


class TrialProcess:
    """A new process that evaluates one trial; see `child`. It ends with the context, with all that it started.

    It stays in the process group of the study or worker, so that an executor that kills a worker kills it, too.

    Args:
        memory_mb: Maximum resident memory of the process and its descendants, in megabytes; None: no limit.
    """

    def __init__(self, memory_mb: float | None) -> None:
        self._limit = None if memory_mb is None else memory_mb * 1e6
        self._measure_at = time.monotonic() + _POLL_SECONDS
        self._has_finished = False
        self._stderr = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed in __exit__
        self._shown = 0
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-P", "-c", _START, str(theirs.fileno()), *sys.path]
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # Ctrl-C reaches the new process as well
        try:
            self._process = psutil.Popen(
                command, stdin=subprocess.DEVNULL, stderr=self._stderr, pass_fds=[theirs.fileno()]
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
            theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it with all that it started. If it has finished, it first has time to end by itself and clean up."""
        tree = self._tree()
        try:
            if self._has_finished:
                with suppress(OSError):
                    self._pipe.send_bytes(b"end")
            else:
                for process in tree:
                    with suppress(psutil.Error):  # it has ended, or belongs to another user, as with sudo
                        process.terminate()
            psutil.wait_procs(tree, _GRACE_SECONDS)
        finally:
            for process in tree:
                with suppress(psutil.Error):
                    process.kill()
            self._process.wait()
            self._pipe.close()
            self._show_stderr()
            self._stderr.close()

    def ask(self, request: bytes) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Args:
            request: First the pickled evaluator and trial, then ``next`` or ``close`` after each report.

        Returns:
            A ``report``, the ``result`` or an ``error``.

        Raises:
            EvaluationError: If it uses too much memory, or dies.
        """
        self._check_memory()
        try:
            self._pipe.send_bytes(request)
            message: dict[str, Any] = json.loads(self._receive())
        except (EOFError, OSError):
            raise self._death() from None
        self._show_stderr()
        self._has_finished = "report" not in message
        return message

    def _receive(self) -> bytes:
        while not self._pipe.poll(_POLL_SECONDS):
            self._show_stderr()
            self._check_memory()
            if self._process.poll() is not None and not self._pipe.poll():
                raise EOFError  # a process that it has forked holds its end of the pipe open
        return self._pipe.recv_bytes()

    def _show_stderr(self) -> None:
        """Write what is new to the stderr of this process."""
        while new := os.pread(self._stderr.fileno(), _CHUNK, self._shown):
            self._shown += len(new)
            with suppress(OSError):
                os.write(2, new)

    def _stderr_tail(self) -> str:
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), _TAIL, max(0, size - _TAIL)).decode(errors="replace").strip()

    def _tree(self) -> list[psutil.Process]:
        """The process and its descendants."""
        with suppress(psutil.NoSuchProcess):
            return [self._process, *self._process.children(recursive=True)]
        return [self._process]

    def _check_memory(self) -> None:
        if self._limit is None or time.monotonic() < self._measure_at:
            return
        self._measure_at = time.monotonic() + _POLL_SECONDS
        tree = self._tree()
        used = _total(tree, lambda process: process.memory_info().rss)
        if used > self._limit and psutil.LINUX:  # count pages once that forked processes share: exact, but slower
            used = _total(tree, lambda process: process.memory_full_info().pss)
        if used > self._limit:
            message = f"The trial used {used / 1e6:.1f} MB of memory. The limit (`memory_mb`) is {self._limit / 1e6:g}."
            raise EvaluationError(message, kind="out-of-memory")

    def _death(self) -> EvaluationError:
        psutil.wait_procs([self._process], _GRACE_SECONDS)
        code = self._process.returncode
        if code is None:
            how = "closed its connection to the study"
        elif code >= 0:
            how = f"ended with exit code {code}"
        else:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            hint = " (the system may have been out of memory)" if name == "SIGKILL" else ""
            how = f"was killed by {name}{hint}"
        return EvaluationError(f"The trial's process {how}.", kind="killed", detail=self._stderr_tail())


def _total(processes: Iterable[psutil.Process], measure: Callable[[psutil.Process], int]) -> int:
    total = 0
    for process in processes:
        with suppress(psutil.Error):  # it has ended
            total += measure(process)
    return total
