"""Progress as plain lines, for pipes, logs and terminals without rich."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Self

from hpt_core.cli import render
from hpt_core.cli.tally import Tally
from hpt_core.cli.text import say
from hpt_core.errors import NothingSucceededError
from hpt_core.history.export import repeated_failure
from hpt_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from hpt_core.history.trial import Trial
    from hpt_core.study.study import Study

__all__ = ["PlainProgress", "progress_for", "showing"]

_RETRY = (
    "Once the cause is corrected, add --retry-failed to the command: "
    "it tries these configurations again, and the failed trials no longer count."
)
_SILENCE_SECONDS = 10.0


class PlainProgress:
    """Prints one line for each trial that ends, and now and then a report of a long trial.

    It is a plugin whose hooks the running study calls. Use it as a context manager.
    """

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._printed_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""

    @hookimpl
    def hpt_trial_started(self, trial: Trial) -> None:
        """Count the trial."""
        self.tally.started(trial)

    @hookimpl
    def hpt_trial_reported(self, trial: Trial) -> None:
        """Print the report if nothing was printed for a while."""
        report = self.tally.reported(trial)
        if time.monotonic() > self._printed_at + _SILENCE_SECONDS:
            self.print_line(f"trial {trial.number} {report}")

    @hookimpl
    def hpt_trial_finished(self, trial: Trial) -> None:
        """Print how the trial ended."""
        self.tally.finished(trial)
        self.print_line(self.tally.line(trial))

    def print_line(self, line: str) -> None:
        """Print a line."""
        self._printed_at = time.monotonic()
        say(line)


@contextmanager
def showing(study: Study, trials: int | None, *, quiet: bool) -> Iterator[None]:
    """Show the progress of a study that runs inside ``with``. A failure that ends it is not told again in full."""
    tally = Tally(study.history, trials)
    with ExitStack() as stack:
        if not quiet:
            progress = stack.enter_context(progress_for(tally))
            study.plugins.register(progress, "cli-progress")
            stack.callback(study.plugins.unregister, progress)
        try:
            yield
        except NothingSucceededError as err:
            failure = repeated_failure(study.history, tally.shown) or str(err)
            raise NothingSucceededError(failure + f"\n\n{_RETRY}" * render.is_kept(study)) from None


def progress_for(tally: Tally) -> PlainProgress:
    """The display that suits stderr: live on a terminal if rich is installed, else plain lines."""
    live = sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    if live:
        with suppress(ImportError):  # rich is not installed
            from hpt_core.cli.live import LiveProgress

            return LiveProgress(tally)
    return PlainProgress(tally)
