"""The results of a study's trials at the rungs, cached by bracket while the history grows."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hpt_core import State
from hpt_stopping_halving.bracket import Bracket, BracketId

if TYPE_CHECKING:
    from hpt_core import History, Report, Space, Trial

__all__ = ["Results"]


class Results(threading.local):  # studies in several threads may share a rule
    """Reads the results at the rungs from a history and keeps them sorted while it grows.

    This is a cache, which never changes a result. It looks again at the trials that have changed since the last call,
    among them those that are hidden, or no longer hidden, in the view of a reproducible study. It is cleared when the
    study or its definition changes.

    Args:
        metric: The objective or metric to compare; None: the first objective.
        maximize: Whether larger is better; only for a metric that is not an objective.

    Attributes:
        with_paused: The brackets that have paused trials, as of the last call of `brackets`.
    """

    def __init__(self, metric: str | None, maximize: bool) -> None:
        self._metric = metric
        self._maximize = maximize
        self._space: Space | None = None
        self._ladder: tuple[int, ...] = ()
        self._seen: History | None = None  # the history of the last call
        self._clear()

    def _clear(self) -> None:
        self.with_paused: set[BracketId] = set()
        self._brackets: dict[BracketId, Bracket] = {}
        self._running: set[int] = set()
        self._position = 0  # that of the history at the last call
        self._count = 0  # the number of its trials then

    def __reduce__(self) -> tuple[type[Results], tuple[str | None, bool]]:
        return Results, (self._metric, self._maximize)  # a copy starts with an empty cache

    def crossed(self, history: History, trial: Trial, ladder: Sequence[int]) -> range:
        """Indices of the rungs that the trial's last report has reached and the report before it had not."""
        if not trial.reports or not self._has_value(history, trial.reports[-1]):
            return range(0)
        steps = (report.step for report in reversed(trial.reports) if self._has_value(history, report))
        last, before = next(steps), next(steps, 0)
        return range(bisect_right(ladder, before), bisect_right(ladder, last))

    def brackets(
        self, history: History, ladder: tuple[int, ...], bracket_of: Callable[[History, int], BracketId]
    ) -> Mapping[BracketId, Bracket]:
        """The brackets of a study.

        A trial is in every rung of its bracket that it has reached, with the loss of its first report at or beyond the
        rung (folds: the mean up to that report). Failed trials, invalid trials and those outside an amended space are
        in no rung.

        Args:
            history: The history.
            ladder: The steps of the rungs.
            bracket_of: Returns a trial's bracket, given the trial's number; always the same one in a study.
        """
        if history is self._seen and history.position == self._position:
            return self._brackets
        self._follow(history, ladder)
        known = history.next_number
        changed = {*history.changed_since(self._position).tolist(), *self._running}
        changed.update(range(min(known, self._count), max(known, self._count)))
        for number in changed:
            key = bracket_of(history, number)
            if key not in self._brackets:
                self._brackets[key] = Bracket(key.end, ladder[key.first :])
            bracket = self._brackets[key]
            losses, state = self._recorded(history, number, bracket.ladder)
            bracket.update(number, losses, state)
            (self.with_paused.add if any(bracket.paused) else self.with_paused.discard)(key)
            (self._running.add if state is State.RUNNING else self._running.discard)(number)
        self._seen, self._position, self._count = history, history.position, known
        return self._brackets

    def _has_value(self, history: History, report: Report) -> bool:
        return self._metric is None or self._metric == history.objectives[0] or self._metric in report.metrics

    def _follow(self, history: History, ladder: tuple[int, ...]) -> None:
        """Clear the cache if the history is that of another study or definition."""
        # a different space object means another study or an amended one; comparing the contents would be slow
        if history.space is not self._space or ladder != self._ladder:
            self._space, self._ladder = history.space, ladder
            self._clear()

    def _recorded(
        self, history: History, number: int, ladder: tuple[int, ...]
    ) -> tuple[tuple[float, ...], State | None]:
        """The losses and the state of a trial, for `Bracket.update`."""
        trial = history.trials[number] if number < history.next_number else None
        if trial is None or trial.invalid is not None or not history.space.contains(trial.params):
            return (), None
        curve = history.curve(trial, self._metric, maximize=self._maximize)
        if not curve or trial.state is State.FAILED:
            return (), trial.state
        steps = [step for step, _ in curve]
        places = [bisect_left(steps, rung) for rung in ladder if rung <= steps[-1]]
        if history.evidence == "folds":
            return tuple(_mean([loss for _, loss in curve[: place + 1]]) for place in places), trial.state
        return tuple(curve[place][1] for place in places), trial.state


def _mean(losses: Sequence[float]) -> float:
    try:
        return math.fsum(losses) / len(losses)
    except OverflowError:  # losses of a diverged training
        return math.fsum(loss / len(losses) for loss in losses)
