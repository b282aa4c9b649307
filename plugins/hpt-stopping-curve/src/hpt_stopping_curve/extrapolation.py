"""A rule that carries a curve on and stops it where it will not get there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core import Stop, option
from hpt_stopping_curve.audited import Audited, Curve
from hpt_stopping_curve.laws import Law, fit, forecast

if TYPE_CHECKING:
    from hpt_core import History

__all__ = ["Extrapolation"]

_LAWS: tuple[Law, Law] = ("power", "exponential")


@attrs.define(kw_only=True)
class Extrapolation(Audited):
    """Stops a trial whose curve, carried on to the last step, will hardly beat the incumbent.

    The laws a + b t^-c and a + b exp(-c t) are fitted to the reports so far (as in Domhan, Springenberg
    and Hutter 2015, with two laws and no sampling); the trial is stopped when the probability that it ends below the
    lowest end of the complete trials (that keep the study's constraints) is under ``chance``. A trial that is as good
    as that already always goes on. A few are never stopped, and tell how often it is wrong. Says nothing about folds.
    """

    chance: float = option(0.05, gt=0, lt=0.5, help="Probability of beating the incumbent below which a trial ends.")
    min_share: float = option(0.2, ge=0, le=1, help="Share of the steps that a trial always has.")
    min_points: int = option(5, ge=5, help="Reports that a trial always has.")

    def would_stop(self, history: History, curve: Curve, others: Iterable[int]) -> Stop | None:
        """Stop where the end of the curve is below the incumbent with a probability under ``chance``.

        Without a declared number of steps, a whole trial has as many as the longest of the others.
        """
        if len(curve) < self.min_points:
            return None
        rivals = list(others)
        reports = (history.trials[number].reports for number in rivals)
        last = (found[-1].step for found in reports if found)
        horizon = history.steps or max(last, default=0)
        step = curve[-1][0]
        if step < self.min_share * horizon or step >= horizon:
            return None
        ends = self.ends(history, rivals)
        if not ends or min(loss for _, loss in curve) <= min(ends):
            return None
        return self._judged(history, np.array(curve, dtype=np.float64), horizon, min(ends))

    def _judged(
        self, history: History, curve: np.ndarray[tuple[int, int], np.dtype[np.float64]], horizon: int, incumbent: float
    ) -> Stop | None:
        steps, losses = curve.T
        unit = max(float(np.abs(losses).max()), abs(incumbent))  # squares of what blows up would overflow
        ahead = forecast(steps, losses / unit, horizon)
        chance = ahead.below(incumbent / unit)
        if chance >= self.chance:
            return None
        best = min((fit(steps, losses / unit, law) for law in _LAWS), key=lambda found: found.rss)
        expected, limit = self.signed(history, unit * ahead.mean), self.signed(history, incumbent)
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
