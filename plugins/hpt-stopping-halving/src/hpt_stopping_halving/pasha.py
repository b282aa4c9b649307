"""PASHA: ASHA whose ladder grows only while the ranking is not settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core import option
from hpt_stopping_halving.climb import Climb, Group
from hpt_stopping_halving.competition import next_up
from hpt_stopping_halving.growth import height, noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History
    from hpt_stopping_halving.results import Rung

__all__ = ["Pasha"]

_COMPARED = 50  # curves in the estimate of noise: its cost grows with their square


@attrs.define(kw_only=True)
class Pasha(Climb):
    """PASHA: as `asha` that promotes, on two rungs at first and on one more while the two highest rank differently.

    Bohdal et al. 2023, "PASHA: efficient HPO and NAS with progressive resource allocation". Where no new trial will
    come the best goes on, to the end of the whole ladder. Needs an evaluator that can resume; without one it is `asha`
    that stops, on the whole ladder.
    """

    tolerance: float | None = option(
        None, ge=0, help="A difference that is none; default estimated from the best 50 curves that cross each other."
    )

    def _pauses(self, history: History) -> bool:
        return history.resumable

    def _key(self, history: History, number: int) -> int:  # noqa: ARG002 - one group for all
        return 0

    def _group(self, history: History, key: int) -> Group:  # noqa: ARG002
        return Group(0, range(history.next_number))

    def _next(self, history: History, group: Group, rungs: list[Rung], idle: set[int]) -> tuple[int, int] | None:
        last = len(rungs) - 1
        top = min(last, height(rungs, lambda index: self._tolerance(history, rungs, index)) if last else 0)
        return next_up(rungs, idle, self.eta, group.first, top)

    def _tolerance(self, history: History, rungs: list[Rung], index: int) -> float:
        if self.tolerance is not None:
            return self.tolerance
        best = [number for _, number in rungs[index][:_COMPARED]]
        return noise(self._curves(history, best, self._ladder(history)[index]))

    def _curves(self, history: History, numbers: list[int], until: int) -> NDArray[np.float64]:
        """Losses of trials up to a step, (trials, steps); NaN where there is no report."""
        curves = [
            dict(history.curve(history.trials[number], self.metric, maximize=self.maximize)) for number in numbers
        ]
        steps = sorted({step for curve in curves for step in curve if step <= until})
        return np.array([[curve.get(step, np.nan) for step in steps] for curve in curves])
