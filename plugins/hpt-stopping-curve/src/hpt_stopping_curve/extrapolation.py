"""The rule `extrapolation`: stops curves that are forecast to end worse than the incumbent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core import Stop, option
from hpt_stopping_curve.audited import Audited, Curve
from hpt_stopping_curve.laws import Law, fit, forecast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Trial

__all__ = ["Extrapolation"]

_LAWS: tuple[Law, Law] = ("power", "exponential")


@attrs.define(kw_only=True)
class Extrapolation(Audited):
    """Stops a trial whose curve, extrapolated to the last step, will hardly beat the incumbent.

    The laws a + b t^-c and a + b exp(-c t) are fitted to the reports so far (as in Domhan, Springenberg and Hutter
    2015, with two laws and no sampling). The trial is stopped if the probability that its final loss is below that of
    all complete trials (those that satisfy the study's constraints) is under ``chance``. A trial that is already as
    good always continues. A share of the trials is never stopped, to estimate how often the rule is wrong. Folds are
    not judged.
    """

    chance: float = option(
        0.05, gt=0, lt=0.5, help="Probability of beating the incumbent below which a trial is stopped."
    )
    min_share: float = option(0.2, ge=0, le=1, help="Share of the steps before it may stop a trial.")
    min_points: int = option(5, ge=5, help="Reports before it may stop a trial.")

    def _range(self, steps: int) -> tuple[int, int, str]:
        share = math.ceil(self.min_share * steps)
        first, option = max((self.min_points, "min_points"), (share, "min_share"))
        return first, steps - 1, option

    def would_stop(self, history: History, curve: Curve, others: NDArray[np.intp]) -> Stop | None:
        """Stop if the curve ends below the incumbent with a probability under ``chance``.

        If the evaluator does not declare its steps, a whole trial has as many as the longest of the others.
        """
        if len(curve) < self.min_points:
            return None
        horizon = history.steps or self._longest(history, others)
        step = curve[-1][0]
        if step < self.min_share * horizon or step >= horizon:
            return None
        ends = self.ends(history, others)
        if not len(ends) or min(loss for _, loss in curve) <= ends.min():
            return None
        return self._judged(history, np.array(curve, dtype=np.float64), horizon, float(ends.min()))

    def _longest(self, history: History, others: NDArray[np.intp]) -> int:
        def steps(trial: Trial) -> float:
            return trial.reports[-1].step if trial.reports else 0

        return int(self._readings.of(history, others, "steps", steps).max(initial=0))

    def _judged(
        self, history: History, curve: np.ndarray[tuple[int, int], np.dtype[np.float64]], horizon: int, incumbent: float
    ) -> Stop | None:
        steps, losses = curve.T
        unit = max(float(np.abs(losses).max()), abs(incumbent))  # the squares of a diverging curve would overflow
        ahead = forecast(steps, losses / unit, horizon)
        chance = ahead.below(incumbent / unit)
        if chance >= self.chance:
            return None
        best = min((fit(steps, losses / unit, law) for law in _LAWS), key=lambda found: found.rss)
        expected, limit = self.value(history, unit * ahead.mean), self.value(history, incumbent)
        spread = unit * ahead.spread
        evidence = {
            "step": int(steps[-1]),
            "horizon": horizon,
            "chance": chance,
            "expected": expected,
            "spread": spread,
            "incumbent": limit,
            "law": best.law,
            "a": unit * best.a,
            "b": unit * best.b,
            "c": best.c,
        }
        reason = f"would end at {expected:.4g} ± {spread:.2g}; chance of beating {limit:.4g}: {chance:.2g}"
        return Stop(reason, evidence)
