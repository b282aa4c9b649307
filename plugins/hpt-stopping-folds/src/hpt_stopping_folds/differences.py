"""One-sided tests of paired differences: is the trial worse than the reference it is compared with?

Notation: d (j,) differences of losses on j folds, trial minus reference: above 0 is worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, stdtr

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["capped", "corrected_t", "expected_gain", "pooled_variance", "signed_rank", "variance_of"]

_EXACT_UP_TO = 50
_SAME = 1e-12  # relative to the largest difference: smaller ones are rounding
_MOST = 9.0  # cap of a variance, in medians: at most three times the usual deviation, even for a trial that diverged
_DIVERGED = 1e4  # a variance in the prior or the smallest variance, so 100 times the deviation


def corrected_t(differences: Sequence[float], ratio: float) -> float:
    """The p-value of the t-test with the variance corrected for overlapping training sets.

    t = mean(d) / sqrt((1 / j + ratio) * var(d)) with j - 1 degrees of freedom (Nadeau and Bengio 2003, "Inference for
    the generalization error", section 3).

    Args:
        differences: d, two or more; if all are equal, the noise cannot be estimated and p is 1.
        ratio: n_test / n_train of one fold, >= 0.
    """
    d = np.asarray(differences, dtype=np.float64)
    spread = float(d.std(ddof=1))
    if spread <= _SAME * float(np.abs(d).max()):
        return 1.0
    t = float(d.mean()) / (spread * math.sqrt(1 / len(d) + ratio))
    return float(stdtr(len(d) - 1, -t))


def variance_of(values: Sequence[float]) -> float:
    """The sample variance; 0 for a single value, and without rounding if all are equal."""
    if len(values) < 2 or min(values) == max(values):
        return 0.0
    mean = math.fsum(values) / len(values)  # numpy takes ten times as long for a few values
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def capped(variances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variances capped at 9 times the median of the positive ones, so that one diverged fit does not dominate."""
    positive = variances[variances > 0]
    return np.minimum(variances, _MOST * np.median(positive)) if len(positive) else variances


def pooled_variance(rows: Sequence[Sequence[float]], prior: float, weight: float) -> float:
    """The variance of a paired difference from fold to fold, pooled within trials.

    (weight * prior + sum of squared deviations) / (weight + degrees of freedom): approximately the posterior mean under
    a scaled inverse chi-squared prior (Gelman et al. 2013, "Bayesian data analysis", section 2.6). The variances of the
    trials are `capped`.

    Args:
        rows: d of several trials against the same reference. Rows that are zero everywhere (the same model with other
            parameters) and rows of a single difference are ignored, and so are trials that diverged on a fold: those
            with more than 1e4 times the prior and the smallest variance above 0.
        prior: The prior variance, >= 0.
        weight: Degrees of freedom of the prior.
    """
    known = [(variance_of(row), len(row) - 1) for row in rows if len(row) > 1 and any(row)]
    most = _DIVERGED * max(prior, min((variance for variance, _ in known if variance > 0), default=0.0))
    used = [(variance, freedom) for variance, freedom in known if variance <= most]
    variances = capped(np.array([prior, *(variance for variance, _ in used)]))[1:].tolist()
    squares = math.fsum(variance * freedom for variance, (_, freedom) in zip(variances, used, strict=True))
    return (weight * prior + squares) / (weight + sum(freedom for _, freedom in used))


def expected_gain(behind: float, sd: float) -> float:
    """E max(0, X) for X normal with mean ``-behind``: the expected gain of a trial that is behind its rival so far.

    sd * (phi(u) - u * (1 - Phi(u))) with u = behind / sd: the expected improvement (Jones et al. 1998, eq. 15).
    """
    if sd <= 0:
        return max(0.0, -behind)
    u = behind / sd
    return sd * max(0.0, math.exp(-u * u / 2) / math.sqrt(2 * math.pi) - u * float(ndtr(-u)))


def signed_rank(differences: Sequence[float]) -> float:
    """The p-value of Wilcoxon's signed-rank test; zeros are left out, and p is 1 if nothing else is there.

    Up to 50 differences it is exact given the ranks, ties included: the distribution of the sum of the ranks of
    positive d over all equally likely signs. Above that, it is the normal approximation without continuity correction
    (Wilcoxon 1945; Hollander and Wolfe 1999, section 3.1).
    """
    d = np.asarray(differences, dtype=np.float64)
    d = d[np.abs(d) > _SAME * np.abs(d).max(initial=0.0)]
    _, inverse, counts = np.unique(np.abs(d), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(counts) - counts + 1)[inverse]  # twice the mean ranks, which are integers
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
        share[rank:] += share[:-rank]  # numpy copies the right side first
        share /= 2
    return float(share[statistic:].sum())
