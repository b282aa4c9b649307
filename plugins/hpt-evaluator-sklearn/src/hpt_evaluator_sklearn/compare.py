"""Is the winner better than the default configuration? Paired over folds, with an interval.

Training sets of cross-validation overlap, so that the variance of a mean over folds is underestimated by s^2 / k.
Nadeau & Bengio (2003), Inference for the Generalization Error, section 5, correct it to
(1/k + n_test/n_train) s^2; with t quantiles of k - 1 degrees of freedom.
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
"""Of the interval."""

_ROUNDING = 1e-12
"""Relative to scores: differences that lie no further apart are the same."""


@attrs.frozen
class Comparison:
    """How much better a winner is than the default configuration.

    Attributes:
        name: What the score is called.
        best: Mean score of the winner.
        default: Mean score of the default configuration.
        gain: Mean paired difference, in the direction of better: positive means that the winner is better.
        low: Lower end of the interval of the gain; None with one fold, or if the difference is the same on each.
        high: Its upper end; None likewise.
        folds: How many paired folds there are.
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
        """The same in words, with what it is worth."""
        worse = "worse" if self.gain < 0 else "better"
        said = (
            f"The winner's {self.name} is {self.best:.4g}, the default configuration's {self.default:.4g}:"
            f" {abs(self.gain):.3g} {worse}"
        )
        if self.folds == 1:
            said += " on one split, which tells nothing of its uncertainty."
        elif self.low is None or self.high is None:
            said += f" over {self.folds} paired folds, by the same on each, which tells nothing of its uncertainty."
        else:
            unsure = ", which may be chance" if self.low <= 0 <= self.high else ""
            interval = f"{_CONFIDENCE:.0%} interval {self.low:.3g} to {self.high:.3g}"
            said += f" over {self.folds} paired folds ({interval}){unsure}."
        return f"{said} The winner is the best of many on these same folds, so this gain is biased upwards"


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
        best_scores: The winner's score on each fold.
        default_scores: The default configuration's on the same folds, in the same order.
        n_train: Rows to train on in a fold, on average.
        n_test: Rows to score on in a fold, on average.
        name: What the score is called, for the text.
        direction: ``"maximize"`` or ``"minimize"``: which scores are better.

    Returns:
        The estimate, its corrected interval, and both in words.

    Raises:
        UsageError: If the folds do not pair up.
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
