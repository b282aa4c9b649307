"""Processes that die while they write to a store: at a random moment, or in the middle of a write."""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_core.errors import StoreError
from hpt_core.testing.processes import Channel, Child
from hpt_core.testing.store_base import notes

if TYPE_CHECKING:
    from hpt_core.components import Store

__all__ = ["BATCH", "cut_off", "killed_after"]

BATCH = 20
"""Records per append."""

_MANY = 40
"""Appends after which a store is taken for one whose files do not grow."""


def killed_after(seconds: float, make: Callable[[], Store], _: Path) -> int:
    """Let a process append batch after batch, and kill it this many seconds after the fourth.

    Returns:
        How many records it had appended by then.
    """
    with Child(partial(_append_batches, make)) as child:
        appended = [int(child.receive()) for _ in range(4)]
        time.sleep(seconds)
    return appended[-1]


def cut_off(cut: int, make: Callable[[], Store], folder: Path) -> int:
    """Let a process append batch after batch that dies in the middle of a write, as soon as a file is too large.

    Args:
        cut: By how many bytes a file may grow after the first batch.
        make: Opens the store.
        folder: The folder of the store's files.

    Returns:
        How many records it had appended by then.
    """

    def work(channel: Channel) -> None:
        with contextlib.suppress(OSError, StoreError):  # it may notice the short write before it dies
            _append_batches(make, channel, then=partial(_limit_files, folder, cut))

    with Child(work) as child:
        lines = itertools.islice(iter(child.receive, "done"), _MANY)
        appended = [int(line) for line in itertools.takewhile(bool, lines)]
    return appended[-1]


def _append_batches(make: Callable[[], Store], channel: Channel, then: Callable[[], None] = lambda: None) -> None:
    store = make()
    for first in range(0, 100_000, BATCH):
        channel.send(store.append("s", notes(range(first, first + BATCH))))
        if not first:
            then()


def _limit_files(folder: Path, cut: int) -> None:
    """Let the system kill this process when it writes a file beyond the size of the largest, and ``cut`` bytes more."""
    import resource  # does not exist on Windows, which has no fork either

    largest = max((path.stat().st_size for path in folder.rglob("*") if path.is_file()), default=0)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + cut, resource.RLIM_INFINITY))
