"""The results of trials at the rungs that they have reached."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import State

if TYPE_CHECKING:
    from hpt_core import History, Report, Trial

__all__ = ["Results", "Rung", "Standing"]

Rung = list[tuple[float, int]]
"""(loss, trial number) of all trials that have reached a rung, best first; of equals the earlier trial first."""


@attrs.define
class Standing:
    """How the trials of a group stand: those that compete with each other.

    Attributes:
        rungs: Their results at each rung.
        paused: The results of the paused ones, each at the highest rung that it has reached.
        losses: Trial number -> the trial's losses at the rungs that it has reached; not for a trial that is in no rung.
        members: The numbers of all of them, failed ones included.
        awaited: The numbers of those that have not ended and are not in ``paused``.
    """

    rungs: list[Rung]
    paused: list[Rung]
    losses: dict[int, tuple[float, ...]] = attrs.field(factory=dict)
    members: set[int] = attrs.field(factory=set)
    awaited: set[int] = attrs.field(factory=set)

    def update(self, number: int, losses: tuple[float, ...], state: State | None) -> None:
        """Move a trial to the place that it has now. Without a state, it is no member."""
        before = self.losses.pop(number, ())
        if before:
            _discard(self.paused[len(before) - 1], (before[-1], number))
            if before != losses:
                for rung, loss in zip(self.rungs, before, strict=False):
                    _discard(rung, (loss, number))
        if losses:
            self.losses[number] = losses
            if before != losses:
                for rung, loss in zip(self.rungs, losses, strict=False):
                    insort(rung, (loss, number))
            if state is State.PAUSED:
                insort(self.paused[len(losses) - 1], (losses[-1], number))
        (self.members.discard if state is None else self.members.add)(number)
        awaited = state in (State.WAITING, State.RUNNING) or (state is State.PAUSED and not losses)
        (self.awaited.add if awaited else self.awaited.discard)(number)

    @contextmanager
    def pausing(self, trial: Trial) -> Iterator[None]:
        """While this lasts, a trial that is in a rung stands as if it had paused at its last report."""
        losses = self.losses[trial.number]
        self.update(trial.number, losses, State.PAUSED)
        try:
            yield
        finally:
            self.update(trial.number, losses, trial.state)


def _discard(rung: Rung, result: tuple[float, int]) -> None:
    place = bisect_left(rung, result)
    if place < len(rung) and rung[place] == result:
        del rung[place]


@attrs.define(eq=False, slots=False)
class Results(threading.local):  # studies in several threads may share a rule
    """Reads the results at the rungs from a history and keeps them sorted while it grows.

    This is a cache, which never changes a result. It looks again at the trials that have changed since the last call,
    among them those that are hidden, or no longer hidden, in the view of a reproducible study. It is cleared when the
    study or its definition changes, and when a trial is invalidated.

    Attributes:
        metric: The objective or metric to compare; None: the first objective.
        maximize: Whether larger is better; only for a metric that is not an objective.
        with_paused: The keys of the groups with paused trials, as of the last call of `standings`.
        memo: Rung -> trials, and what the rule has computed from their final results there. Cleared with the cache.
    """

    metric: str | None
    maximize: bool
    with_paused: set[int] = attrs.field(factory=set, repr=False)
    memo: dict[int, tuple[list[int], float]] = attrs.field(factory=dict, repr=False)
    _meaning: tuple[Any, ...] = ()
    _seen: Any = None  # the history of the last call
    _position: int = 0  # its position then
    _count: int = 0  # the number of its trials then
    _running: set[int] = attrs.field(factory=set, repr=False)
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
        if history is self._seen and history.position == self._position:
            return self._standings
        self._follow(history, ladder)
        known = history.next_number
        changed = {*history.changed_since(self._position).tolist(), *self._running}
        changed.update(range(min(known, self._count), max(known, self._count)))
        for number in changed:
            (losses, state), key = self._recorded(history, number, ladder), key_of(history, number)
            standing = self._standings[key]
            standing.update(number, losses, state)
            (self.with_paused.add if any(standing.paused) else self.with_paused.discard)(key)
            (self._running.add if state is State.RUNNING else self._running.discard)(number)
        self._seen, self._position, self._count = history, history.position, known
        return self._standings

    def _has_value(self, history: History, report: Report) -> bool:
        return self.metric is None or self.metric == history.objectives[0] or self.metric in report.metrics

    def _follow(self, history: History, ladder: tuple[int, ...]) -> None:
        """Clear the cache if the history is that of another study or definition, or a trial was invalidated."""
        meaning = (ladder, history.invalid_count, history.space)
        # a different space object means another study or an amended one; comparing the contents would be slow
        if meaning[:-1] != self._meaning[:-1] or meaning[-1] is not self._meaning[-1]:
            self._meaning, self._position, self._count = meaning, 0, 0
            self._running, self.with_paused, self.memo = set(), set(), {}
            self._standings = defaultdict(lambda: Standing([[] for _ in ladder], [[] for _ in ladder]))

    def _recorded(
        self, history: History, number: int, ladder: tuple[int, ...]
    ) -> tuple[tuple[float, ...], State | None]:
        """The losses and the state of a trial, for `Standing.update`."""
        trial = history.trials[number] if number < history.next_number else None
        if trial is None or trial.invalid is not None or not history.space.contains(trial.params):
            return (), None
        curve = history.curve(trial, self.metric, maximize=self.maximize)
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
