"""The rule `divergence`: stops curves that diverge."""

from __future__ import annotations

import math
from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hpt_core import Stop, option
from hpt_stopping_curve.audited import Audited, Curve, worse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Trial

__all__ = ["Divergence"]

_STEP = attrgetter("step")
_TO_SIGMA = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


@attrs.define(kw_only=True)
class Divergence(Audited):
    """Stops a trial whose curve diverges: it is far worse than its own best report, and stays so.

    Let e be the excess of a report over the trial's best one. If ``min_trials`` complete trials have reported up to
    this step, the report diverges if e exceeds ``spreads`` times their robust spread there (1.4826 median absolute
    deviations) and the trial is worse than their median. With fewer trials, or if they do not differ, it diverges if e
    exceeds ``factor`` times the larger of the trial's own gain so far (first report minus best) and the magnitude of
    its best report. The trial is stopped if its last ``reports`` reports all diverge. Folds are not judged.
    """

    spreads: float = option(
        5.0, gt=0, help="Excess over the trial's own best report, in robust spreads of the other trials."
    )
    factor: float = option(
        10.0, gt=0, help="Excess as a multiple of the trial's own gain, if too few trials can be compared."
    )
    reports: int = option(2, ge=1, help="Reports in a row that must diverge; with 1, a single spike stops a trial.")
    min_trials: int = option(5, ge=2, help="Complete trials needed to compare with their spread.")

    def _range(self, steps: int) -> tuple[int, int, str]:
        return self.reports + 1, steps, "reports"

    def would_stop(self, history: History, curve: Curve, others: NDArray[np.intp]) -> Stop | None:
        """Stop if each of the last ``reports`` reports is far above the best report before them."""
        if len(curve) <= self.reports:
            return None
        losses = [loss for _, loss in curve]
        before = losses[: -self.reports]
        best, gain = min(before), max(losses[0] - min(before), abs(min(before)))
        late = curve[-self.reports :]
        if not all(worse(loss, best) for _, loss in late):
            return None
        evidence: dict[str, Any] = {}
        for step, loss in late:
            evidence = self._evidence(history, step, loss, best, gain, others)
            if not evidence:
                return None
        far = f"{evidence['times']:.3g} {evidence['unit']} from its best, {evidence['best']:g}"
        return Stop(f"diverged: {evidence['value']:g} at step {late[-1][0]} is {far}", evidence)

    def _evidence(
        self, history: History, step: int, loss: float, best: float, gain: float, others: NDArray[np.intp]
    ) -> dict[str, Any]:
        """The evidence that the trial diverges at one report; empty if it does not."""
        limit, scale, unit = self.factor, gain, "times its gain"
        at = self._at(history, step, others)
        if len(at) >= self.min_trials:
            median = float(np.median(at))
            spread = _TO_SIGMA * float(np.median(np.abs(at - median)))
            if not worse(loss, median):
                return {}
            if spread > 0:
                limit, scale, unit = self.spreads, spread, "robust spreads"
        excess = loss - best
        if scale <= 0 or not worse(excess, limit * scale):
            return {}
        signed = {"value": self.value(history, loss), "best": self.value(history, best)}
        return {"step": step, **signed, "times": excess / scale, "unit": unit, "limit": limit, "trials": len(at)}

    def _at(self, history: History, step: int, others: NDArray[np.intp]) -> NDArray[np.float64]:
        """The losses of the others at a step: their last report up to there."""
        read = self.reader(history)

        def loss(trial: Trial) -> float:
            seen = bisect_right(trial.reports, step, key=_STEP)
            return read(trial.reports[seen - 1]) if seen else math.nan

        losses = self._readings.of(history, others, step, loss)
        return losses[np.isfinite(losses)]
