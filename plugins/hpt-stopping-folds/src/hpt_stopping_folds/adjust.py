"""The adjusted mean of a trial that has not done all folds.

Notation: y (n, k) values of n trials on k folds, NaN where a trial has not done a fold. Row 0 is the trial itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hpt_stopping_folds.differences import capped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["adjusted_mean", "diverged", "fold_effects", "nearness"]

_SOFTENING = 0.3
_SHRINKAGE = 0.1
_FAR = 100.0


def adjusted_mean(y: Array, variances: Array) -> float:
    """Estimate a trial's mean over all folds, given how hard the folds were for other trials.

    mean(y) - mean(b over own folds) + mean(b over all folds), with b the fold effects of a two-way additive fit that
    gives trials near this one more weight and leaves out those that `diverged`. For a trial that has done all folds, it
    equals the plain mean; if no other trial is near, it is close to the plain mean.

    Args:
        y: At least one value in row 0.
        variances: The variance within each trial, (n,); 0 for a single value.
    """
    done = np.isfinite(y)
    used = done[:, done[0]].any(axis=1) & ~diverged(y)
    y = y[np.ix_(used, done[used].any(axis=0))]
    effects = fold_effects(y, np.append(1.0, nearness(y, variances[used])), _SHRINKAGE)
    mine = np.isfinite(y[0])
    return float(y[0, mine].mean() + (effects.mean() - effects[mine].mean()))  # in this order: b may be huge


def diverged(y: Array) -> NDArray[np.bool_]:
    """Which trials are, on some fold, too far from the trial of row 0 to say how hard the folds are for it.

    Too far is 100 times as far as the nearest trial of those with the most folds is on its furthest fold. So a single
    trial that did not diverge is enough, even if all others did; and a fold that is hard for all excludes none. Trials
    with equal values on all folds, such as models that always predict the same class, are no such nearest trial: they
    may be at any distance, even at none.
    """
    done = np.isfinite(y)
    farthest = np.fmax.reduce(np.abs(y - y[0, done[0]].mean()), axis=1)[1:]
    varies = (np.fmax.reduce(y, axis=1) > np.fmin.reduce(y, axis=1))[1:]
    counts = done[1:].sum(axis=1)
    nearest = farthest[varies & (counts == counts[varies].max(initial=0))].min(initial=math.inf)
    return np.append(False, farthest > _FAR * nearest)


def nearness(y: Array, variances: Array) -> Array:
    """Weights in [0, 1] of the other trials, each of which shares a fold with the trial of row 0.

    Folds that are hard for good models need not be hard for bad ones, which an additive model cannot express. So a
    trial has the weight (h / (d + h))**2, where d is the distance between the means over the folds that both have done
    and h is 0.3 times the pooled standard deviation within trials. If the variance of a trial was `capped` for the
    pooling, its weight is reduced by the same factor.
    """
    mine, known = np.isfinite(y[0]), capped(variances)
    several = int((np.isfinite(y).sum(axis=1) > 1).sum())
    h = _SOFTENING * math.sqrt(known.sum() / several) if several else 0.0
    if h == 0:
        return np.zeros(len(y) - 1)  # all values within each trial are equal: there are no fold effects
    theirs = y[1:, mine]
    both = np.isfinite(theirs)
    distances = np.abs(np.where(both, y[0, mine] - theirs, 0.0).sum(axis=1)) / both.sum(axis=1)
    trust = np.divide(known, variances, out=np.ones(len(y)), where=variances > 0)[1:]
    return np.asarray(np.square(h / (distances + h)) * trust)


def fold_effects(y: Array, weights: Array, shrinkage: float) -> Array:
    """Fold effects b of the model y_ij = a_i + b_j over trials i and folds j.

    They minimise sum_i w_i sum_j (y_ij - a_i - b_j)**2 + shrinkage * sum_j b_j**2 (Searle et al. 1992, "Variance
    components", chapter 7: random fold effects). With the a_i eliminated, b solves a linear system with the matrix
    shrinkage * I + sum_i w_i (diag(o_i) - o_i o_i' / n_i), where o_i is the 0/1 vector of the n_i folds of trial i.

    Args:
        y: At least one value per trial.
        weights: w, (n,), >= 0.
        shrinkage: Above 0.

    Returns:
        b, (k,).
    """
    done = np.isfinite(y)
    counts, sums = done.sum(axis=1), np.where(done, y, 0.0).sum(axis=1)
    matrix = shrinkage * np.eye(y.shape[1]) + np.diag(weights @ done)
    matrix -= (done.T * (weights / counts)) @ done
    right = weights @ np.where(done, y - (sums / counts)[:, None], 0.0)
    return np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
