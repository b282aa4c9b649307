"""Projected BFGS ascent from many starts at once in the unit box.

Each start has its own curvature matrix and step length, so its path is independent of the others; only the function
evaluations are batched (Optuna's "decoupled updates", arXiv 2511.13625). Notation:

======  =====================================================  =========
symbol  meaning                                                shape
======  =====================================================  =========
x       current point of each start                            (S, c)
f, g    minus the function at x, and its gradient              (S,), (S, c)
h       inverse curvature of each start (BFGS)                 (S, c, c)
t       step length of each start                              (S,)
======  =====================================================  =========

BFGS: Nocedal & Wright, Numerical Optimization, eq. 6.17 (update), 6.20 (first scaling), 3.6a (Armijo).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hpt_sampler_bayes.gp import BoolArray, IntArray
from hpt_sampler_bayes.kernel import FloatArray

__all__ = ["climb"]

_ARMIJO = 1e-4
_SHRINK = 0.25
_FIRST_STEP = 0.1  # length of the first step, in the steepest coordinate
_LONGEST_STEP = 0.5
_SHORTEST_STEP = 1e-6
_GAIN = 1e-6  # a start that gains less has converged

Function = Callable[[FloatArray, IntArray], tuple[FloatArray, FloatArray]]


def _direction(x: FloatArray, g: FloatArray, h: FloatArray, free: BoolArray) -> FloatArray:
    """Quasi-Newton direction in the free coordinates that are not at an active bound. (S, c)."""
    at_bound = ((x <= 0.0) & (g > 0.0)) | ((x >= 1.0) & (g < 0.0))
    mask = free * ~at_bound
    steepest = g * mask
    d = -np.einsum("sij,sj->si", h, steepest) * mask
    downhill = np.einsum("si,si->s", d, steepest) < 0.0
    d = np.where(downhill[:, None], d, -steepest)
    longest = np.abs(d).max(axis=1, initial=0.0)
    shrink = np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))
    return np.asarray(d * shrink[:, None], dtype=np.float64)


def _update(h: FloatArray, s: FloatArray, y: FloatArray, first: BoolArray) -> FloatArray:
    """BFGS update of each inverse curvature by step ``s`` and gradient change ``y``, if s'y > 0. (S, c, c)."""
    sy = np.einsum("si,si->s", s, y)
    yy = np.einsum("si,si->s", y, y)
    good = sy > 1e-10 * np.sqrt(np.einsum("si,si->s", s, s) * yy)
    rho = np.where(good, 1.0 / np.where(good, sy, 1.0), 0.0)
    eye = np.eye(s.shape[1])
    scale = sy / np.maximum(yy, 1e-300)
    h = np.where((good & first)[:, None, None], scale[:, None, None] * eye, h)
    weighted = rho[:, None, None] * s[:, :, None]
    left = eye - weighted * y[:, None, :]
    return np.asarray(left @ h @ left.transpose(0, 2, 1) + weighted * s[:, None, :])


def climb(function: Function, x: FloatArray, free: BoolArray, evaluations: int) -> tuple[FloatArray, FloatArray]:
    """Maximise from each start, inside [0, 1].

    Args:
        function: Maps points (k, c) and the indices of their starts (k,) to values (k,) and gradients (k, c).
        x: The starts. (S, c), c >= 1
        free: True where a start may move. (S, c)
        evaluations: Maximum number of calls of ``function``.

    Returns:
        The best point that each start reached (S, c), and its value (S,).
    """
    x = x.copy()
    count, c = x.shape
    value, gradient = function(x, np.arange(count))
    f, g = -value, -gradient
    steepest = np.abs(g * free).max(axis=1)
    h = np.eye(c) * (_FIRST_STEP / np.maximum(steepest, 1e-300))[:, None, None]
    d = _direction(x, g, h, free)
    t = np.ones(count)
    first = np.ones(count, dtype=bool)
    alive = np.flatnonzero(np.isfinite(f) & (np.abs(d).max(axis=1) > _SHORTEST_STEP))
    for _ in range(evaluations - 1):
        if not len(alive):
            break
        trial = np.clip(x[alive] + t[alive, None] * d[alive], 0.0, 1.0)
        value, gradient = function(trial, alive)
        step = trial - x[alive]
        slope = np.einsum("si,si->s", g[alive], step)
        gain = f[alive] + value
        accepted = np.isfinite(value) & (gain >= -_ARMIJO * slope) & (gain > 0.0)
        ok, better = alive[accepted], accepted
        h[ok] = _update(h[ok], step[better], -gradient[better] - g[ok], first[ok])
        first[ok] = False
        x[ok], f[ok], g[ok] = trial[better], -value[better], -gradient[better]
        d[ok] = _direction(x[ok], g[ok], h[ok], free[ok])
        t[ok] = 1.0
        t[alive[~accepted]] *= _SHRINK
        going = np.where(accepted, gain > _GAIN, True)
        moving = t[alive] * np.abs(d[alive]).max(axis=1) > _SHORTEST_STEP
        alive = alive[going & moving]
    return x, -f
