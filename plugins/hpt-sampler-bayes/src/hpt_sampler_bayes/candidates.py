"""Candidates for the acquisition: spread over the space, perturbations of the best points, and their neighbours.

In many dimensions, perturbing few coordinates of good points is what finds improvements: Eriksson et al.,
TuRBO, NeurIPS 2019; Papenmeier et al., Understanding high-dimensional Bayesian optimization, 2025.
One-exchange neighbours: Hutter et al., SMAC, LION 2011.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.kernel import FloatArray

__all__ = ["candidates", "perturb"]

_SIGMAS = (0.2, 0.05, 0.01)  # standard deviations of the perturbations
_MUTATED = 20.0  # a coordinate is mutated with probability min(1, 20 / d) / 2
_REDRAWN = 0.3  # probability that a mutated category is redrawn
_STEP = 0.1  # step of continuous parameters in an exchange


def candidates(
    encoding: Encoding, best: FloatArray, rng: np.random.Generator, *, spread: int, around: int
) -> FloatArray:
    """Snapped full rows to score.

    Args:
        encoding: The space's encoding.
        best: The best rows so far, best first. (b, d)
        rng: Source of the draws.
        spread: Number of rows drawn over the whole space.
        around: Number of perturbations of each of ``best``.
    """
    d = len(encoding.columns)
    rows = [encoding.snap(rng.random((spread, d)))]
    rows.append(perturb(encoding, np.repeat(best, around, axis=0), rng))
    rows.append(encoding.exchanges(best[:3], rng, step=_STEP)[0])
    return np.vstack(rows)


def perturb(encoding: Encoding, rows: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Mutate some coordinates of each row, at least one; inactive parameters are redrawn. (n, d).

    Ordered parameters move by Gaussian steps, with one width per row, and are reflected at the bounds.
    """
    n, d = rows.shape
    inactive = ~encoding.activity(rows)
    fresh = encoding.snap(rng.random((n, d)))
    mutated = rng.random((n, d)) < 0.5 * min(1.0, _MUTATED / d)
    mutated[np.arange(n), rng.integers(d, size=n)] = True
    sigma = rng.choice(np.array(_SIGMAS), size=n)
    moved = np.abs(rows + sigma[:, None] * rng.standard_normal((n, d)))
    moved = 1.0 - np.abs(1.0 - np.minimum(moved, 2.0))
    redrawn = np.where(rng.random((n, d)) < _REDRAWN, fresh, rows)
    moved = np.where(encoding.categorical, redrawn, moved)
    return encoding.snap(np.where(inactive, fresh, np.where(mutated, moved, rows)))
