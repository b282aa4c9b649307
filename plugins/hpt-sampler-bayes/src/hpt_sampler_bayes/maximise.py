"""The point of highest acquisition, over continuous and finite parameters and under conditions.

Candidates are scored in one go. From the most promising, ascent on the continuous parameters and exchanges of
single finite values take turns until neither helps. All points are snapped: what is scored is what is returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_sampler_bayes.acquisition import log_ei, log_ei_with_gradient
from hpt_sampler_bayes.climb import climb
from hpt_sampler_bayes.gp import GP, IntArray

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.kernel import FloatArray
    from hpt_sampler_bayes.terms import Acquisition

__all__ = ["ExpectedImprovement", "maximise", "refine"]

_BEST_STARTS = 2
_DRAWN_STARTS = 6
_ROUNDS = 3
_EVALUATIONS = 25
_GAIN = 1e-9
_CHUNK = 1 << 22  # entries of a cross-covariance at most, to bound memory


@attrs.frozen(eq=False)
class ExpectedImprovement:
    """Log expected improvement of encoded points.

    Attributes:
        gp: The posterior.
        target: The improvement is what lies below it.
    """

    gp: GP
    target: float

    def __call__(self, z: FloatArray) -> FloatArray:
        """Values at ``z`` (m, p). (m,)."""
        rows = max(1, _CHUNK // max(len(self.gp.scaled), 1))
        parts = [log_ei(*self.gp.predict(z[i : i + rows]), self.target) for i in range(0, len(z), rows)]
        return np.concatenate([*parts, np.empty(0)])

    def with_gradient(self, z: FloatArray, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values at ``z`` (m, p) and their gradient by ``columns`` (c,) of it: (m,) and (m, c)."""
        mu, sd, d_mu, d_sd = self.gp.predict_with_gradient(z, columns)
        value, by_mu, by_sd = log_ei_with_gradient(mu, sd, self.target)
        return value, by_mu[:, None] * d_mu + by_sd[:, None] * d_sd


def maximise(
    encoding: Encoding, acquisition: Acquisition, rows: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Score ``rows``, refine the most promising.

    Args:
        encoding: The space's encoding.
        acquisition: What to maximise.
        rows: Snapped full rows to begin with. (k, d)
        rng: Draws some of the starts, by their expected improvement.

    Returns:
        Snapped full rows, highest acquisition first, and their values: what was refined and all of ``rows``.
    """
    values = acquisition(encoding.encode(rows))
    starts = rows[_choose_starts(values, rng)]
    refined, refined_values = refine(encoding, acquisition, starts)
    rows, values = np.vstack([refined, rows]), np.concatenate([refined_values, values])
    order = np.argsort(-values, kind="stable")
    return rows[order], values[order]


def _choose_starts(values: FloatArray, rng: np.random.Generator) -> IntArray:
    """The best two and six drawn in proportion to exp(value), without repeats."""
    order = np.argsort(-values, kind="stable")
    best, rest = order[:_BEST_STARTS], order[_BEST_STARTS:]
    if not len(rest):
        return best
    keys = values[rest] + rng.gumbel(size=len(rest))  # the largest are a draw without replacement
    return np.concatenate([best, rest[np.argsort(-keys, kind="stable")[:_DRAWN_STARTS]]])


def refine(encoding: Encoding, acquisition: Acquisition, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Improve each of ``rows`` (S, d) by ascent and exchanges in turn; return rows (S, d) and values (S,)."""
    rows = rows.copy()
    values = acquisition(encoding.encode(rows))
    going = np.arange(len(rows))
    for _ in range(_ROUNDS):
        rows[going], values[going] = _ascend(encoding, acquisition, rows[going], values[going])
        others, owners = encoding.exchanges(rows[going])
        if not len(others):
            break
        scores = acquisition(encoding.encode(others))
        improved = []
        for position, start in enumerate(going):
            mine = np.flatnonzero(owners == position)
            if len(mine):
                best = mine[np.argmax(scores[mine])]
                if scores[best] > values[start] + _GAIN:
                    rows[start], values[start] = others[best], scores[best]
                    improved.append(start)
        going = np.array(improved, dtype=np.intp)
        if not improved:
            break
    return rows, values


def _ascend(
    encoding: Encoding, acquisition: Acquisition, rows: FloatArray, values: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Climb on the continuous parameters that are active; a row that gains nothing stays."""
    moving = np.flatnonzero(encoding.continuous)
    if not len(moving):
        return rows, values
    columns = np.searchsorted(encoding.group, moving)
    active = encoding.activity(rows)
    free = active[:, moving]
    base = encoding.encode(rows, active)

    def function(x: FloatArray, index: IntArray) -> tuple[FloatArray, FloatArray]:
        z = base[index]
        z[:, columns] = np.where(free[index], x, z[:, columns])
        return acquisition.with_gradient(z, columns)

    x, reached = climb(function, rows[:, moving], free, _EVALUATIONS)
    moved = rows.copy()
    moved[:, moving] = x
    if any(encoding.space[encoding.columns[j]].size is not None for j in moving):
        moved = encoding.snap(moved)
        reached = acquisition(encoding.encode(moved))
    better = reached > values
    return np.where(better[:, None], moved, rows), np.where(better, reached, values)
