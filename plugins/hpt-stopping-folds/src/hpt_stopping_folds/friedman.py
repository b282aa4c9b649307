"""Friedman's test and the post-hoc comparison that goes with it.

Notation: y (b, k) losses of k candidates on b blocks (folds); r their ranks within each block, mean ranks for ties;
R (k,) rank sums; A the sum of all squared ranks.
"""

from __future__ import annotations

import math

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, stdtrit

__all__ = ["Friedman", "friedman", "least_p"]


@attrs.frozen(eq=False)
class Friedman:
    """The result of Friedman's test.

    Attributes:
        p: The p-value of the hypothesis that all candidates are equal.
        rank_sums: R, (k,); the lowest is the best.
        blocks: b.
        squares: A.
    """

    p: float
    rank_sums: NDArray[np.float64]
    blocks: int
    squares: float

    def critical_difference(self, alpha: float) -> float:
        """The difference of two rank sums that is significant at the two-sided level ``alpha``.

        t * sqrt(2 (b A - sum R^2) / ((b - 1) (k - 1))) with t the quantile at (b - 1)(k - 1) degrees of freedom
        (Conover 1999, "Practical nonparametric statistics", section 5.8).
        """
        b, k = self.blocks, len(self.rank_sums)
        spread = max(0.0, b * self.squares - float(np.square(self.rank_sums).sum()))
        freedom = (b - 1) * (k - 1)
        return float(stdtrit(freedom, 1 - alpha / 2)) * math.sqrt(2 * spread / freedom)


def friedman(losses: NDArray[np.float64]) -> Friedman:
    """Friedman's test with the correction for ties (Conover 1999, section 5.8).

    Args:
        losses: y, (b, k), b >= 2, k >= 2.
    """
    b, k = losses.shape
    mine, others = losses[:, :, None], losses[:, None, :]
    ranks = (others < mine).sum(axis=2) + ((others == mine).sum(axis=2) + 1) / 2  # scipy.stats takes long to load
    sums, squares = ranks.sum(axis=0), float(np.square(ranks).sum())
    spread = squares - b * k * (k + 1) ** 2 / 4
    if spread <= 0:
        return Friedman(1.0, sums, b, squares)  # all values are tied
    statistic = (k - 1) * float(np.square(sums - b * (k + 1) / 2).sum()) / spread
    return Friedman(float(chdtrc(k - 1, statistic)), sums, b, squares)


def least_p(b: int, k: int) -> float:
    """The smallest p-value of `friedman`: all blocks rank the candidates in the same order."""
    return float(chdtrc(k - 1, b * (k - 1)))
