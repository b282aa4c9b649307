"""The non-dominated points of a set of losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["non_dominated"]


def non_dominated(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the rows that no other row dominates (is nowhere worse and somewhere better). Equal rows are all kept.

    Args:
        losses: (n, m), smaller is better.

    Returns:
        (n,) booleans. Takes O(n log n + n f) for f points on the front: rows are visited in lexicographic order, in
        which a row can only be dominated by an earlier one.
    """
    keep = np.zeros(len(losses), dtype=bool)
    front = np.empty((0, losses.shape[1]))
    for i in np.lexsort(losses.T[::-1]):
        nowhere_worse = (front <= losses[i]).all(axis=1)
        if not (nowhere_worse & (front < losses[i]).any(axis=1)).any():
            keep[i] = True
            front = np.vstack([front, losses[i]])
    return keep
