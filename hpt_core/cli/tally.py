"""Progress of a running study, kept up to date by the observing hooks."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from hpt_core.cli.text import duration, number
from hpt_core.history.export import outcome

if TYPE_CHECKING:
    from hpt_core.history.history import History
    from hpt_core.history.trial import Trial

__all__ = ["Tally"]

_NONE_FEASIBLE = "no trial satisfies the constraints yet"
_FRONT_PATIENCE = 20
"""Wait this many times the duration of a front computation before the next one."""


class Tally:
    """Counts and the best result of the whole study, and the pace of this run.

    Args:
        history: The history of the study, which grows.
        budget: Maximum number of trials of the study; None for no limit.

    Attributes:
        running: Number of each running trial -> its latest report as text.
        failures: Number of failed trials by kind, without those that were invalid from the start.
        best: The best result so far as text.
        shown: The failure messages that lines have shown, each with its first trial.
    """

    def __init__(self, history: History, budget: int | None) -> None:
        self.budget = budget
        self.running: dict[int, str] = {}
        self.shown: dict[str, int] = {}
        valid = (trial for trial in history.trials if trial.invalid is None)
        self.failures: Counter[str] = Counter(trial.failure.kind for trial in valid if trial.failure is not None)
        self.best: str = ""
        self._history = history
        self._since = time.monotonic()
        self._ended = 0
        self._next_front = 0.0
        self._update_best()

    @property
    def done(self) -> int:
        """How many trials have ended, invalid ones not counted."""
        history = self._history
        return len(history.trials) - history.invalid_count - len(history.open)

    @property
    def elapsed(self) -> float:
        """Seconds since this run began."""
        return time.monotonic() - self._since

    @property
    def left(self) -> float | None:
        """Estimated seconds for the rest of the budget at this pace; None if unknown."""
        if self.budget is None or not self._ended:
            return None
        return max(0, self.budget - self.done) * self.elapsed / self._ended

    def started(self, trial: Trial) -> None:
        """Add a running trial."""
        self.running[trial.number] = ""

    def reported(self, trial: Trial) -> str:
        """Record the latest report of a trial and return it as text."""
        report, history = trial.reports[-1], self._history
        of = f" of {history.steps}" if history.steps else ""
        line = f"step {report.step}{of}, {history.objectives[0]}={number(report.value)}"
        self.running[trial.number] = line
        return line

    def finished(self, trial: Trial) -> bool:
        """Record that a trial ended or paused; return whether it is the new best."""
        self.running.pop(trial.number, None)
        self._ended += trial.finished
        if trial.failure is not None:
            self.failures[trial.failure.kind] += 1
        if len(self._history.objectives) == 1:
            self._update_best()
            return trial is self._history.best
        if time.monotonic() >= self._next_front:
            self._update_best()
        return False

    def line(self, trial: Trial) -> str:
        """How a trial ended, on one line."""
        head = f"trial {trial.number} {trial.state}"
        took = "" if trial.duration is None else duration(trial.duration)
        if trial.failure is not None:
            first = self.shown.setdefault(trial.failure.message, trial.number)
            message = trial.failure.message if first == trial.number else f"same as trial {first}"
            return f"{head} ({trial.failure.kind}): {message}" + f" ({took})" * bool(took)
        result = outcome(self._history, trial)
        why = f" by {trial.rule}: {trial.reason}" if trial.rule else f": {trial.reason}" if trial.reason else ""
        is_best = trial is self._history.best and len(self._history.objectives) == 1
        best = " (best so far)" if is_best else f" ({self.best})" if self.best else ""
        return f"{head}{f' {result}' if result else ''}{why}{best}" + f" {took}" * bool(took)

    def _update_best(self) -> None:
        """Update the best result as text. With several objectives this computes the front, which takes longer."""
        history = self._history
        if len(history.objectives) > 1:
            since = time.monotonic()
            front = history.front
            self.best = f"front of {len(front)}" if front else _NONE_FEASIBLE if len(history.complete) else ""
            self._next_front = time.monotonic() + _FRONT_PATIENCE * (time.monotonic() - since)
        elif history.best is not None:
            self.best = f"best {number(history.best.value)}, trial {history.best.number}"
        elif len(history.complete):
            self.best = _NONE_FEASIBLE
