"""Expected improvement of the dominated hypervolume, exact, as a logarithm with its gradient.

Notation (minimisation, m objectives, all warped):

======  ==========================================================================  ======
symbol  meaning                                                                     shape
======  ==========================================================================  ======
r       reference point, worse than the front                                       (m,)
l, u    lower and upper corner of a box                                             (B, m)
EI_j(a) expected improvement of objective j below a; 0 for a = -inf
======  ==========================================================================  ======

The improvement of a point is the volume that the point dominates and the front does not. The region below r that the
front does not dominate is cut into disjoint boxes. Of a box from l to u, a point y dominates the product over the
objectives of (u_j - max(l_j, y_j))+ = (u_j - y_j)+ - (l_j - y_j)+. With independent objectives, the expected volume is

    EHVI = sum_boxes prod_j (EI_j(u_j) - EI_j(l_j))

Emmerich, Yang & Deutz, Infill criteria for multiobjective Bayesian optimization, 2020, section 8, written in expected
improvements, so that their logarithms can be used (Ament et al., NeurIPS 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from scipy.special import logsumexp

from hpt_sampler_bayes.gp import GP, IntArray
from hpt_sampler_bayes.kernel import FloatArray
from hpt_sampler_bayes.log_ei import log_ei_with_gradient

__all__ = ["HypervolumeImprovement", "front", "log_ehvi_with_gradient", "spread", "undominated"]

_MOST = {2: 64, 3: 48, 4: 24}  # points of the front that are used, by number of objectives
_MOST_OF_MANY = 8
_LEAST_GAP = 1e-12  # smallest difference of log EI over a box
_CHUNK = 1 << 20  # most entries of a matrix of points and boxes, to bound memory

Predicted = tuple[FloatArray, FloatArray]
"""Means and standard deviations of an objective, (n,) each."""
Box = tuple[tuple[float, float], ...]
"""Lower and upper bound in each objective."""


def front(losses: FloatArray) -> IntArray:
    """Indices of the non-dominated rows of ``losses`` (n, m), one of equals, in lexicographic order. (k,)."""
    kept: list[int] = []
    left = np.lexsort(losses.T[::-1])  # only an earlier row can dominate, so the first one is on the front
    while len(left):
        kept.append(int(left[0]))
        left = left[(losses[left] < losses[left[0]]).any(axis=1)]
    return np.array(kept, dtype=np.intp)


def spread(points: FloatArray, most: int) -> IntArray:
    """Up to ``most`` indices of ``points`` (k, m): the first, then each time the point farthest from all chosen."""
    chosen: list[int] = []
    distance = np.full(len(points), np.inf)
    while len(chosen) < most and distance.max(initial=0.0) > 0.0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen, dtype=np.intp)


def undominated(corners: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cut the region below ``reference`` (m,) that ``corners`` (k, m) do not dominate into disjoint boxes.

    Returns:
        The lower corners, -inf where a box has no end, and the upper ones. (B, m) each
    """
    boxes = np.array(_boxes([tuple(corner) for corner in corners.tolist()], reference.tolist()))
    return boxes[:, :, 0], boxes[:, :, 1]


def _boxes(corners: list[tuple[float, ...]], reference: list[float]) -> list[Box]:
    """As `undominated`: by slabs of the last objective, in each of which the others are cut alike.

    A box that neighbouring slabs share is one box. With three objectives there are O(k) of them.
    """
    if len(reference) == 2:
        return _strips(corners, reference)
    open_since: dict[Box, float] = {}
    boxes: list[Box] = []
    for bottom in [-np.inf, *sorted({corner[-1] for corner in corners})]:
        within = [corner[:-1] for corner in corners if corner[-1] <= bottom]
        current = dict.fromkeys(_boxes(within, reference[:-1]), bottom)
        ended = [box for box in open_since if box not in current]
        boxes += [(*box, (open_since.pop(box), bottom)) for box in ended]
        open_since = current | open_since
    return boxes + [(*box, (since, reference[-1])) for box, since in open_since.items()]


def _strips(corners: list[tuple[float, ...]], reference: list[float]) -> list[Box]:
    """The boxes of two objectives: upwards from one point of the front to the next."""
    boxes: list[Box] = []
    right, bottom = reference[0], -np.inf
    for x, y in sorted(corners, key=lambda corner: (corner[1], corner[0])):
        if x < right:
            boxes.append(((-np.inf, right), (bottom, y)))
            right, bottom = x, y
    return [*boxes, ((-np.inf, right), (bottom, reference[1]))]


@attrs.frozen(eq=False)
class HypervolumeImprovement:
    """Log expected hypervolume improvement of encoded points.

    Attributes:
        posteriors: The process of each objective. (m,)
        low: Lower corners of the boxes that are not dominated. (B, m)
        high: Their upper corners. (B, m)
    """

    posteriors: Sequence[GP]
    low: FloatArray
    high: FloatArray

    @classmethod
    def over(cls, posteriors: Sequence[GP], losses: FloatArray, reference: FloatArray) -> HypervolumeImprovement:
        """The improvement over the front of ``losses`` (n, m) below ``reference`` (m,)."""
        corners = losses[(losses < reference).all(axis=1)]
        corners = corners[front(corners)]
        corners = corners[spread(corners, _MOST.get(len(reference), _MOST_OF_MANY))]
        return cls(posteriors, *undominated(corners, reference))

    def __call__(self, z: FloatArray) -> FloatArray:
        """As `Acquisition`."""
        rows = max(1, _CHUNK // len(self.low))
        parts = [
            log_ehvi_with_gradient([gp.predict(z[i : i + rows]) for gp in self.posteriors], self.low, self.high)[0]
            for i in range(0, len(z), rows)
        ]
        return np.concatenate(parts)

    def with_gradient(self, z: FloatArray, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """As `Acquisition`."""
        found = [gp.predict_with_gradient(z, columns) for gp in self.posteriors]
        value, slopes = log_ehvi_with_gradient([(mu, sd) for mu, sd, _, _ in found], self.low, self.high)
        inner = np.array([[d_mu, d_sd] for _, _, d_mu, d_sd in found])
        return value, np.einsum("jkn,jknc->nc", slopes, inner)


def log_ehvi_with_gradient(
    predicted: Sequence[Predicted], low: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Log expected hypervolume improvement.

    Args:
        predicted: The prediction of each objective at n points. (m,)
        low: Lower corners of the boxes that are not dominated, -inf where a box has no end. (B, m)
        high: Their upper corners. (B, m)

    Returns:
        The values (n,), and their derivatives with respect to mean and deviation of each objective (m, 2, n).
    """
    sides = [_log_side(*predicted[j], low[:, j], high[:, j]) for j in range(len(predicted))]
    volumes = np.sum([side for side, _ in sides], axis=0)
    value = logsumexp(volumes, axis=1)
    weights = np.exp(volumes - value[:, None])
    return value, np.array([(weights * slopes).sum(axis=2) for _, slopes in sides])


def _log_side(mu: FloatArray, sd: FloatArray, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log of the expected side of each box in one objective, (n, B), and its derivatives (2, n, B)."""
    levels, places = np.unique(np.concatenate([low, high]), return_inverse=True)
    finite = np.isfinite(levels)
    table = np.zeros((3, len(mu), len(levels)))  # value and derivatives
    table[0, :, ~finite] = -np.inf
    count = int(finite.sum())
    flat = log_ei_with_gradient(np.repeat(mu, count), np.repeat(sd, count), np.tile(levels[finite], len(mu)))
    table[:, :, finite] = np.reshape(flat, (3, len(mu), count))
    below, up = table[:, :, places[: len(low)]], table[:, :, places[len(low) :]]
    share = np.exp(np.minimum(below[0] - up[0], -_LEAST_GAP))
    return up[0] + np.log1p(-share), (up[1:] - share * below[1:]) / (1.0 - share)
