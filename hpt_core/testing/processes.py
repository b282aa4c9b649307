"""Other processes: one that the kits can exchange messages with, and kill; and one for a single call."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import select
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Self, TypeVar, cast

import pytest

__all__ = ["STDERR", "Channel", "Child", "in_new_process"]

T = TypeVar("T")

STDERR = 2
"""The file descriptor: what replaces `sys.stderr` in tests may have none."""

_PATIENCE = 30.0


class Channel:
    """One end of a connection between two processes; each message is a line of text."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(_PATIENCE)
        self._end = end
        self._lines = end.makefile("r", encoding="utf-8")

    def send(self, line: object) -> None:
        """Send a line."""
        self._end.sendall(f"{line}\n".encode())

    def receive(self) -> str:
        """Wait for a line; empty if the other end is closed.

        Raises:
            TimeoutError: If no line arrives within half a minute.
        """
        return self._lines.readline().removesuffix("\n")

    def is_waiting(self) -> bool:
        """Whether `receive` would return at once; only before it is called."""
        return bool(select.select([self._end], [], [], 0)[0])

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._end.close()


class Child:
    """A forked process that runs a function with a `Channel` to its parent.

    Args:
        work: The function. What it raises is reported to the parent.
    """

    def __init__(self, work: Callable[[Channel], None]) -> None:
        if not hasattr(os, "fork"):
            pytest.skip("this check needs os.fork")
        ours, theirs = socket.socketpair()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the child uses nothing that other threads hold
            self._process = os.fork()
        if not self._process:
            ours.close()
            os._exit(_run(work, Channel(theirs)))
        theirs.close()
        self._channel = Channel(ours)
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def send(self, line: object) -> None:
        """Send a line to the child."""
        self._channel.send(line)

    def receive(self) -> str:
        """Wait for a line from the child; empty if it has ended.

        Raises:
            AssertionError: If the child raised, with its error, or sends no line within half a minute.
        """
        try:
            line = self._channel.receive()
        except TimeoutError as err:
            msg = f"another process has not answered within {_PATIENCE:g} s; stderr has what it was doing"
            raise AssertionError(msg) from err
        assert not line.startswith("raised "), f"another process {line}"
        return line

    def is_busy(self) -> bool:
        """Whether `receive` would have to wait; only before it is called."""
        return not self._channel.is_waiting()

    def kill(self) -> None:
        """Kill the child with SIGKILL."""
        if not self._ended:
            os.kill(self._process, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Wait until the child has ended."""
        if not self._ended:
            self._ended = True
            os.waitpid(self._process, 0)
            self._channel.close()


def _run(work: Callable[[Channel], None], channel: Channel) -> int:
    faulthandler.dump_traceback_later(0.9 * _PATIENCE, file=STDERR)
    try:
        work(channel)
    except BaseException as err:  # noqa: BLE001 - reported to the parent
        traceback.print_exception(err, file=sys.stderr)
        channel.send(f"raised {type(err).__name__}: {' '.join(str(err).split())}")
        return 1
    channel.send("done")
    return 0


def in_new_process(function: Callable[..., T], component: object, *arguments: object) -> T:
    """Call ``function(component, *arguments)`` in a new process, in which the hashes of strings are others.

    Skips the check if the component cannot be sent there; `ComponentKit.test_travels_to_workers` says why.
    """
    try:
        sent = pickle.dumps(component)
    except Exception:  # noqa: BLE001 - a plugin's code may raise anything
        pytest.skip("the component cannot be pickled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONHASHSEED", "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            importable, result = pool.submit(_called_there, function, sent, arguments).result()
    if not importable:
        pytest.skip(f"a new process cannot import the component: {result}")
    return cast("T", result)


def _called_there(function: Callable[..., T], sent: bytes, arguments: tuple[object, ...]) -> tuple[bool, Any]:
    try:
        component = pickle.loads(sent)  # noqa: S301 - pickled by `in_new_process`
    except (AttributeError, ImportError) as err:  # such as a class in a test module
        return False, str(err)
    return True, function(component, *arguments)
