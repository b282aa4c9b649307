"""The values by fold of the trials that have ended, cached while the history grows."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from hpt_stopping_folds.differences import variance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Space, Trial

    Array = NDArray[np.float64]

__all__ = ["Ended", "by_fold"]

_MOST = 1e100  # squares and sums of larger losses would overflow
_FIRST_ROWS = 64
_UNREAD = -1  # a count


def by_fold(series: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Fold -> value, at most 1e100 in magnitude."""
    return {fold: max(-_MOST, min(_MOST, value)) for fold, value in series}


class Ended(threading.local):  # studies in several threads may share a rule
    """A table of values by fold, which never changes a result: the reports of a trial that has ended are final."""

    def __init__(self) -> None:
        self._space: Space | None = None
        self._clear()

    def __reduce__(self) -> tuple[type[Ended], tuple[()]]:
        return Ended, ()  # a copied or unpickled rule starts with an empty cache

    def counts(self, history: History, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        """How many folds each of these trials has done; all must have ended."""
        self._follow(history, numbers)
        return self._counts[numbers]

    def beside(self, trial: Trial, history: History, others: NDArray[np.intp]) -> tuple[Array, Array]:
        """The values of a trial and of others that have ended.

        Returns:
            The values, (1 + others, folds), with NaN where a trial has not done a fold; row 0 is ``trial``. And the
            variance within each trial, (1 + others,).
        """
        self._follow(history, others)
        self._read(trial)
        rows = np.append(trial.number, others)
        found = self._values[rows], self._variances[rows]
        self._counts[trial.number] = _UNREAD  # it has not ended
        return found

    def _clear(self) -> None:
        self._folds: list[int] = []
        self._values = np.empty((0, 0))  # row i is trial i
        self._variances = np.empty(0)
        self._counts = np.empty(0, dtype=np.intp)

    def _follow(self, history: History, numbers: NDArray[np.intp]) -> None:
        """Read those of these trials that were not read yet."""
        if history.space is not self._space:  # another study, or an amended one
            self._clear()
            self._space = history.space
        if len(self._counts) < history.next_number:
            more = max(_FIRST_ROWS, 2 * history.next_number) - len(self._counts)
            self._values = np.pad(self._values, ((0, more), (0, 0)), constant_values=math.nan)
            self._variances = np.pad(self._variances, (0, more))
            self._counts = np.pad(self._counts, (0, more), constant_values=_UNREAD)
        for number in numbers[self._counts[numbers] == _UNREAD].tolist():
            self._read(history.trials[number])

    def _read(self, trial: Trial) -> None:
        row = by_fold((report.step, report.value) for report in trial.reports)
        for fold in row.keys() - set(self._folds):
            place = bisect_left(self._folds, fold)
            self._folds.insert(place, fold)
            self._values = np.insert(self._values, place, math.nan, axis=1)
        self._values[trial.number] = [row.get(fold, math.nan) for fold in self._folds]
        self._variances[trial.number] = variance_of(list(row.values()))
        self._counts[trial.number] = len(row)
