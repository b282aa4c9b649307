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
        (n,) booleans. Takes O(n log n + n f) for f points on the front. The first row in lexicographic order is not
        dominated. All rows that it equals or dominates are settled at once, and the same holds for the rest.
    """
    keep = np.zeros(len(losses), dtype=bool)
    left = np.lexsort(losses.T[::-1])
    rows = losses[left]
    while len(left):
        keep[left[(rows == rows[0]).all(axis=1)]] = True
        better = (rows < rows[0]).any(axis=1)
        left, rows = left[better], rows[better]
    return keep
