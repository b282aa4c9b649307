"""A command that runs: its output as it comes, its end, and the certainty that nothing of it stays behind."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from hpt_evaluator_command.output import Lines, Tail

__all__ = ["Process", "TimeUp"]

_SUPERVISOR = str(Path(__file__).with_name("supervise.py"))
_CHUNK = 1 << 16
_KEPT = 1 << 16  # bytes of stderr
_MARGIN = 3.0  # seconds that the supervisor may take beyond its grace
_DRAIN = 1.0  # seconds for output that somebody still holds open after the end


class TimeUp(Exception):  # noqa: N818 - a signal to the evaluator
    """The command ran longer than it may."""


class Process:
    """One command under its supervisor.

    Args:
        command: Program and arguments.
        stdin: A file to read from; None: nothing.
        cwd: The working directory; None: this process's.
        env: The environment.
        grace: Seconds between SIGTERM and SIGKILL.

    Attributes:
        code: The exit code, negative for a signal; None before the end, or if nobody can tell.
        problem: The errno with which the command could not be started; 0: it was.
        stderr: The end of what it wrote there.

    Raises:
        OSError: If the working directory is not there or the arguments are too long.
        ValueError: If an argument holds a NUL character.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: IO[bytes] | None,
        cwd: str | None,
        env: Mapping[str, str],
        grace: float,
    ) -> None:
        self.code: int | None = None
        self.problem = 0
        self.stderr = Tail(_KEPT)
        self._grace = grace
        self._said = b""
        self._control, theirs = socket.socketpair()
        numbers = [str(theirs.fileno()), str(os.getpid()), repr(grace)]
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", _SUPERVISOR, *numbers, *command],
                stdin=stdin or subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=cwd,
                env=dict(env),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()

    def lines(self, seconds: float | None) -> Iterator[bytes]:
        """The lines of its standard output until it has ended.

        Args:
            seconds: How long it may run from now; None: for ever.

        Raises:
            TimeUp: If it runs longer.
        """
        end = None if seconds is None else time.monotonic() + seconds
        lines = Lines()
        with selectors.DefaultSelector() as selector:
            for source in (self._popen.stdout, self._popen.stderr, self._control):
                assert source is not None
                selector.register(source, selectors.EVENT_READ)
            while selector.get_map():
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    if self._control in selector.get_map():
                        raise TimeUp
                    break  # it has ended, only its output is held open
                for key, _ in selector.select(left):
                    data = os.read(key.fd, _CHUNK)
                    if key.fileobj is self._popen.stdout:
                        yield from lines.feed(data)
                    elif key.fileobj is self._popen.stderr:
                        self.stderr.feed(data)
                    self._said += data if key.fileobj is self._control else b""
                    if not data:
                        selector.unregister(key.fileobj)
                        if key.fileobj is self._control:
                            end = time.monotonic() + _DRAIN
        yield lines.flush()
        self._popen.wait()
        self._understand()

    def stop(self) -> None:
        """End it with all its descendants, if it has not ended; returns when they are gone."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)  # a copy in a fork of ours does not keep it open, then
        try:
            self._popen.wait(self._grace + _MARGIN)
        except BaseException as err:  # a second Ctrl-C, or a supervisor that hangs
            self._hurry()
            if not isinstance(err, subprocess.TimeoutExpired):
                raise
        finally:
            for stream in (self._popen.stdout, self._popen.stderr, self._control):
                assert stream is not None
                stream.close()

    def _hurry(self) -> None:
        """End it without grace."""
        self._popen.terminate()
        try:
            self._popen.wait(_MARGIN)
        except subprocess.TimeoutExpired:
            for group in (self._number("pid"), self._popen.pid):
                with contextlib.suppress(OSError):
                    os.killpg(group or self._popen.pid, signal.SIGKILL)
            self._popen.wait()

    def _understand(self) -> None:
        self.problem = self._number("error") or 0
        self.code = self._number("exit")

    def _number(self, word: str) -> int | None:
        """What the supervisor said after a word."""
        match = re.search(rb"^%s (-?\d+)$" % word.encode(), self._said, re.MULTILINE)
        return int(match[1]) if match else None
