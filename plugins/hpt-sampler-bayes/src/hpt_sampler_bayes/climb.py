"""Projected BFGS ascent from many starts at once in the unit box.

Each start has its own curvature matrix and step length, so its path is independent of the others; only the function
evaluations are batched (Optuna's "decoupled updates", arXiv 2511.13625). Notation:

======  =====================================================  =========
symbol  meaning                                                shape
======  =====================================================  =========
x       current point of each start                            (S, c)
f, g    minus the function at x, and its gradient              (S,), (S, c)
H       inverse curvature of each start (BFGS)                 (S, c, c)
t       step length of each start                              (S,)
======  =====================================================  =========

BFGS: Nocedal & Wright, Numerical Optimization, eq. 6.17 (update), 6.20 (first scaling), 3.6a (Armijo). With
rho = 1 / s'y and w = rho ((1 + rho y'Hy) / 2 s - Hy), the update by step s and gradient change y is H + s w' + w s'. So
H is a multiple of the identity and one such pair for each step: no c x c matrix is ever made.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
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


@attrs.frozen(eq=False)
class _Curvature:
    """H of each start, as scale I + sum over k of s_k w_k' + w_k s_k'.

    Attributes:
        scale: Changes in place. (S,)
        s: The steps, 0 where there was none. Changes in place. (S, K, c)
        w: Changes in place. (S, K, c)
    """

    scale: FloatArray
    s: FloatArray
    w: FloatArray

    def times(self, v: FloatArray, of: IntArray) -> FloatArray:
        """H v for the starts ``of``. (len(of), c)."""
        s, w, column = self.s[of], self.w[of], v[:, :, None]
        product = s.transpose(0, 2, 1) @ (w @ column) + w.transpose(0, 2, 1) @ (s @ column)
        return np.asarray(self.scale[of, None] * v + product[:, :, 0], dtype=np.float64)

    def update(self, k: int, s: FloatArray, y: FloatArray, of: IntArray) -> None:
        """Update by the ``k``-th step of the starts ``of``, where s'y > 0."""
        sy = np.einsum("si,si->s", s, y)
        yy = np.einsum("si,si->s", y, y)
        good = sy > 1e-10 * np.sqrt(np.einsum("si,si->s", s, s) * yy)
        s, y, sy, yy, of = s[good], y[good], sy[good], yy[good], of[good]
        first = ~self.s[of].any(axis=(1, 2))
        self.scale[of[first]] = sy[first] / yy[first]
        hy = self.times(y, of)
        share = 0.5 * (1.0 + np.einsum("si,si->s", y, hy) / sy)
        self.s[of, k] = s
        self.w[of, k] = (share[:, None] * s - hy) / sy[:, None]


def _direction(x: FloatArray, g: FloatArray, curvature: _Curvature, free: BoolArray, of: IntArray) -> FloatArray:
    """Quasi-Newton direction of the starts ``of`` in the free coordinates that are not at an active bound. (S, c)."""
    at_bound = ((x <= 0.0) & (g > 0.0)) | ((x >= 1.0) & (g < 0.0))
    mask = free * ~at_bound
    steepest = g * mask
    d = -curvature.times(steepest, of) * mask
    downhill = np.einsum("si,si->s", d, steepest) < 0.0
    d = np.where(downhill[:, None], d, -steepest)
    longest = np.abs(d).max(axis=1, initial=0.0)
    shrink = np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))
    return np.asarray(d * shrink[:, None], dtype=np.float64)


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
    pairs = np.zeros((2, count, evaluations - 1, c))
    curvature = _Curvature(_FIRST_STEP / np.maximum(steepest, 1e-300), *pairs)
    d = _direction(x, g, curvature, free, np.arange(count))
    t = np.ones(count)
    alive = np.flatnonzero(np.isfinite(f) & (np.abs(d).max(axis=1) > _SHORTEST_STEP))
    for k in range(evaluations - 1):
        if not len(alive):
            break
        trial = np.clip(x[alive] + t[alive, None] * d[alive], 0.0, 1.0)
        value, gradient = function(trial, alive)
        step = trial - x[alive]
        slope = np.einsum("si,si->s", g[alive], step)
        gain = f[alive] + value
        accepted = np.isfinite(value) & (gain >= -_ARMIJO * slope) & (gain > 0.0)
        ok = alive[accepted]
        curvature.update(k, step[accepted], -gradient[accepted] - g[ok], ok)
        x[ok], f[ok], g[ok] = trial[accepted], -value[accepted], -gradient[accepted]
        d[ok] = _direction(x[ok], g[ok], curvature, free[ok], ok)
        t[ok] = 1.0
        t[alive[~accepted]] *= _SHRINK
        going = np.where(accepted, gain > _GAIN, True)
        moving = t[alive] * np.abs(d[alive]).max(axis=1) > _SHORTEST_STEP
        alive = alive[going & moving]
    return x, -f
