"""Running averages of the complete trials, kept sorted while the history grows."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpt_stopping_basic.watch import mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Trial

__all__ = ["Key", "Reference", "interpolated"]

Key = int | tuple[int, ...]
"""What an average is over: all reports up to a step (a curve), or exactly these steps (folds)."""

Curve = Callable[["History", "Trial"], list[tuple[int, float]]]


def interpolated(ordered: Sequence[float], percentile: float) -> float:
    """A percentile of sorted numbers, linear between neighbours (as `numpy.percentile`)."""
    place, share = divmod((len(ordered) - 1) * percentile / 100, 1)
    low = ordered[int(place)]
    return low + share * (ordered[min(int(place) + 1, len(ordered) - 1)] - low)


class Reference:
    """Sorted averages of the complete trials that keep the study's constraints, by key.

    A memory of what the history says, which never changes an answer: complete trials keep their reports, and
    whatever joins or leaves the set (declared invalid, outside an amended space or beyond amended constraints, not yet
    visible in a reproducible study) is added or taken out.

    Args:
        curve: Gives a trial's reports as (step, loss).
    """

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._meaning: object = None
        self._numbers: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._trials: dict[int, Trial] = {}
        self._columns: dict[Key, array[float]] = {}

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # a copy of the rule finds out for itself

    def averages(self, history: History, key: Key) -> Sequence[float]:
        """The averages of all these trials that have the evidence which ``key`` asks for, sorted."""
        self._follow(history)
        column = self._columns.get(key)
        if column is None:
            found = (self._average(history, trial, key) for trial in self._trials.values())
            column = self._columns[key] = array("d", sorted(value for value in found if value is not None))
        return column

    def _follow(self, history: History) -> None:
        numbers = history.feasible
        meaning = (history.objectives, history.directions, history.evidence)
        if meaning != self._meaning or not self._knows(history):
            self._meaning, self._numbers, self._trials, self._columns = meaning, numbers[:0], {}, {}
        if numbers is self._numbers:
            return
        common = min(len(numbers), len(self._numbers))
        differing = np.flatnonzero(numbers[:common] != self._numbers[:common])
        same = int(differing[0]) if len(differing) else common
        gone, come = set(self._numbers[same:].tolist()), set(numbers[same:].tolist())
        for number in gone - come:
            self._take_out(history, self._trials.pop(number))
        for number in come - gone:
            self._trials[number] = history.trials[number]
            self._add(history, history.trials[number])
        self._numbers = numbers

    def _knows(self, history: History) -> bool:
        """Whether the history is the one followed so far, or a view of it: they share their finished trials."""
        if not len(self._numbers):
            return True
        first = int(self._numbers[0])
        return first < len(history.trials) and history.trials[first] is self._trials[first]

    def _add(self, history: History, trial: Trial) -> None:
        for key, column in self._columns.items():
            value = self._average(history, trial, key)
            if value is not None:
                insort(column, value)

    def _take_out(self, history: History, trial: Trial) -> None:
        for key, column in self._columns.items():
            value = self._average(history, trial, key)
            if value is not None:
                del column[bisect_left(column, value)]

    def _average(self, history: History, trial: Trial, key: Key) -> float | None:
        curve = self._curve(history, trial)
        if isinstance(key, int):
            reached = bool(curve) and curve[-1][0] >= key
            losses = [loss for step, loss in curve if step <= key] if reached else []
        else:
            by_step = dict(curve)
            losses = [by_step[step] for step in key if step in by_step]
            losses = losses if len(losses) == len(key) else []
        return mean(losses) if losses else None
