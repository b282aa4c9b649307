"""The results of trials at the rungs that they have reached."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import State, Trial

if TYPE_CHECKING:
    from hpt_core import History, Report

__all__ = ["Results", "Rung", "Standing"]

Rung = list[tuple[float, int]]
"""(loss, trial number) of all trials that have reached a rung, best first; of equals the earlier trial first."""


@attrs.define
class Standing:
    """How the trials of a group stand: those that compete with each other.

    Attributes:
        rungs: Their results at each rung.
        idle: The paused ones: trial number -> index of the highest rung that it has reached; -1 if it has reached none.
    """

    rungs: list[Rung]
    idle: dict[int, int] = attrs.field(factory=dict)


@attrs.define(eq=False, slots=False)
class Results(threading.local):  # studies in several threads may share a rule
    """Reads the results at the rungs from a history and keeps them sorted while it grows.

    This is a cache, which never changes a result. It looks again at the trials that were or are open, and at those that
    are new or hidden (in the views of a reproducible study); the reports of all other trials are final. It is cleared
    when the study or its definition changes, and when a trial is invalidated.

    Attributes:
        metric: The objective or metric to compare; None: the first objective.
        maximize: Whether larger is better; only for a metric that is not an objective.
        memo: Rung -> trials, and what the rule has computed from their final results there. Cleared with the cache.
    """

    metric: str | None
    maximize: bool
    memo: dict[int, tuple[list[int], float]] = attrs.field(factory=dict, repr=False)
    _seen: tuple[Any, int] = (None, 0)  # the history of the last call, and its position then
    _meaning: tuple[Any, ...] = ()
    _count: int = 0
    _open: set[int] = attrs.field(factory=set, repr=False)
    _paused: dict[int, int] = attrs.field(factory=dict, repr=False)  # trial number -> the attempt that was paused
    _losses: dict[int, tuple[float, ...]] = attrs.field(factory=dict, repr=False)
    _standings: dict[int, Standing] = attrs.field(factory=dict, repr=False)

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

    def standings(
        self, history: History, ladder: tuple[int, ...], key_of: Callable[[History, int], int]
    ) -> Mapping[int, Standing]:
        """How the trials of each group stand, by the key of the group.

        A trial is in every rung that it has reached, with the loss of its first report at or beyond the rung (folds:
        the mean up to that report). Failed trials, invalid trials and those outside an amended space are in no rung.

        Args:
            history: The history.
            ladder: The steps of the rungs.
            key_of: Returns the key of a trial's group, given the trial's number; always the same one in a study.
        """
        seen, position = self._seen
        if history is seen and history.position == position:
            return self._standings
        self._follow(history, ladder)
        known, opened = history.next_number, history.open
        changed = self._open.difference(opened)
        changed.update(range(min(known, self._count), max(known, self._count)))
        paused_in = self._paused.get  # may be most of the trials; a paused trial goes on in another attempt
        changed.update([trial.number for trial in opened.values() if paused_in(trial.number) != trial.attempt])
        for number in changed:
            trial = history.trials[number] if number < known else Trial(number, {})
            self._update(history, ladder, trial, self._standings[key_of(history, number)])
        self._count, self._open, self._seen = known, set(opened), (history, history.position)
        return self._standings

    def losses_of(self, number: int) -> tuple[float, ...]:
        """A trial's losses at the rungs that it has reached, as of the last call of `standings`."""
        return self._losses.get(number, ())

    def _has_value(self, history: History, report: Report) -> bool:
        return self.metric is None or self.metric == history.objectives[0] or self.metric in report.metrics

    def _follow(self, history: History, ladder: tuple[int, ...]) -> None:
        """Clear the cache if the history is that of another study or definition, or a trial was invalidated."""
        meaning = (ladder, history.invalid_count, history.space)
        # a different space object means another study or an amended one; comparing the contents would be slow
        if meaning[:-1] != self._meaning[:-1] or meaning[-1] is not self._meaning[-1]:
            self._meaning, self._count, self._open = meaning, 0, set()
            self._paused, self._losses, self.memo = {}, {}, {}
            self._standings = defaultdict(lambda: Standing([[] for _ in ladder]))

    def _update(self, history: History, ladder: tuple[int, ...], trial: Trial, standing: Standing) -> None:
        """Move a trial to the place in its group that it has now."""
        number = trial.number
        before, now = self.losses_of(number), self._recorded(history, trial, ladder)
        if now != before:
            self._losses[number] = now
            for rung, loss in zip(standing.rungs, before, strict=False):
                del rung[bisect_left(rung, (loss, number))]
            for rung, loss in zip(standing.rungs, now, strict=False):
                insort(rung, (loss, number))
        if trial.state is State.PAUSED:
            self._paused[number], standing.idle[number] = trial.attempt, len(now) - 1
        else:
            self._paused.pop(number, None)
            standing.idle.pop(number, None)

    def _recorded(self, history: History, trial: Trial, ladder: tuple[int, ...]) -> tuple[float, ...]:
        if not trial.reports or trial.invalid is not None or trial.state is State.FAILED:
            return ()
        curve = history.curve(trial, self.metric, maximize=self.maximize)
        if not curve or not history.space.contains(trial.params):
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
