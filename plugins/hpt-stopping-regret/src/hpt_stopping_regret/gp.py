"""A Gaussian process with a Matérn-5/2 kernel over mixed columns, averaged over its hyperparameters.

Notation: n points, p columns, m candidates. theta = (log l_1 ... log l_p, log s2, log v): length scales, variances of
signal and noise. r2 = sum_j (x_j - x'_j)^2 / l_j^2, where the difference of two categories is 0 or 1, as of one-hot
codes divided by sqrt 2.

Priors: l ~ LogNormal(sqrt 2 + log(p) / 2, sqrt 3) (Hvarfner, Hellsten and Nardi 2024, "Vanilla Bayesian optimization
performs great in high dimensions"), v ~ LogNormal(-6, 2), log s2 ~ N(0, 1). The density of l is taken over l, so its
mode is exp(sqrt 2 + log(p) / 2 - 3). Over log l, the mode would be 20 times longer, and a parameter that varies in
hardly any result (one of a branch seen once) would be taken as irrelevant.
The maximum a posteriori alone is overconfident. Predictions therefore average over it and some draws from the normal
distribution with the posterior's curvature there (Laplace approximation).
"""

from __future__ import annotations

import math

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

__all__ = ["GP", "bounds", "fit", "negative_log_posterior", "squares"]

Array = NDArray[np.float64]

_ROOT5 = math.sqrt(5.0)
_NOISE_MEAN, _NOISE_SD = -6.0, 2.0
_LENGTHS, _SIGNALS, _NOISES = (math.log(0.03), math.log(30.0)), (-3.0, 3.0), (-14.0, 1.0)
_STEP = 1e-3  # of finite differences of the gradient; theta is of order one
_JITTER = 1e-9


def squares(a: Array, b: Array, categorical: NDArray[np.bool_]) -> Array:
    """Squared differences per column, (p, len(a), len(b))."""
    gap = a.T[:, :, None] - b.T[:, None, :]
    gap *= gap
    if categorical.any():
        gap[categorical] = gap[categorical] > 0
    return gap


def _kernel(r2: Array) -> Array:
    """Matérn-5/2 of squared scaled distances."""
    r = _ROOT5 * np.sqrt(r2)
    found: Array = (1.0 + r + r * r / 3.0) * np.exp(-r)
    return found


def negative_log_posterior(theta: Array, gaps: Array, y: Array) -> tuple[float, Array]:
    """-log p(theta | y) up to a constant, and its gradient.

    Args:
        theta: (p + 2,).
        gaps: `squares` of the points, (p, n, n).
        y: Standardised, (n,).
    """
    p, n = len(gaps), len(y)
    weights, signal, noise = np.exp(-2 * theta[:p]), math.exp(theta[p]), math.exp(theta[p + 1])
    r2 = np.tensordot(weights, gaps, axes=1)
    r = _ROOT5 * np.sqrt(r2)
    decay = np.exp(-r)
    matern = (1.0 + r + r * r / 3.0) * decay
    covariance = signal * matern
    covariance[np.diag_indices(n)] += noise + _JITTER
    lower = cholesky(covariance, lower=True, check_finite=False)  # never fails: within `bounds`, noise >= 8e-7
    alpha = cho_solve((lower, True), y, check_finite=False)
    inverse = dpotri(lower, lower=1)[0]
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    outer = inverse - np.outer(alpha, alpha)  # 2 d(-log p)/dK
    slope = outer * (signal * 5.0 / 3.0) * (1.0 + r) * decay  # dK/d log l_j = signal 5/3 (1 + r) e^-r gap_j / l_j^2
    gradient = np.empty_like(theta)
    gradient[:p] = 0.5 * weights * (gaps.reshape(p, -1) @ slope.ravel())
    gradient[p] = 0.5 * signal * float(np.sum(outer * matern))
    gradient[p + 1] = 0.5 * noise * float(np.trace(outer))
    value = 0.5 * float(y @ alpha) + float(np.sum(np.log(np.diag(lower))))
    off = (theta - _prior_mean(p)) / _prior_sd(p)
    return value + 0.5 * float(off @ off), gradient + off / _prior_sd(p)


def _prior_mean(p: int) -> Array:
    mode = math.sqrt(2) + 0.5 * math.log(p) - 3.0
    return np.array([mode] * p + [0.0, _NOISE_MEAN])


def _prior_sd(p: int) -> Array:
    return np.array([math.sqrt(3)] * p + [1.0, _NOISE_SD])


@attrs.frozen(eq=False)
class GP:
    """A process conditioned on its points under one theta.

    Attributes:
        theta: Hyperparameters, see the module's docstring.
        points: (n, p).
        categorical: Which columns hold categories, (p,).
        lower: Cholesky factor of the covariance, (n, n).
        alpha: K^-1 y, (n,).
    """

    theta: Array
    points: Array
    categorical: NDArray[np.bool_]
    lower: Array
    alpha: Array

    @classmethod
    def conditioned(cls, theta: Array, points: Array, y: Array, categorical: NDArray[np.bool_]) -> GP:
        """Condition on points (n, p) with standardised values (n,)."""
        p = points.shape[1]
        covariance = _covariance(theta, points, points, categorical)
        covariance[np.diag_indices(len(y))] += math.exp(theta[p + 1]) + _JITTER
        lower = cholesky(covariance, lower=True, check_finite=False)
        return cls(theta, points, categorical, lower, cho_solve((lower, True), y, check_finite=False))

    def marginal(self, at: Array) -> tuple[Array, Array]:
        """Means and standard deviations of the noise-free function at (m, p)."""
        cross = _covariance(self.theta, self.points, at, self.categorical)
        half = solve_triangular(self.lower, cross, lower=True, check_finite=False)
        left = math.exp(self.theta[-2]) - np.einsum("ij,ij->j", half, half)
        return cross.T @ self.alpha, np.sqrt(np.maximum(left, 1e-16))

    def draws(self, at: Array, normals: Array) -> Array:
        """Joint draws of the noise-free function at (m, p) from standard normals (m, k); returns (m, k)."""
        cross = _covariance(self.theta, self.points, at, self.categorical)
        half = solve_triangular(self.lower, cross, lower=True, check_finite=False)
        left = _covariance(self.theta, at, at, self.categorical) - half.T @ half
        values, vectors = np.linalg.eigh(left)  # candidates are close together, so Cholesky may fail
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        found: Array = (cross.T @ self.alpha)[:, None] + root @ normals
        return found


def _covariance(theta: Array, a: Array, b: Array, categorical: NDArray[np.bool_]) -> Array:
    p = a.shape[1]
    scale = np.exp(-theta[:p])
    numeric = ~categorical
    u, v = a[:, numeric] * scale[numeric], b[:, numeric] * scale[numeric]
    r2 = np.sum(u * u, axis=1)[:, None] + np.sum(v * v, axis=1)[None, :] - 2.0 * (u @ v.T)
    np.maximum(r2, 0.0, out=r2)
    for j in np.flatnonzero(categorical):
        r2 += scale[j] ** 2 * (a[:, j, None] != b[None, :, j])
    return math.exp(theta[p]) * _kernel(r2)


def bounds(p: int) -> tuple[Array, Array]:
    """The lowest and the highest theta for p columns."""
    low, high = np.array([_LENGTHS] * p + [_SIGNALS, _NOISES]).T
    return low, high


def fit(points: Array, y: Array, categorical: NDArray[np.bool_], normals: Array) -> list[Array]:
    """Fit the hyperparameters: the maximum a posteriori and draws around it.

    Args:
        points: (n, p).
        y: Standardised, (n,).
        categorical: (p,).
        normals: Standard normals (k, p + 2), one row per draw.

    Returns:
        k + 1 vectors theta.
    """
    p = points.shape[1]
    gaps = squares(points, points, categorical)
    low, high = bounds(p)
    start = _prior_mean(p)
    start[:p] = math.log(0.4) + 0.5 * math.log(p)
    found = minimize(
        negative_log_posterior,
        start,
        (gaps, y),
        "L-BFGS-B",
        jac=True,
        bounds=list(zip(low, high, strict=True)),
        options={"maxiter": 40},
    )
    best = np.asarray(found.x)
    root = _curvature_root(best, gaps, y)
    return [best, *(np.clip(best + root @ z, low, high) for z in normals)]


def _curvature_root(best: Array, gaps: Array, y: Array) -> Array:
    """A square root of the covariance given by the curvature at the optimum, never wider than the prior."""
    size = len(best)
    here = negative_log_posterior(best, gaps, y)[1]
    hessian = np.empty((size, size))
    for i in range(size):
        moved = best.copy()
        moved[i] += _STEP
        hessian[i] = (negative_log_posterior(moved, gaps, y)[1] - here) / _STEP
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    floor = 1.0 / float(np.max(_prior_sd(len(gaps)))) ** 2
    root: Array = vectors / np.sqrt(np.maximum(values, floor))
    return root
