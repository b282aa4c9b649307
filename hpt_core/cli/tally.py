"""What a running study has come to, kept from what the observing hooks tell."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from hpt_core.cli.text import duration, number
from hpt_core.export import outcome

if TYPE_CHECKING:
    from hpt_core.history import History
    from hpt_core.trial import Trial

__all__ = ["Tally"]

_NONE_KEEPS = "none keeps the constraints yet"
_FRONT_PATIENCE = 20
"""How many times as long as it took, to wait before the front is looked for again."""


class Tally:
    """Counts and the best so far, of the whole study; the pace, of this run.

    Args:
        history: The study's, which grows.
        budget: How many trials the study may have in all; None: no limit.

    Attributes:
        running: The running trials by number, with the words of their latest report.
        failures: How many failed, by kind.
        best: The best so far, in words.
    """

    def __init__(self, history: History, budget: int | None) -> None:
        self.budget = budget
        self.running: dict[int, str] = {}
        self._told: dict[str, int] = {}
        self.failures = Counter(t.failure.kind for t in history.trials if t.failure is not None)
        self.best = ""
        self._history = history
        self._since = time.monotonic()
        self._ended = 0
        self._look_at = 0.0
        self._look()

    @property
    def done(self) -> int:
        """How many trials of the budget have ended."""
        history = self._history
        return len(history.trials) - history.invalid_count - len(history.open)

    @property
    def elapsed(self) -> float:
        """Seconds since this run began."""
        return time.monotonic() - self._since

    @property
    def left(self) -> float | None:
        """Seconds that the rest of the budget will take at this pace; None if that cannot be told."""
        if self.budget is None or not self._ended:
            return None
        return max(0, self.budget - self.done) * self.elapsed / self._ended

    def started(self, trial: Trial) -> None:
        """A trial began."""
        self.running[trial.number] = ""

    def reported(self, trial: Trial) -> str:
        """A trial reported; returns the report in words."""
        report, history = trial.reports[-1], self._history
        of = f" of {history.steps}" if history.steps else ""
        line = f"step {report.step}{of}, {history.objectives[0]}={number(report.value)}"
        self.running[trial.number] = line
        return line

    def finished(self, trial: Trial) -> bool:
        """A trial ended or paused; returns whether it is the best now."""
        self.running.pop(trial.number, None)
        self._ended += trial.finished
        if trial.failure is not None:
            self.failures[trial.failure.kind] += 1
        if len(self._history.objectives) == 1:
            self._look()
            return trial is self._history.best
        if time.monotonic() >= self._look_at:
            self._look()
        return False

    def line(self, trial: Trial) -> str:
        """How a trial ended, on one line."""
        head = f"trial {trial.number} {trial.state}"
        took = "" if trial.duration is None else f" {duration(trial.duration)}"
        if trial.failure is not None:
            first = self._told.setdefault(trial.failure.message, trial.number)
            said = trial.failure.message if first == trial.number else f"as trial {first} did"
            return f"{head} ({trial.failure.kind}): {said}{took}"
        result = outcome(self._history, trial)
        why = f" by {trial.rule}: {trial.reason}" if trial.rule else f": {trial.reason}" if trial.reason else ""
        is_best = trial is self._history.best and len(self._history.objectives) == 1
        best = " (the best so far)" if is_best else f" ({self.best})" if self.best else ""
        return f"{head}{f' {result}' if result else ''}{why}{best}{took}"

    def _look(self) -> None:
        """Say what is best: a single trial, or how many no other beats, which takes longer to find out."""
        history = self._history
        if len(history.objectives) > 1:
            since = time.monotonic()
            front = history.front
            self.best = f"front of {len(front)}" if front else _NONE_KEEPS if len(history.complete) else ""
            self._look_at = time.monotonic() + _FRONT_PATIENCE * (time.monotonic() - since)
        elif history.best is not None:
            self.best = f"best {number(history.best.value)}, trial {history.best.number}"
        elif len(history.complete):
            self.best = _NONE_KEEPS
