"""One-sided tests of paired differences: is the trial worse than what it is compared with?

Notation: d (j,) differences of losses on j folds, trial minus reference: above 0 is worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr

__all__ = ["corrected_t", "signed_rank"]

_EXACT_UP_TO = 50
_SAME = 1e-12  # relative to the largest: a difference that is rounding


def corrected_t(differences: Sequence[float], ratio: float) -> float:
    """The p of the t-test with the variance corrected for training sets that overlap.

    t = mean(d) / sqrt((1 / j + ratio) * var(d)) with j - 1 degrees of freedom (Nadeau and Bengio 2003, "Inference for
    the generalization error", section 3).

    Args:
        differences: d, two or more; where they do not differ from each other there is no estimate of noise and p is 1.
        ratio: n_test / n_train of one fold, >= 0.
    """
    d = np.asarray(differences, dtype=np.float64)
    spread = float(d.std(ddof=1))
    if spread <= _SAME * float(np.abs(d).max()):
        return 1.0
    t = float(d.mean()) / (spread * math.sqrt(1 / len(d) + ratio))
    return float(stdtr(len(d) - 1, -t))


def signed_rank(differences: Sequence[float]) -> float:
    """The p of Wilcoxon's signed-rank test; zeros are left out.

    Exact given the ranks, ties included, up to 50 differences: the sum of the ranks of positive d over all equally
    likely signs. Above that the normal approximation without continuity correction (Wilcoxon 1945; Hollander and Wolfe
    1999, section 3.1).
    """
    d = np.asarray(differences, dtype=np.float64)
    d = d[np.abs(d) > _SAME * np.abs(d).max(initial=0.0)]
    if not len(d):
        return 1.0
    _, inverse, counts = np.unique(np.abs(d), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(counts) - counts + 1)[inverse]  # twice the mean rank of each: whole numbers
    statistic = int(doubled[d > 0].sum())
    if len(d) <= _EXACT_UP_TO:
        return _share_at_least(doubled.tolist(), statistic)
    mean, variance = doubled.sum() / 2, float(np.square(doubled.astype(np.float64)).sum()) / 4
    return 0.5 * math.erfc((statistic - mean) / math.sqrt(2 * variance))


def _share_at_least(ranks: Sequence[int], statistic: int) -> float:
    """The share of the 2**n choices of signs under which the positive ranks sum to ``statistic`` or more."""
    share = np.zeros(sum(ranks) + 1)
    share[0] = 1.0
    for rank in ranks:
        share[rank:] += share[:-rank]  # the right side is copied before it is added
        share /= 2
    return float(share[statistic:].sum())
