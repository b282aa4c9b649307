"""The workers of a `SearchCV` with ``n_jobs``: threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs
from sklearn import config_context, get_config

from hpt_core import Failure

__all__ = ["ThreadExecutor"]

_POLL = 0.5
"""Seconds between checks for a signal. A thread that waits for a fit in another process notices in this time, too, that
the search has ended."""


@attrs.define(kw_only=True)
class ThreadExecutor:
    """Runs a study's workers as threads of this process, which fit, or wait for fits in other processes.

    Attributes:
        halted: Set when the other workers have to end.
    """

    halted: threading.Event

    def run(self, worker: Any, count: int, lost: Callable[[str, Failure], bool]) -> None:
        """Run ``count`` workers until all have ended; see `hpt_core.Executor`."""
        errors: list[BaseException] = []
        config = get_config()  # a new thread starts with the default configuration

        def work(name: str) -> None:
            try:
                with config_context(**config):
                    worker(name)
            except BaseException as err:  # noqa: BLE001 - raised again in the calling thread
                errors.append(err)
                self.halted.set()

        names = [str(i) for i in range(1, count + 1)]
        threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():  # a signal delivered to another thread does not interrupt a join
                    thread.join(_POLL)
        except KeyboardInterrupt:
            self.halted.set()
            for thread in threads:
                thread.join(2 * _POLL)
            for name in names:
                lost(name, Failure("interrupted", "interrupted by the user"))
            raise
        if errors:
            raise errors[0]
