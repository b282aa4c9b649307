"""A chance for every branch: now and then only trials with the same active parameters are looked at.

The good trials soon lie in one branch of a conditional space, and a branch whose first few points were unlucky is never
seen again. So a part of the suggestions is made as if the trials of one branch were all there are: what is good
there is learnt, and the branch comes back if that turns out to be good at all. The part grows with the number of
results: few are better spent where it looks best, and later that branch has less left to give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hpt_core import History
    from hpt_sampler_tpe.normal import IntArray

__all__ = ["focused"]

_FOCUS = 0.4
"""Fraction of the suggestions for which one branch is looked at, in the end."""
_FULL = 100
"""Results from which on it is that fraction; before that it is proportional to their number."""


def focused(history: History, order: IntArray, rng: np.random.Generator) -> IntArray:
    """The trials to learn from: all of ``order`` (n,), the best first, or those of one branch in the same order.

    The branch whose best trial is the k-th of all branches' best ones is chosen with a probability like 1 / k.
    """
    chance, where = rng.random(2)
    blank = np.isnan(history.unit[order])
    if chance >= _FOCUS * min(len(order) / _FULL, 1.0) or not blank.any():
        return order
    _, first, branch = np.unique(blank, axis=0, return_index=True, return_inverse=True)
    shares = np.cumsum(1.0 / np.arange(1, len(first) + 1))
    chosen = np.argsort(first)[np.searchsorted(shares, where * shares[-1], side="right")]
    return np.asarray(order[branch.ravel() == chosen])
