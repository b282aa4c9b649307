"""Interrupts a component in the middle of what it does, as the system may at any moment."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from numpy.random import default_rng

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Interruptions"]

_PAUSE = 0.001
"""Seconds: the others do much meanwhile, and a hundred of them take no time."""


class Interruptions:
    """Makes races likely. Two processes rarely meet in a gap of microseconds, as between reading a file and writing it.

    Each block is suspended for a moment before a call that the component's code makes in it: each time before
    another one of those that were made so far. The first block is not.

    Args:
        component: A component.
        seed: Chooses the calls; others for each of several processes.
    """

    def __init__(self, component: object, seed: int) -> None:
        self._packages = {_package(cls.__module__) for cls in type(component).__mro__}
        self._calls: dict[tuple[int, int], None] = {}
        self._rng = default_rng(seed)

    @contextlib.contextmanager
    def once(self) -> Iterator[None]:
        """Interrupt the block once."""
        ahead = {list(self._calls)[self._rng.integers(len(self._calls))]} if self._calls else set()

        def look(frame: FrameType, event: str, _: object) -> None:
            caller = {"c_call": frame, "call": frame.f_back}.get(event)
            if caller is not None and _package(caller.f_globals.get("__name__", "")) in self._packages:
                call = id(caller.f_code), caller.f_lasti
                if call in ahead:
                    ahead.clear()
                    time.sleep(_PAUSE)
                self._calls[call] = None

        sys.setprofile(look)
        try:
            yield
        finally:
            sys.setprofile(None)


def _package(module: str) -> str:
    return module.partition(".")[0]
