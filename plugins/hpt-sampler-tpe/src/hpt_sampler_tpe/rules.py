"""The numbers of the method: how many results are good, what each weighs, how wide kernels are.

``OPTUNA`` has the defaults of Optuna 5.0's TPESampler. ``HPT`` departs from them where that paid on our own problems:
fewer initial points where no parameter has a condition, good results weighted by rank, kernels that get narrow sooner
but never very narrow, less blur among categories. Widths are also what Watanabe, Tree-Structured Parzen Estimator
(arXiv 2304.11127), found to matter most.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from hpt_sampler_tpe.normal import FloatArray, IntArray

__all__ = ["HPT", "OPTUNA", "RULES", "Rules", "Widths"]

_FLAT = 25  # latest observations, which have full weight


@attrs.frozen
class Widths:
    """How wide the kernels of n observations are: the larger gap to a neighbour, within bounds.

    Attributes:
        least: A kernel is no narrower than this, as a fraction of the parameter's range,
        power: nor than 1 / (n + 2) ** power,
        cell: nor than this fraction of the distance between two values of a parameter that has few: a kernel that gives
            its neighbours next to no mass stays at one value for good.
        blur: A categorical kernel has ``blur`` / (n + 1) for each category beside 1 for its own.
    """

    least: float
    power: float
    cell: float
    blur: float

    def of(self, mu: FloatArray, size: int = 0) -> FloatArray:
        """Widths of kernels at ``mu`` (n,) in the unit interval, n >= 1, of a parameter with ``size`` values (0: many).

        The ends of the interval count as neighbours of one observation alone.
        """
        n = len(mu)
        order = np.argsort(mu, kind="stable")
        gaps = np.diff(np.concatenate([[0.0], mu[order], [1.0]]))
        larger = np.maximum(gaps[:-1], gaps[1:])
        if n >= 2:
            larger[0], larger[-1] = gaps[1], gaps[-2]
        found = np.empty(n)
        found[order] = larger
        return np.clip(found, max(self.least, (n + 2.0) ** -self.power, self.cell / size if size else 0.0), 1.0)


@attrs.frozen
class Rules:
    """The numbers of one variant.

    Attributes:
        n_initial: Results to wait for before the densities choose,
        n_branched: and where parameters have conditions: each branch has to be seen.
        candidates: Configurations drawn from the good density.
        good: Fraction of the results that is good,
        fewest: but no fewer than so many,
        most: and no more than so many.
        by_rank: Whether good results weigh by rank and the others alike, or all by recency.
        widths: Widths of the kernels.
    """

    n_initial: int
    n_branched: int
    candidates: int
    good: float
    fewest: int
    most: int
    by_rank: bool
    widths: Widths

    def split(self, n: int) -> int:
        """How many of ``n`` >= 2 results are good."""
        return max(self.fewest, min(math.ceil(self.good * n), self.most))

    def weights(self, numbers: IntArray, *, good: bool) -> FloatArray:
        """Weights of the trials ``numbers`` (n,), the best first if they are ``good``; the prior has 1. (n,)."""
        n = len(numbers)
        if self.by_rank:
            return np.linspace(2.0 * n, 2.0, n) / (n + 1) if good else np.ones(n)
        by_age = np.empty(n)
        by_age[np.argsort(numbers, kind="stable")] = recency(n)
        return by_age


def recency(n: int) -> FloatArray:
    """Weights of ``n`` observations by age: the latest 25 have 1, older ones less and less down to 1 / n."""
    if n <= _FLAT:
        return np.ones(n)
    return np.concatenate([np.linspace(1.0 / n, 1.0, n - _FLAT), np.ones(_FLAT)])


_NARROW = Widths(least=0.05, power=2.0, cell=0.5, blur=0.5)
_WIDE = Widths(least=0.01, power=1.0, cell=0.0, blur=1.0)

HPT = Rules(n_initial=6, n_branched=10, candidates=24, good=0.1, fewest=2, most=25, by_rank=True, widths=_NARROW)
OPTUNA = Rules(n_initial=10, n_branched=10, candidates=24, good=0.1, fewest=1, most=25, by_rank=False, widths=_WIDE)
RULES = {"hpt": HPT, "optuna": OPTUNA}
