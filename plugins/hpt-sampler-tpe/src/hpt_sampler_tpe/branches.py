"""Exploration of branches: some suggestions learn only from trials with the same set of active parameters.

In a conditional space the good trials soon lie in one branch, and a branch whose first points were unlucky would never
be visited again. So a fraction of the suggestions uses the trials of a single branch only: they learn what is good in
that branch, and the branch returns if its good trials turn out to be competitive. The fraction grows with the number of
results, as a small budget is better spent in the most promising branch, which later has less left to gain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hpt_core import History
    from hpt_sampler_tpe.normal import IntArray

__all__ = ["focused"]

_MAX_PROBABILITY = 0.4
"""Fraction of suggestions that use a single branch, once there are `_RAMP` results."""
_RAMP = 100
"""Number of results from which on that fraction holds; below, it is proportional to their number."""


def focused(history: History, order: IntArray, rng: np.random.Generator) -> IntArray:
    """The trials to learn from: all of ``order`` (n,), which is best first, or those of one branch in the same order.

    Branches are ranked by their best trial; the k-th branch is chosen with probability proportional to 1 / k.
    """
    chance, where = rng.random(2)
    if chance >= _MAX_PROBABILITY * min(len(order) / _RAMP, 1.0):
        return order
    blank = np.isnan(history.unit[order])
    if not blank.any():
        return order
    _, first, branch = np.unique(blank, axis=0, return_index=True, return_inverse=True)
    shares = np.cumsum(1.0 / np.arange(1, len(first) + 1))
    chosen = np.argsort(first)[np.searchsorted(shares, where * shares[-1], side="right")]
    return np.asarray(order[branch.ravel() == chosen])
