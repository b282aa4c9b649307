"""The rule `pasha`: ASHA on a ladder that grows while the ranking is not settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core import option
from hpt_stopping_halving.growth import height, noise
from hpt_stopping_halving.rung_rule import RungRule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History
    from hpt_stopping_halving.bracket import Bracket

__all__ = ["Pasha"]

_COMPARED = 50  # curves in the noise estimate, whose cost grows with their square
_LARGEST = 1e300  # differences of larger losses would overflow


@attrs.define(kw_only=True)
class Pasha(RungRule):
    """PASHA: promotes as `asha` does, on two rungs at first; adds a rung while the two highest rank trials differently.

    Bohdal et al. 2023, "PASHA: efficient HPO and NAS with progressive resource allocation". When no new trial will
    start, the best trial on these rungs is run to the end of the whole ladder. The rule needs an evaluator that can
    resume; without one it acts like `asha` in mode "stop", on the whole ladder.
    """

    tolerance: float | None = option(
        None,
        ge=0,
        help="Difference of losses that counts as a tie; default estimated from the best 50 curves that cross.",
    )

    def _pauses(self, history: History) -> bool:
        return history.resumable

    def _top(self, history: History, bracket: Bracket) -> int:
        complete = frozenset(history.complete.tolist())
        return height(bracket.rungs, lambda index: self._tolerance(history, bracket, index), complete)

    def _tolerance(self, history: History, bracket: Bracket, index: int) -> float:
        if self.tolerance is not None:
            return self.tolerance
        best = [number for _, number in bracket.rungs[index][:_COMPARED]]
        known = bracket.memo.get(index)
        if known is None or known[0] != best:  # of the same trials, the curves up to the rung are final
            known = bracket.memo[index] = best, noise(self._curves(history, best, bracket.ladder[index]))
        return known[1]

    def _curves(self, history: History, numbers: list[int], until: int) -> NDArray[np.float64]:
        """Losses of trials up to a step, shape (trials, steps); NaN where there is no report."""
        curves = [
            dict(history.curve(history.trials[number], self.metric, maximize=self.maximize)) for number in numbers
        ]
        steps = sorted({step for curve in curves for step in curve if step <= until})
        losses: NDArray[np.float64] = np.array([[curve.get(step, np.nan) for step in steps] for curve in curves])
        return losses.clip(-_LARGEST, _LARGEST)
