"""The adjusted mean of a trial that has not done all folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpt_stopping_folds.differences import capped, variance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["adjusted_mean", "fold_effects", "nearness"]

_SOFTENING = 0.3
_SHRINKAGE = 0.1


def adjusted_mean(own: Mapping[int, float], others: Sequence[Mapping[int, float]]) -> float:
    """Estimate a trial's mean over all folds, given how hard the folds were for other trials.

    mean(y) - mean(b over own folds) + mean(b over all folds), with b the fold effects of a two-way additive fit that
    gives trials near this one more weight. For a trial that has done all folds, it equals the plain mean; if no other
    trial is near, it is close to the plain mean.

    Args:
        own: Fold -> value of the trial; at least one.
        others: Fold -> value of each trial that the fold effects are estimated from.
    """
    shared = [other for other in others if own.keys() & other.keys()]
    folds = sorted({fold for row in (own, *shared) for fold in row})
    effects = fold_effects(folds, [own, *shared], [1.0, *nearness(own, shared)], _SHRINKAGE)
    mine = effects[[folds.index(fold) for fold in own]]
    return math.fsum(own.values()) / len(own) + float(effects.mean() - mine.mean())


def nearness(own: Mapping[int, float], others: Sequence[Mapping[int, float]]) -> list[float]:
    """Weights in [0, 1] of trials that share a fold with ``own``.

    Folds that are hard for good models need not be hard for bad ones, which an additive model cannot express. So a
    trial has the weight (h / (d + h))**2, where d is the distance between the means over the folds that both have done
    and h is 0.3 times the pooled standard deviation within trials. If the variance of a trial was `capped` for the
    pooling, its weight is reduced by the same factor.
    """
    within = [variance_of(list(row.values())) for row in (own, *others)]
    known = capped(within)
    several = sum(len(row) > 1 for row in (own, *others))
    h = _SOFTENING * math.sqrt(math.fsum(known) / several) if several else 0.0
    if h == 0:
        return [0.0] * len(others)  # all values within each trial are equal: there are no fold effects
    weights = []
    for other, variance, most in zip(others, within[1:], known[1:], strict=True):
        common = sorted(own.keys() & other.keys())
        distance = abs(math.fsum(own[fold] - other[fold] for fold in common)) / len(common)
        weights.append((h / (distance + h)) ** 2 * (most / variance if variance else 1.0))
    return weights


def fold_effects(
    folds: Sequence[int], rows: Sequence[Mapping[int, float]], weights: Sequence[float], shrinkage: float
) -> NDArray[np.float64]:
    """Fold effects b of the model y_ij = a_i + b_j over trials i and folds j.

    They minimise sum_i w_i sum_j (y_ij - a_i - b_j)**2 + shrinkage * sum_j b_j**2 (Searle et al. 1992, "Variance
    components", chapter 7: random fold effects). With the a_i eliminated, b solves a linear system with the matrix
    shrinkage * I + sum_i w_i (diag(o_i) - o_i o_i' / n_i), where o_i is the 0/1 vector of the n_i folds of trial i.

    Args:
        folds: All folds, k of them.
        rows: Fold -> value of each trial; finite, at least one value per trial.
        weights: w, one per trial, >= 0.
        shrinkage: Above 0.

    Returns:
        b, (k,).
    """
    values = np.array([[row.get(fold, np.nan) for fold in folds] for row in rows])
    done = np.isfinite(values)
    counts, w = done.sum(axis=1), np.asarray(weights)
    matrix = shrinkage * np.eye(len(folds)) + np.diag(w @ done) - (done.T * (w / counts)) @ done
    centred = values - np.nanmean(values, axis=1, keepdims=True)
    right = w @ np.where(done, centred, 0.0)
    return np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
