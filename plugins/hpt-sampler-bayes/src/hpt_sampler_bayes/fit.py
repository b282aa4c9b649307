"""Maximum a posteriori hyperparameters of the GP, by L-BFGS-B with the analytic gradient.

Notation (in addition to that of `gp`):

=======  ==========================================================  ========
symbol   meaning                                                     shape
=======  ==========================================================  ========
Q        K^-1 - alpha alpha'                                         (n, n)
M'       dM / d(r2)                                                  (n, n)
W        s2 Q * M' (elementwise)                                     (n, n)
D        largest number of parameters active at once
=======  ==========================================================  ========

With f = - log evidence - log prior (Rasmussen & Williams eq. 5.8 and 5.9):

- df / d log w_g   = sum over columns c of g of  (W 1)' x_c^2 - x_c' W x_c,  x = sqrt(w) z: one product, no
  n x n x p tensor (the diagonal of W plays no part)
- df / d log s2    = s2 sum(Q * M) / 2
- df / d log noise = noise tr(Q) / 2

Priors:

- From 25 results on, lengthscale ~ LogNormal(sqrt 2 + log(D) / 2, sqrt 3) (Hvarfner, Hellsten & Nardi, Vanilla Bayesian
  Optimization Performs Great in High Dimensions, ICML 2024), a density of the lengthscale; as a function of the log
  lengthscale it is normal with mean sqrt 2 - 3 + log(D) / 2.
- Below 25 results, log lengthscale ~ Normal(-0.65 + log(D) / 2, 1.03), fitted to surrogates of real tuning runs: it
  finds better configurations sooner, and no worse ones later.
- s2 ~ Gamma(2, 1).
- log noise ~ Normal(-8, 3), a density of the log noise: wide enough for noise-free and for very noisy functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize

from hpt_sampler_bayes.gp import IntArray
from hpt_sampler_bayes.kernel import FloatArray, matern52_and_slope, squared_distances

__all__ = ["HyperPosterior", "bounds", "cold_start", "map_fit"]

_LOG_2PI = float(np.log(2.0 * np.pi))
_LENGTHSCALE = (0.03, 30.0)
_SCALE = (1e-2, 1e2)
_NOISE = (1e-6, 1.0)
_WIDE, _TYPICAL = (2.0**0.5 - 3.0, 3.0**0.5), (-0.65, 1.03)  # mean minus log(D) / 2 and sd of the log lengthscale
_TYPICAL_BELOW = 25  # number of results below which the prior is `_TYPICAL`
_NOISE_MEAN, _NOISE_SD = -8.0, 3.0  # prior of the log noise
_ITERATIONS = 40
_BROKEN = 1e10  # f where K has no Cholesky factor, so that the line search backtracks


@attrs.frozen(eq=False)
class HyperPosterior:
    """The negative log posterior f of the hyperparameters given data.

    Attributes:
        z: Encoded points, columns of one parameter side by side. (n, p)
        y: Warped losses. (n,)
        group: Parameter of each column, ascending from 0. (p,)
        active: D, the largest number of parameters active at once.
    """

    z: FloatArray
    y: FloatArray
    group: IntArray
    active: int

    def neg_log_prior(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """- log prior (up to a constant) and its gradient with respect to theta."""
        mean, sd = _TYPICAL if len(self.y) < _TYPICAL_BELOW else _WIDE
        off = (-0.5 * theta[:-2] - 0.5 * np.log(max(self.active, 1)) - mean) / sd
        s2 = np.exp(theta[-2])
        off_noise = (theta[-1] - _NOISE_MEAN) / _NOISE_SD
        value = 0.5 * float(off @ off) + s2 - theta[-2] + 0.5 * off_noise * off_noise
        gradient = np.append(-0.5 * off / sd, (s2 - 1.0, off_noise / _NOISE_SD))
        return float(value), gradient

    def neg_log_evidence(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """- log evidence at the generalised least squares mean and its gradient with respect to theta. O(n^3)."""
        n = len(self.y)
        x = self.z * np.exp(0.5 * theta[:-2])[self.group]
        s2, noise = float(np.exp(theta[-2])), float(np.exp(theta[-1]))
        m, slope = matern52_and_slope(squared_distances(x, x))
        diagonal = np.arange(n)
        m[diagonal, diagonal] = 1.0
        k = s2 * m
        k[diagonal, diagonal] += noise
        factor, info = lapack.dpotrf(k, lower=1, overwrite_a=1)
        if info != 0:
            return _BROKEN, np.zeros_like(theta)
        log_det = 2.0 * float(np.log(factor[diagonal, diagonal]).sum())
        q, _ = lapack.dpotri(factor, lower=1)
        q = np.tril(q) + np.tril(q, -1).T  # dpotri fills one triangle only
        rows = q.sum(axis=1)  # K^-1 1
        centred = self.y - (rows @ self.y) / rows.sum()
        alpha = q @ centred
        value = 0.5 * float(centred @ alpha) + 0.5 * log_det + 0.5 * n * _LOG_2PI
        q -= alpha[:, None] * alpha
        gradient = np.empty_like(theta)
        gradient[-2] = 0.5 * s2 * float(np.vdot(q, m))
        gradient[-1] = 0.5 * noise * float(np.trace(q))
        slope *= q
        slope *= s2  # W
        columns = slope.sum(axis=1) @ (x * x) - np.einsum("ij,ij->j", x, slope @ x)
        gradient[:-2] = np.bincount(self.group, weights=columns)
        return value, gradient

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """The value and gradient of f at theta."""
        value, gradient = self.neg_log_evidence(theta)
        prior, prior_gradient = self.neg_log_prior(theta)
        return value + prior, gradient + prior_gradient


def bounds(groups: int) -> FloatArray:
    """Lower and upper bound of each entry of theta. (groups + 2, 2)."""
    log_w = -2.0 * np.log(_LENGTHSCALE[::-1])
    return np.vstack([np.tile(log_w, (groups, 1)), np.log(_SCALE), np.log(_NOISE)])


def cold_start(groups: int) -> FloatArray:
    """Start of a fit without a previous one: lengthscales 0.5 sqrt(groups / 4), s2 1, noise 0.01."""
    log_w = -2.0 * np.log(0.5 * np.sqrt(max(groups, 1) / 4.0))
    return np.append(np.full(groups, log_w), (0.0, np.log(1e-2)))


def map_fit(posterior: HyperPosterior, starts: Sequence[FloatArray]) -> tuple[FloatArray, float]:
    """The best of the optima that L-BFGS-B reaches from ``starts``; ties go to the earlier start.

    Returns:
        theta (G + 2,) and its f.
    """
    box = bounds(len(starts[0]) - 2)
    best, least = np.clip(starts[0], box[:, 0], box[:, 1]), np.inf
    for start in starts:
        inside: Any = np.clip(start, box[:, 0], box[:, 1])
        found = minimize(
            posterior,
            inside,
            jac=True,
            method="L-BFGS-B",
            bounds=[(float(low), float(high)) for low, high in box],
            options={"maxiter": _ITERATIONS},
        )
        if found.fun < least:
            best, least = np.asarray(found.x, dtype=np.float64), float(found.fun)
    return best, least
