"""A running command: reads its output as it arrives, waits for its end, and leaves no process behind."""

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

__all__ = ["CommandTimeoutError", "Process"]

_SUPERVISOR = str(Path(__file__).with_name("supervise.py"))
_CHUNK = 1 << 16
_MAX_STDERR = 1 << 16  # bytes of stderr that are kept
_MARGIN = 3.0  # seconds that the supervisor may take beyond the grace
_DRAIN = 1.0  # seconds to wait for output streams that are still open after the command has ended


class CommandTimeoutError(Exception):
    """The command exceeded its time limit."""


class Process:
    """One command under its supervisor.

    Args:
        command: Program and arguments.
        stdin: A file for its standard input. If None, the input is empty.
        cwd: The working directory. If None, that of this process.
        env: The environment.
        grace: Seconds between SIGTERM and SIGKILL.

    Attributes:
        code: The exit code, negative for a signal; None before the end, or if it is unknown.
        start_errno: The errno if the command could not be started, otherwise 0.
        stderr: The last part of its standard error.

    Raises:
        OSError: If the working directory does not exist or the arguments are too long.
        ValueError: If an argument contains a NUL character.
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
        self.start_errno = 0
        self.stderr = Tail(_MAX_STDERR)
        self._grace = grace
        self._messages = b""  # from the supervisor
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
        """Yield the lines of its standard output until it ends.

        Args:
            seconds: Maximum run time from now. If None, there is no limit.

        Raises:
            CommandTimeoutError: If it runs longer.
        """
        end = None if seconds is None else time.monotonic() + seconds
        lines = Lines()
        with selectors.DefaultSelector() as selector:
            for source in (self._popen.stdout, self._popen.stderr, self._control):
                assert source is not None
                selector.register(source, selectors.EVENT_READ)
            while selector.get_map():
                now = time.monotonic()
                for key, _ in selector.select(None if end is None else end - now):
                    data = os.read(key.fd, _CHUNK)
                    if key.fileobj is self._popen.stdout:
                        yield from lines.feed(data)
                    elif key.fileobj is self._popen.stderr:
                        self.stderr.feed(data)
                    else:
                        self._messages += data
                        if not data or b"exit" in data:
                            end = time.monotonic() + _DRAIN
                    if not data:
                        selector.unregister(key.fileobj)
                if end is not None and now >= end:  # checked after reading: it may have ended in time
                    if self._control in selector.get_map() and b"exit" not in self._messages:
                        raise CommandTimeoutError
                    break  # it has ended, and only its output is still open
        yield lines.flush()
        self._popen.wait()
        self.start_errno = self._number_after("error") or 0
        self.code = self._number_after("exit")

    def stop(self) -> None:
        """End it with all its descendants, unless it has ended; returns when they are gone."""
        try:
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)  # closes it even if a fork of this process has a copy
            self._popen.wait(self._grace + _MARGIN)
        except BaseException as err:  # a second Ctrl-C, or a supervisor that hangs
            self._kill()
            if not isinstance(err, subprocess.TimeoutExpired):
                raise
        finally:
            group = self._number_after("pid")
            if self._popen.returncode and group is not None:  # the supervisor was killed, and ended nothing
                with contextlib.suppress(OSError):
                    os.killpg(group, signal.SIGKILL)
            for stream in (self._popen.stdout, self._popen.stderr, self._control):
                assert stream is not None
                stream.close()

    def _kill(self) -> None:
        """End the supervisor without grace."""
        self._popen.terminate()
        try:
            self._popen.wait(_MARGIN)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def _number_after(self, word: str) -> int | None:
        """The number after a word in the supervisor's messages; None if there is no such message."""
        match = re.search(rb"^%s (-?\d+)$" % word.encode(), self._messages, re.MULTILINE)
        return int(match[1]) if match else None
