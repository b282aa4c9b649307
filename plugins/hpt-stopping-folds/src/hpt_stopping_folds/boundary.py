"""The significance level of repeated tests: p at each look so that all looks together keep the error `alpha`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["idle", "level", "looks"]

_MOST_LOOKS = 20
_TAIL = 8.0
_NODES_PER_SD = 2.0
_STEP = 32
_rule = lru_cache(np.polynomial.legendre.leggauss)


def idle(first: int, folds: int | None, alpha: float, smallest_p: Callable[[int], float]) -> str | None:
    """Say why a rule never stops a trial with so few folds; None if it may stop one.

    Args:
        first: The number of folds after which it tests first.
        folds: The folds of a whole trial; None: unknown.
        alpha: See `level`.
        smallest_p: Number of folds -> the smallest p that the test can find on them.
    """
    at = () if folds is None else looks(first, folds - 1)
    if folds is None or (at and smallest_p(at[-1]) < level(alpha, at)):
        return None
    why = f"it begins at fold {first} (`min_folds`), and a trial ends at fold {folds}"
    if at:
        p, limit = smallest_p(at[-1]), level(alpha, at)
        why = (
            f"on the {at[-1]} folds before the last one, p is at least {p:.2g}, and the limit is {limit:.2g} (`alpha`)"
        )
    return f"This rule never stops a trial: {why}."


@lru_cache
def looks(first: int, last: int) -> tuple[int, ...]:
    """The numbers of folds after which to test: each from ``first`` to ``last``, but at most 20 at growing distances.

    Each further look costs power at all others and adds little, for example after 101 folds when there was one at 100.
    """
    if last - first < _MOST_LOOKS:
        return tuple(range(first, last + 1))
    return tuple(sorted({round(n) for n in np.geomspace(first, last, _MOST_LOOKS)}))


@lru_cache
def level(alpha: float, at: tuple[int, ...]) -> float:
    """The p below which a trial is stopped, the same at each of several looks.

    Constant over the looks (Pocock 1977, "Group sequential methods", Biometrika 64), one-sided and without a boundary
    on the other side: for a standard random walk S, P(S_n > c sqrt(n) for some look n) = alpha defines c.

    Args:
        alpha: The probability of stopping a trial that is no worse, in (0, 0.5].
        at: The number of observations at each look, ascending, from 1.
    """
    if len(at) == 1:
        return alpha
    plain, bonferroni = (-NormalDist().inv_cdf(share) for share in (alpha, alpha / len(at)))
    found = brentq(lambda c: _crossing(c, at) - alpha, plain, bonferroni + 1e-6, xtol=1e-6)
    return NormalDist().cdf(-float(found))


def _crossing(c: float, at: tuple[int, ...]) -> float:
    """P(S_n > c sqrt(n) for some n), by recursive integration (Armitage et al. 1969)."""
    points, weights = _nodes(c, at[0], at[0])
    mass = weights * np.exp(-np.square(points) / (2 * at[0])) / math.sqrt(2 * math.pi * at[0])
    crossed = float(ndtr(-c))
    for before, n in pairwise(at):
        sd = math.sqrt(n - before)
        crossed += float(mass @ ndtr((points - c * math.sqrt(n)) / sd))
        nodes, weights = _nodes(c, n, n - before)
        kernel = np.exp(-np.square((nodes[:, None] - points) / sd) / 2) / (sd * math.sqrt(2 * math.pi))
        points, mass = nodes, weights * (kernel @ mass)
    return crossed


def _nodes(c: float, n: int, variance: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Legendre nodes and weights over the S_n below the boundary, fine enough for steps of this variance."""
    low, high = -_TAIL * math.sqrt(n), c * math.sqrt(n)
    nodes, weights = _rule(_STEP * math.ceil((20 + _NODES_PER_SD * (high - low) / math.sqrt(variance)) / _STEP))
    half = (high - low) / 2
    return low + half * (nodes + 1), half * weights
