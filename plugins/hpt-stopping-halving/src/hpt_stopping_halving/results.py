"""The results of trials at the rungs that they have reached."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import State, Trial

if TYPE_CHECKING:
    from hpt_core import History, Report

__all__ = ["Results", "Rung"]

Rung = list[tuple[float, int]]
"""(loss, trial number) of all trials that have reached a rung, best first; of equals the earlier trial first."""


@attrs.define(eq=False)
class Results:
    """Reads the results at the rungs from a history.

    The results of each trial are cached, which never changes them: they are valid as long as the trial has the same
    attempt and number of reports, and the cache is cleared when the study or its definition changes.

    Attributes:
        metric: The objective or metric to compare; None: the first objective.
        maximize: Whether larger is better; only for a metric that is not an objective.
    """

    metric: str | None
    maximize: bool
    _meaning: tuple[Any, ...] = ()
    _known: dict[int, tuple[tuple[Trial, int, int], tuple[float, ...]]] = attrs.field(factory=dict, repr=False)

    def __reduce__(self) -> tuple[type[Results], tuple[str | None, bool]]:
        return Results, (self.metric, self.maximize)  # a copy starts with an empty cache

    def crossed(self, history: History, trial: Trial, ladder: tuple[int, ...]) -> range:
        """Indices of the rungs that the trial's last report has reached and the report before it had not."""
        reports = (report for report in islice(reversed(trial.reports), 1, None) if self._has_value(history, report))
        last = trial.reports[-1] if trial.reports else None
        if last is None or not self._has_value(history, last):
            return range(0)
        before = next((report.step for report in reports), 0)
        return range(bisect_right(ladder, before), bisect_right(ladder, last.step))

    def rungs(self, history: History, ladder: tuple[int, ...], numbers: Iterable[int]) -> list[Rung]:
        """The results of the given trials at each rung.

        A trial is in every rung that it has reached, with the loss of its first report at or beyond the rung (folds:
        the mean up to that report). Failed trials, invalid trials and those outside an amended space are in no rung.
        """
        self._follow(history, ladder)
        found: list[Rung] = [[] for _ in ladder]
        for number in numbers:
            trial = history.trials[number]
            if trial.reports and trial.invalid is None and trial.state is not State.FAILED:
                for rung, loss in zip(found, self._losses(history, trial, ladder), strict=False):
                    rung.append((loss, number))
        for rung in found:
            rung.sort()
        return found

    def _has_value(self, history: History, report: Report) -> bool:
        return self.metric is None or self.metric == history.objectives[0] or self.metric in report.metrics

    def _follow(self, history: History, ladder: tuple[int, ...]) -> None:
        meaning = (ladder, history.objectives, history.directions, history.evidence, history.space)
        # a different space object means another study or an amended one; comparing the contents would be slow
        if meaning[:-1] != self._meaning[:-1] or meaning[-1] is not self._meaning[-1]:
            self._meaning = meaning
            self._known.clear()

    def _losses(self, history: History, trial: Trial, ladder: tuple[int, ...]) -> tuple[float, ...]:
        now = (trial, trial.attempt, len(trial.reports))
        before, losses = self._known.get(trial.number, (None, ()))
        if before is None or before[0] is not trial or before[1:] != now[1:]:
            losses = self._recorded(history, trial, ladder) if history.space.contains(trial.params) else ()
            self._known[trial.number] = (now, losses)
        return losses

    def _recorded(self, history: History, trial: Trial, ladder: tuple[int, ...]) -> tuple[float, ...]:
        curve = history.curve(trial, self.metric, maximize=self.maximize)
        if not curve:
            return ()
        steps = [step for step, _ in curve]
        places = [bisect_left(steps, rung) for rung in ladder if rung <= steps[-1]]
        if history.evidence == "folds":
            return tuple(_mean([loss for _, loss in curve[: place + 1]]) for place in places)
        return tuple(curve[place][1] for place in places)


def _mean(losses: Sequence[float]) -> float:
    try:
        return math.fsum(losses) / len(losses)
    except OverflowError:  # losses of a diverged training
        return math.fsum(loss / len(losses) for loss in losses)
