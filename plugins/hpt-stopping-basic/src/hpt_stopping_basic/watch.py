"""What a rule watches: an objective or any metric, as losses, and back in the user's sign for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hpt_core import option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Trial

__all__ = ["Watching", "mean", "worse"]

_SAME = 1e-9  # relative: what differs by less differs by rounding


@attrs.define(kw_only=True)
class Watching:
    """What all rules that watch a number have in common."""

    metric: str | None = option(
        None, help="The objective or metric to watch, by name; without one the (first) objective."
    )
    maximize: bool = option(False, help="Whether more is better, for a metric that is no objective.")

    def _name(self, history: History) -> str:
        return history.objectives[0] if self.metric is None else self.metric

    def _objective(self, history: History) -> int | None:
        """The index of the watched objective; None if it is another metric."""
        name = self._name(history)
        return history.objectives.index(name) if name in history.objectives else None

    def _value(self, history: History, loss: float) -> float:
        """A loss in the user's sign; the sign is its own inverse, so also a value as a loss."""
        index = self._objective(history)
        if index is not None:
            return float(history.value_of(loss, index))
        return -loss if self.maximize else loss

    def _curve(self, history: History, trial: Trial) -> list[tuple[int, float]]:
        return history.curve(trial, self.metric, maximize=self.maximize)

    def _results(self, history: History, numbers: NDArray[np.intp]) -> NDArray[np.float64]:
        """The losses with which trials ended, shape (len(numbers),); NaN where there is none."""
        index = self._objective(history)
        if index is not None:
            column: NDArray[np.float64] = history.losses[numbers, index]
            return column
        found: list[Any] = [history.trials[i].metrics.get(self._name(history), math.nan) for i in numbers]
        values = np.array(found, dtype=np.float64)
        return -values if self.maximize else values


def mean(losses: Sequence[float]) -> float:
    """The mean of at least one number, whatever their order."""
    try:
        return math.fsum(losses) / len(losses)
    except OverflowError:  # of a training that blew up
        return math.fsum(loss / len(losses) for loss in losses)


def worse(loss: float, bound: float) -> bool:
    """Whether a loss is above a bound by more than rounding: ties never stop anything."""
    return loss > bound and not math.isclose(loss, bound, rel_tol=_SAME)
