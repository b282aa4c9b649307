"""Live progress on a terminal, drawn with rich."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpt_core.cli.progress import PlainProgress
from hpt_core.cli.text import clean, duration
from hpt_core.hookspecs import hookimpl
from hpt_core.values import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hpt_core.cli.tally import Tally
    from hpt_core.history.trial import Trial

__all__ = ["LiveProgress"]

_SHOWN = 8
_PER_SECOND = 4
_BAR_FROM = 60
"""Minimum width of the terminal for a progress bar next to the counts."""


class LiveProgress(PlainProgress):
    """Draws counts, a bar, the best result so far, failures and the running trials in place.

    Each new best trial and each failure is printed as a line above.
    """

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally)
        self._console = Console(stderr=True, markup=False, emoji=False, highlight=False)  # trials print what they like
        self._live = Live(
            console=self._console,
            get_renderable=self._display,
            refresh_per_second=_PER_SECOND,
            transient=True,
            # on a terminal, output of trials is printed above the display; a pipe must get it unchanged
            redirect_stdout=sys.stdout.isatty(),
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the display and restore the cursor."""
        self._live.stop()

    @hookimpl
    def hpt_trial_reported(self, trial: Trial) -> None:
        """Update the display."""
        self.tally.reported(trial)

    @hookimpl
    def hpt_trial_finished(self, trial: Trial) -> None:
        """Update the display; print a new best trial or a failure."""
        is_best = self.tally.finished(trial)
        if is_best or trial.failure is not None:
            self.print_line(self.tally.line(trial))

    def print_line(self, line: str) -> None:
        """Print a line above the display."""
        self._console.print(Text(clean(line)))

    def _display(self) -> RenderableType:
        tally = self.tally
        lines = [_line(tally.best, "bold green")] if tally.best else []
        if tally.failures:
            kinds = ", ".join(f"{count} {kind}" for kind, count in tally.failures.items())
            lines.append(_line(f"failed {tally.failures.total()}: {kinds}", "red"))
        running = list(tally.running.items())
        lines += [_line(f"trial {n}  {report or 'running'}", "dim") for n, report in running[:_SHOWN]]
        if len(running) > _SHOWN:
            lines.append(_line(f"and {len(running) - _SHOWN} more", "dim"))
        return Group(self._head(), *lines)

    def _head(self) -> RenderableType:
        tally = self.tally
        left = "" if tally.left is None else f"about {duration(tally.left)} left"
        if tally.budget is None:
            return _line(f"{counted(tally.done, 'trial')}  {duration(tally.elapsed)}", "bold")
        count = f"{tally.done}/{tally.budget} trials"
        if self._console.width < _BAR_FROM:
            return _line(f"{count}  {left}", "bold")
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        for ratio in (None, 1, None, None):
            grid.add_column(ratio=ratio, no_wrap=True)
        bar = ProgressBar(total=tally.budget, completed=tally.done)
        grid.add_row(Text(count, "bold"), bar, Text(duration(tally.elapsed)), Text(left, "dim"))
        return grid


def _line(text: str, style: str) -> Text:
    return Text(clean(text), style, no_wrap=True, overflow="ellipsis")
