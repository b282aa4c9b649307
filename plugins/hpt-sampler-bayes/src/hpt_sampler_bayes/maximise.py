"""Maximise an acquisition over continuous and finite parameters under conditions.

All candidates are scored in one batch. The most promising ones are refined: gradient ascent on the continuous
parameters alternates with exchanges of single finite values until neither helps. Points are snapped before they are
scored, so the points returned are the points scored. A point that breaks a requirement of the space scores minus
infinity, so no exchange leads there, and an ascent shortens its step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpt_sampler_bayes.climb import climb

if TYPE_CHECKING:
    from hpt_sampler_bayes.acquisition import Acquisition
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.gp import IntArray
    from hpt_sampler_bayes.kernel import FloatArray

__all__ = ["maximise", "refine", "score"]

_BEST_STARTS = 2
_DRAWN_STARTS = 6
_ROUNDS = 3  # of ascent and exchange
_EVALUATIONS = 25  # most function calls of one ascent
_CHUNK = 1 << 20  # most entries of a matrix of encoded rows, to bound memory
_GAIN = 1e-9  # smallest gain for which an exchange is made


def score(encoding: Encoding, acquisition: Acquisition, rows: FloatArray) -> FloatArray:
    """The acquisition at snapped full rows (n, d); minus infinity where a requirement of the space is broken. (n,)."""
    step = max(1, _CHUNK // max(1, len(encoding.group)))
    parts = [acquisition(encoding.encode(rows[i : i + step])) for i in range(0, len(rows), step)]
    return np.where(encoding.allowed(rows), np.concatenate([np.empty(0), *parts]), -np.inf)


def maximise(
    encoding: Encoding, acquisition: Acquisition, rows: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Score ``rows`` and refine the most promising.

    Args:
        encoding: The space's encoding.
        acquisition: What to maximise.
        rows: Snapped full rows, the candidates. (k, d)
        rng: Draws some of the starts, in proportion to their acquisition, and what `Encoding.exchanges` needs.

    Returns:
        The refined rows and all of ``rows``, snapped, highest acquisition first, and their values.
    """
    values = score(encoding, acquisition, rows)
    starts = rows[_choose_starts(values, rng)]
    refined, refined_values = refine(encoding, acquisition, starts, rng)
    rows, values = np.vstack([refined, rows]), np.concatenate([refined_values, values])
    order = np.argsort(-values, kind="stable")
    return rows[order], values[order]


def _choose_starts(values: FloatArray, rng: np.random.Generator) -> IntArray:
    """Indices of the best two and of six others drawn in proportion to exp(value), without repeats."""
    order = np.argsort(-values, kind="stable")
    best, rest = order[:_BEST_STARTS], order[_BEST_STARTS:]
    keys = values[rest] + rng.gumbel(size=len(rest))  # Gumbel top-k: a draw without replacement
    return np.concatenate([best, rest[np.argsort(-keys, kind="stable")[:_DRAWN_STARTS]]])


def refine(
    encoding: Encoding, acquisition: Acquisition, rows: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Improve each of ``rows`` (S, d) by alternating ascent and exchanges; return rows (S, d) and values (S,)."""
    rows = rows.copy()
    values = score(encoding, acquisition, rows)
    going = np.arange(len(rows))
    for _ in range(_ROUNDS):
        rows[going], values[going] = _ascend(encoding, acquisition, rows[going], values[going])
        others, owners = encoding.exchanges(rows[going], rng)
        if not len(others):
            break
        scores = score(encoding, acquisition, others)
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
    """Gradient ascent on the active continuous parameters; a row that gains nothing stays as it is."""
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
        values, gradients = acquisition.with_gradient(z, columns)
        moved = rows[index]
        moved[:, moving] = x
        return np.where(encoding.allowed(moved), values, -np.inf), gradients

    x, reached = climb(function, rows[:, moving], free, _EVALUATIONS)
    moved = rows.copy()
    moved[:, moving] = x
    if any(encoding.space[encoding.columns[j]].size is not None for j in moving):
        moved = encoding.snap(moved)
        reached = score(encoding, acquisition, moved)
    better = reached > values
    return np.where(better[:, None], moved, rows), np.where(better, reached, values)
