"""A child process that the kits can talk to, and kill."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Self

import pytest

__all__ = ["Child", "Talk"]

_PATIENCE = 30.0


class Talk:
    """One end of a line between two processes."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(_PATIENCE)
        self._end = end
        self._lines = end.makefile("r", encoding="utf-8")

    def say(self, line: object) -> None:
        """Send a line."""
        self._end.sendall(f"{line}\n".encode())

    def hear(self) -> str:
        """Wait for a line; empty where the other end is gone.

        Raises:
            TimeoutError: If none comes for half a minute.
        """
        return self._lines.readline().removesuffix("\n")

    def close(self) -> None:
        """Give the line back."""
        self._lines.close()
        self._end.close()


class Child:
    """A forked process that runs a function with a `Talk` to its parent.

    Args:
        work: What it does. What that raises is told to the parent.
    """

    def __init__(self, work: Callable[[Talk], None]) -> None:
        if not hasattr(os, "fork"):
            pytest.skip("this check needs os.fork")
        ours, theirs = socket.socketpair()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the child touches nothing that another thread has
            self._process = os.fork()
        if not self._process:
            ours.close()
            os._exit(_run(work, Talk(theirs)))
        theirs.close()
        self._talk = Talk(ours)
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def say(self, line: object) -> None:
        """Send it a line."""
        self._talk.say(line)

    def hear(self) -> str:
        """Wait for a line from it; empty if it is gone.

        Raises:
            AssertionError: With what it raised.
        """
        line = self._talk.hear()
        assert not line.startswith("raised "), f"in another process it {line}"
        return line

    def kill(self) -> None:
        """End it as by ``kill -9``."""
        if not self._ended:
            os.kill(self._process, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Wait until it has ended."""
        if not self._ended:
            self._ended = True
            os.waitpid(self._process, 0)
            self._talk.close()


def _run(work: Callable[[Talk], None], talk: Talk) -> int:
    try:
        work(talk)
    except BaseException as err:  # noqa: BLE001 - it is told to the parent
        traceback.print_exception(err, file=sys.stderr)
        talk.say(f"raised {type(err).__name__}: {' '.join(str(err).split())}")
        return 1
    talk.say("done")
    return 0
