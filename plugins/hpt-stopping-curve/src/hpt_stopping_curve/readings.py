"""Numbers read from the complete trials, cached while the history grows."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Space, Trial

__all__ = ["Readings"]

_MOST_KEYS = 1_000  # where each trial reports at steps of its own, hardly any key is asked for again
_FIRST_ROWS = 64


class Readings(threading.local):  # studies in several threads may share a rule
    """A column of numbers per key. It never changes a result: a complete trial is final while the definition is."""

    def __init__(self) -> None:
        self._space: Space | None = None
        self._clear()

    def __reduce__(self) -> tuple[type[Readings], tuple[()]]:
        return Readings, ()  # a copied or unpickled rule starts with an empty cache

    def of(
        self, history: History, numbers: NDArray[np.intp], key: Hashable, read: Callable[[Trial], float]
    ) -> NDArray[np.float64]:
        """Read a number from each of these complete trials.

        Args:
            history: The study.
            numbers: The numbers of the trials.
            key: What is read; ``read`` must be the same function whenever the key is the same.
            read: Reads the number from a trial.
        """
        self._follow(history, numbers)
        if key not in self._columns and len(self._columns) == _MOST_KEYS:
            self._columns.clear()
        column = self._columns.setdefault(key, array("d"))
        column.extend(read(trial) for trial in self._trials[len(column) :])
        return np.asarray(column)[self._places[numbers]]

    def _clear(self) -> None:
        self._trials: list[Trial] = []
        self._places = np.empty(0, dtype=np.intp)  # trial number -> its place in the columns; -1: not seen yet
        self._columns: dict[Hashable, array[float]] = {}

    def _follow(self, history: History, numbers: NDArray[np.intp]) -> None:
        if history.space is not self._space:  # another study, or an amended one
            self._clear()
            self._space = history.space
        if len(self._places) < history.next_number:
            more = max(_FIRST_ROWS, 2 * history.next_number) - len(self._places)
            self._places = np.pad(self._places, (0, more), constant_values=-1)
        for number in numbers[self._places[numbers] < 0].tolist():
            self._trials.append(history.trials[number])
            self._places[number] = len(self._trials) - 1
