"""What trials have done by fold, cached for those that have ended while the history grows."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from hpt_stopping_folds.differences import variance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Space, Trial

    Array = NDArray[np.float64]

__all__ = ["Ended", "FoldLosses", "by_fold", "mean_over"]

FoldLosses = Mapping[int, float]
"""Fold -> loss of one trial."""

_MOST = 1e100  # squares and sums of larger losses would overflow
_FIRST_ROWS = 64
_UNREAD = -1  # a count


def by_fold(series: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Fold -> value, at most 1e100 in magnitude."""
    return {fold: max(-_MOST, min(_MOST, value)) for fold, value in series}


def mean_over(losses: FoldLosses) -> float:
    """The mean over all folds of a trial; it does not depend on their order."""
    return math.fsum(losses.values()) / len(losses)


class Ended(threading.local):  # studies in several threads may share a rule
    """Columns by trial number, which never change a result: the reports of a trial that has ended are final.

    Args:
        metric: The objective or metric that the rule compares; None: the first objective.
        maximize: Whether larger is better; only for a metric that is not an objective.
    """

    def __init__(self, metric: str | None, maximize: bool) -> None:
        self._metric = metric
        self._maximize = maximize
        self._space: Space | None = None
        self._clear()

    def __reduce__(self) -> tuple[type[Ended], tuple[str | None, bool]]:
        return Ended, (self._metric, self._maximize)  # a copied or unpickled rule starts with an empty cache

    def compared(self, history: History, numbers: NDArray[np.intp]) -> tuple[NDArray[np.intp], Array]:
        """On how many folds each of these trials has the metric, and its mean loss (0 without any); all have ended."""
        self._follow(history, numbers)
        return self._counts[numbers], self._means[numbers]

    def beside(self, trial: Trial, history: History, others: NDArray[np.intp]) -> tuple[Array, Array]:
        """The values of the first objective of a trial and of others, which have ended.

        Others that have done a single fold are left out, as they say nothing about how folds differ.

        Returns:
            The values, (1 + others, folds), with NaN where a trial has not done a fold; row 0 is ``trial``. And the
            variance within each trial, (1 + others,).
        """
        self._follow(history, others)
        others = others[self._several[others]]
        row, variance = self._row(trial)
        return np.vstack([row, self._values[others]]), np.append(variance, self._variances[others])

    def _clear(self) -> None:
        self._folds: list[int] = []
        self._values = np.empty((0, 0))
        self._variances, self._means = np.empty(0), np.empty(0)
        self._counts, self._several = np.empty(0, dtype=np.intp), np.empty(0, dtype=np.bool_)

    def _follow(self, history: History, numbers: NDArray[np.intp]) -> None:
        """Read those of these trials that were not read yet."""
        if history.space is not self._space:  # another study, or an amended one
            self._clear()
            self._space = history.space
        if len(self._counts) < history.next_number:
            more = max(_FIRST_ROWS, 2 * history.next_number) - len(self._counts)
            self._values = np.pad(self._values, ((0, more), (0, 0)), constant_values=math.nan)
            self._variances, self._means = np.pad(self._variances, (0, more)), np.pad(self._means, (0, more))
            self._counts = np.pad(self._counts, (0, more), constant_values=_UNREAD)
            self._several = np.pad(self._several, (0, more))
        for number in numbers[self._counts[numbers] == _UNREAD].tolist():
            trial = history.trials[number]
            row, self._variances[number] = self._row(trial)
            self._values[number], self._several[number] = row, len(trial.reports) > 1
            losses = by_fold(history.curve(trial, self._metric, maximize=self._maximize))
            self._means[number] = mean_over(losses) if losses else 0.0
            self._counts[number] = len(losses)

    def _row(self, trial: Trial) -> tuple[list[float], float]:
        """A trial's values of the first objective, one per column of the table, and their variance."""
        known = by_fold((report.step, report.value) for report in trial.reports)
        for fold in known.keys() - set(self._folds):
            place = bisect_left(self._folds, fold)
            self._folds.insert(place, fold)
            self._values = np.insert(self._values, place, math.nan, axis=1)
        return [known.get(fold, math.nan) for fold in self._folds], variance_of(list(known.values()))
