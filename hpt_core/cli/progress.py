"""Progress in plain lines, for pipes, logs and terminals without rich."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Self

from hpt_core.cli.text import say
from hpt_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from types import TracebackType

    from hpt_core.cli.tally import Tally
    from hpt_core.trial import Trial

__all__ = ["PlainProgress", "progress_for"]

_SILENCE_SECONDS = 10.0


class PlainProgress:
    """Tells each trial that ends on a line of its own, and now and then what a long one reports.

    It is a plugin: its hooks are called by the study that runs, and it is in use inside ``with``.
    """

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put back."""

    @hookimpl
    def hpt_trial_started(self, trial: Trial) -> None:
        """Count it."""
        self.tally.started(trial)

    @hookimpl
    def hpt_trial_reported(self, trial: Trial) -> None:
        """Tell it if nothing was told for a while."""
        report = self.tally.reported(trial)
        if time.monotonic() > self._told + _SILENCE_SECONDS:
            self.tell(f"trial {trial.number} {report}")

    @hookimpl
    def hpt_trial_finished(self, trial: Trial) -> None:
        """Tell it."""
        self.tally.finished(trial)
        self.tell(self.tally.line(trial))

    def tell(self, line: str) -> None:
        """Print a line."""
        self._told = time.monotonic()
        say(line)


def progress_for(tally: Tally) -> PlainProgress:
    """The progress that suits stderr: live on a terminal where rich is installed, else plain lines."""
    live = sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    if live:
        try:
            from hpt_core.cli.live import LiveProgress
        except ImportError:
            return PlainProgress(tally)
        return LiveProgress(tally)
    return PlainProgress(tally)
