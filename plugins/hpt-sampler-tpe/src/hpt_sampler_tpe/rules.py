"""The settings of the method: how many results are good, their weights, and the bandwidths of the kernels.

``OPTUNA`` has the defaults of Optuna 5.0's TPESampler. ``HPT`` departs from them where that paid on our own problems:
fewer initial points in spaces without conditions, good results weighted by rank, bandwidths that shrink sooner but not
below a twentieth of the range, less smoothing of categories. Watanabe, Tree-Structured Parzen Estimator (arXiv
2304.11127), also found bandwidths to matter most.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from hpt_sampler_tpe.normal import FloatArray, IntArray

__all__ = ["HPT", "OPTUNA", "RULES", "Bandwidths", "Rules"]

_FLAT = 25  # number of latest observations that have full weight


@attrs.frozen
class Bandwidths:
    """Bandwidths of the kernels of n observations: the larger gap to a neighbour, within bounds.

    Attributes:
        floor: Smallest bandwidth, as a fraction of the parameter's range.
        power: A bandwidth is also at least 1 / (n + 2) ** power.
        cell: For a parameter with few values, a bandwidth is also at least this fraction of the distance between two of
            them. Otherwise neighbouring values would get almost no mass, and the search would stick to one value.
        smoothing: A categorical kernel weighs each category by ``smoothing`` / (n + 1), and its own by 1 in addition.
    """

    floor: float
    power: float
    cell: float
    smoothing: float

    def of(self, mu: FloatArray, size: int = 0) -> FloatArray:
        """Bandwidths of kernels at ``mu`` (n,) in [0, 1], of a parameter with ``size`` values (0: many). (n,).

        The ends of the interval count as neighbours only of a single observation.
        """
        n = len(mu)
        order = np.argsort(mu, kind="stable")
        gaps = np.diff(np.concatenate([[0.0], mu[order], [1.0]]))
        larger = np.maximum(gaps[:-1], gaps[1:])
        if n >= 2:
            larger[0], larger[-1] = gaps[1], gaps[-2]
        found = np.empty(n)
        found[order] = larger
        return np.clip(found, max(self.floor, (n + 2.0) ** -self.power, self.cell / size if size else 0.0), 1.0)


@attrs.frozen
class Rules:
    """The settings of one variant.

    Attributes:
        n_initial: Number of results before the densities take over from the initial design.
        n_initial_conditional: The same in a space with conditions, where each branch has to be visited.
        candidates: Number of configurations drawn from the good density.
        good: Fraction of the results that counts as good.
        min_good: Smallest number of good results.
        max_good: Largest number of good results.
        by_rank: Whether good results are weighted by rank and the others equally; else all are weighted by recency.
        bandwidths: Bandwidths of the kernels.
    """

    n_initial: int
    n_initial_conditional: int
    candidates: int
    good: float
    min_good: int
    max_good: int
    by_rank: bool
    bandwidths: Bandwidths

    def split(self, n: int) -> int:
        """Number of good results among ``n`` >= 2."""
        return max(self.min_good, min(math.ceil(self.good * n), self.max_good))

    def weights(self, numbers: IntArray, *, good: bool) -> FloatArray:
        """Weights of the trials ``numbers`` (n,), which are best first if ``good``; the prior weighs 1. (n,)."""
        n = len(numbers)
        if self.by_rank:
            return np.linspace(2.0 * n, 2.0, n) / (n + 1) if good else np.ones(n)
        by_age = np.empty(n)
        by_age[np.argsort(numbers, kind="stable")] = recency(n)
        return by_age


def recency(n: int) -> FloatArray:
    """Weights of ``n`` observations, oldest first: 1 for the latest 25, falling linearly to 1 / n for the oldest."""
    if n <= _FLAT:
        return np.ones(n)
    return np.concatenate([np.linspace(1.0 / n, 1.0, n - _FLAT), np.ones(_FLAT)])


_NARROW = Bandwidths(floor=0.05, power=2.0, cell=0.5, smoothing=0.5)
_WIDE = Bandwidths(floor=0.01, power=1.0, cell=0.0, smoothing=1.0)

HPT = Rules(
    n_initial=6,
    n_initial_conditional=10,
    candidates=24,
    good=0.1,
    min_good=2,
    max_good=25,
    by_rank=True,
    bandwidths=_NARROW,
)
OPTUNA = Rules(
    n_initial=10,
    n_initial_conditional=10,
    candidates=24,
    good=0.1,
    min_good=1,
    max_good=25,
    by_rank=False,
    bandwidths=_WIDE,
)
RULES = {"hpt": HPT, "optuna": OPTUNA}
