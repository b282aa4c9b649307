"""Averages of the complete trials' reports, cached and kept sorted while the history grows."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpt_stopping_basic.watch import mean

if TYPE_CHECKING:
    from hpt_core import History, Space, Trial

__all__ = ["Key", "Reference", "interpolated"]

Key = int | tuple[int, ...]
"""The reports to average: all up to a step (a curve), or exactly these steps (folds)."""


def interpolated(ordered: Sequence[float], percentile: float) -> float:
    """A percentile of sorted numbers, interpolated linearly as by `numpy.percentile`."""
    place, share = divmod((len(ordered) - 1) * percentile / 100, 1)
    low = ordered[int(place)]
    return low + share * (ordered[min(int(place) + 1, len(ordered) - 1)] - low)


class Reference(threading.local):  # studies in several threads may share a rule
    """A cache of sorted averages over the complete trials that satisfy the study's constraints, by key.

    The cache never changes a result. The reports of a complete trial are final, and the cache follows every trial that
    joins or leaves the set, such as one that was declared invalid or is not yet visible in a reproducible study.

    Args:
        metric: The objective or metric to average; None: the first objective.
        maximize: Whether larger is better; only for a metric that is not an objective.
    """

    def __init__(self, metric: str | None, maximize: bool) -> None:
        self._metric = metric
        self._maximize = maximize
        self._space: Space | None = None
        self._clear()

    def __reduce__(self) -> tuple[type[Reference], tuple[str | None, bool]]:
        return Reference, (self._metric, self._maximize)  # a copied or unpickled rule starts with an empty cache

    def averages(self, history: History, key: Key) -> Sequence[float]:
        """The sorted averages of all these trials that have the reports of ``key``."""
        self._follow(history)
        column = self._columns.get(key)
        if column is None:
            found = (self._average(history, trial, key) for trial in self._trials.values())
            column = self._columns[key] = array("d", sorted(value for value in found if value is not None))
        return column

    def _clear(self) -> None:
        self._numbers = np.empty(0, dtype=np.intp)
        self._trials: dict[int, Trial] = {}
        self._columns: dict[Key, array[float]] = {}

    def _follow(self, history: History) -> None:
        if history.space is not self._space:  # another study, or an amended one
            self._clear()
            self._space = history.space
        before, now = self._numbers, history.feasible
        if before is now or np.array_equal(before, now):
            return
        for number in np.setdiff1d(before, now, assume_unique=True).tolist():
            gone = self._trials.pop(number)
            for key, column in self._columns.items():
                value = self._average(history, gone, key)
                if value is not None:
                    del column[bisect_left(column, value)]
        for number in np.setdiff1d(now, before, assume_unique=True).tolist():
            new = self._trials[number] = history.trials[number]
            for key, column in self._columns.items():
                value = self._average(history, new, key)
                if value is not None:
                    insort(column, value)
        self._numbers = now

    def _average(self, history: History, trial: Trial, key: Key) -> float | None:
        curve = history.curve(trial, self._metric, maximize=self._maximize)
        if isinstance(key, int):
            reached = bool(curve) and curve[-1][0] >= key
            losses = [loss for step, loss in curve if step <= key] if reached else []
        else:
            by_step = dict(curve)
            losses = [by_step[step] for step in key if step in by_step]
            losses = losses if len(losses) == len(key) else []
        return mean(losses) if losses else None
