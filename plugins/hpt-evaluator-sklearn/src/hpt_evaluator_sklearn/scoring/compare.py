"""Compare the winner with the default configuration, paired over folds, with a confidence interval.

The training sets of cross-validation overlap, so s^2 / k underestimates the variance of a mean over folds.
Nadeau & Bengio (2003), Inference for the Generalization Error, section 5, correct it to
(1/k + n_test/n_train) s^2, with t quantiles of k - 1 degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
from scipy.stats import t as student

from hpt_core import UsageError

__all__ = ["Comparison", "compare"]

_CONFIDENCE = 0.95
"""Level of the confidence interval."""

_ROUNDING = 1e-12
"""Differences within this tolerance, relative to the scores, count as equal."""


@attrs.frozen
class Comparison:
    """How much better a winner is than the default configuration.

    Attributes:
        name: Name of the score.
        best: Mean score of the winner.
        default: Mean score of the default configuration.
        gain: Mean paired difference; positive if the winner is better.
        low: Lower end of the confidence interval of the gain; None with one fold, or if all differences are equal.
        high: Upper end of the interval; None in the same cases.
        folds: Number of paired folds.
    """

    name: str
    best: float
    default: float
    gain: float
    low: float | None
    high: float | None
    folds: int

    @property
    def text(self) -> str:
        """The comparison and its uncertainty in words."""
        if not self.gain and self.low is None:
            where = "one split" if self.folds == 1 else f"each of {self.folds} paired folds"
            return f"The winner and the default configuration have the same {self.name} on {where}, {self.best:.4g}."
        worse = "worse" if self.gain < 0 else "better"
        text = (
            f"The winner's {self.name} is {self.best:.4g}, the default configuration's {self.default:.4g}:"
            f" {abs(self.gain):.3g} {worse}"
        )
        if self.folds == 1:
            return f"{text} on one split, so the uncertainty is unknown."
        if self.low is None or self.high is None:
            return f"{text} by the same amount on each of {self.folds} paired folds, so the uncertainty is unknown."
        unsure = ", which may be chance" if self.low <= 0 <= self.high else ""
        interval = f"{_CONFIDENCE:.0%} interval {self.low:.3g} to {self.high:.3g}"
        return f"{text} over {self.folds} paired folds ({interval}){unsure}."


def compare(
    best_scores: Sequence[float],
    default_scores: Sequence[float],
    n_train: float,
    n_test: float,
    *,
    name: str = "score",
    direction: str = "maximize",
) -> Comparison:
    """Compare a winner with the default configuration.

    Args:
        best_scores: Score of the winner on each fold.
        default_scores: Score of the default configuration on the same folds, in the same order.
        n_train: Mean number of training rows of a fold.
        n_test: Mean number of test rows of a fold.
        name: Name of the score, for the text.
        direction: ``"maximize"`` or ``"minimize"``: which scores are better.

    Returns:
        The estimated gain, its corrected interval, and a text.

    Raises:
        UsageError: If the two have different numbers of scores, or none.
    """
    if len(best_scores) != len(default_scores) or not len(best_scores):
        msg = f"Scores must pair up fold by fold. Got {len(best_scores)} and {len(default_scores)}."
        raise UsageError(msg)
    best, default = np.asarray(best_scores, dtype=float), np.asarray(default_scores, dtype=float)
    differences = best - default if direction == "maximize" else default - best
    k = len(differences)
    gain = float(differences.mean())
    low = high = None
    if np.ptp(differences) > _ROUNDING * np.abs([best, default]).max():
        deviation = math.sqrt((1 / k + n_test / n_train) * float(differences.var(ddof=1)))
        half = float(student.ppf((1 + _CONFIDENCE) / 2, k - 1)) * deviation
        low, high = gain - half, gain + half
    return Comparison(name, float(best.mean()), float(default.mean()), gain, low, high, k)
