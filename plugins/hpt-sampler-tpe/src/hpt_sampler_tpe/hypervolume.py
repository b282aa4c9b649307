"""The order of the points of a front by what each adds to the hypervolume.

Notation (minimisation, m objectives):

======  ==========================================================================  ======
symbol  meaning                                                                     shape
======  ==========================================================================  ======
r       reference point, worse than all points                                      (m,)
l, u    lower and upper corner of a box                                             (B, m)
======  ==========================================================================  ======

The hypervolume of some points is the volume below r that they dominate. Choosing the point that adds most to it, again
and again, approximates the subset of the largest hypervolume; the multiobjective TPE takes its good observations in
this way (Ozaki et al., Journal of Artificial Intelligence Research 73, 2022). What no chosen point dominates is kept as
disjoint boxes, so what a point adds is a sum, without cancellation: of a box from l to u, a point x dominates the
volume prod_j (u_j - max(l_j, x_j))+.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hpt_sampler_tpe.normal import FloatArray, IntArray

__all__ = ["largest_first"]

_AT_ONCE = 10_000  # boxes, one for each point and box, whose volumes are computed together
_MOST_BOXES = 2000  # beyond, no more points are chosen; reached with five objectives or more


def largest_first(points: FloatArray, reference: FloatArray, most: int) -> IntArray:
    """Order ``points`` (n, m) by what each adds to the hypervolume below ``reference`` (m,) of those before it. (n,).

    This holds for the first ``most``. The others are ordered by an upper bound on what they add.
    """
    low, high = points.min(axis=0)[None], reference[None]
    bound = _added(points, low, high)
    chosen: list[int] = []
    while len(chosen) < min(most, len(points)) and len(low) <= _MOST_BOXES:
        current, count = np.zeros(len(points), dtype=bool), 16 + _AT_ONCE // (1 + len(low))
        while not current[best := int(bound.argmax())]:  # a point adds less and less, so an earlier volume is a bound
            top = np.argsort(-bound, kind="stable")[:count]
            bound[top], current[top] = _added(points[top], low, high), True
            bound[chosen] = -1.0
        chosen.append(best)
        bound[best] = -1.0
        low, high = _cut(low, high, points[best])
    rest = np.argsort(-bound, kind="stable")[: len(points) - len(chosen)]
    return np.concatenate([np.array(chosen, dtype=np.intp), rest])


def _added(points: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """The volume of the boxes ``low`` to ``high`` (B, m) that each of ``points`` (n, m) dominates. (n,)."""
    sides = high - np.maximum(low, points[:, None])
    return np.asarray(np.maximum(sides, 0.0).prod(axis=2).sum(axis=1))


def _cut(low: FloatArray, high: FloatArray, point: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Remove what ``point`` (m,) dominates from the boxes ``low`` to ``high`` (B, m); what is left are boxes again."""
    hit = (point < high).all(axis=1)
    lows, highs = [low[~hit]], [high[~hit]]
    low, high = low[hit], high[hit]
    for j, value in enumerate(point):
        better = low[:, j] < value
        part = high[better]
        part[:, j] = value
        lows.append(low[better])
        highs.append(part)
        low[:, j] = np.maximum(low[:, j], value)
    return np.vstack(lows), np.vstack(highs)
