"""Gaussian process regression with fixed hyperparameters: posterior, its gradient, and appended pending points.

Notation (in addition to that of `kernel`):

=======  ============================================================  ========
symbol   meaning                                                       shape
=======  ============================================================  ========
y        warped losses                                                 (n,)
theta    log w per parameter, then log s2, then log noise              (G + 2,)
s2       variance of the process
noise    variance of the observation noise
K        s2 M + noise I                                                (n, n)
L        lower Cholesky factor of K                                    (n, n)
m        generalised least squares mean, 1'K^-1 y / 1'K^-1 1
alpha    K^-1 (y - m)                                                  (n,)
=======  ============================================================  ========

Rasmussen & Williams, chapter 2 (posterior: eq. 2.25 and 2.26), with the mean a constant as in their 2.7.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from hpt_sampler_bayes.kernel import FloatArray, matern52, matern52_and_slope, squared_distances

__all__ = ["GP", "BoolArray", "IntArray", "cholesky"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]

_JITTERS = (0.0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-2)
_LEAST_VARIANCE = 1e-14  # smallest variance relative to s2; below it the difference is rounding error


def cholesky(k: FloatArray) -> FloatArray:
    """Lower Cholesky factor of symmetric ``k`` (n, n), zeros above the diagonal, with as little jitter as succeeds.

    The jitter is relative to the mean of the diagonal. The last resort is the factor of the diagonal alone.
    """
    level = float(np.trace(k)) / len(k)
    for jitter in _JITTERS:
        shifted = k
        if jitter:
            shifted = k.copy()
            shifted[np.diag_indices_from(k)] += jitter * level
        factor, info = lapack.dpotrf(shifted, lower=1, clean=1)
        if info == 0:
            return np.asarray(factor, dtype=np.float64)
    return np.diag(np.sqrt(np.maximum(np.diag(k), level)))


@attrs.frozen(eq=False)
class GP:
    """A posterior Gaussian process.

    Attributes:
        scaled: Encoded points times sqrt(w). (n, p)
        root_w: sqrt(w) of each column. (p,)
        s2: Process variance.
        noise: Noise variance.
        mean: The constant mean m.
        alpha: K^-1 (y - m); 0 for pending rows. (n,)
        inverse: L^-1, lower triangular. (n, n)
    """

    scaled: FloatArray
    root_w: FloatArray
    s2: float
    noise: float
    mean: float
    alpha: FloatArray
    inverse: FloatArray

    @classmethod
    def fit(cls, z: FloatArray, y: FloatArray, *, theta: FloatArray, group: IntArray) -> GP:
        """Condition on ``y`` (n,) at ``z`` (n, p), n >= 1. O(n^3)."""
        root_w = np.exp(0.5 * theta[:-2])[group]
        s2, noise = float(np.exp(theta[-2])), float(np.exp(theta[-1]))
        scaled = z * root_w
        k = s2 * matern52(squared_distances(scaled, scaled))
        k[np.diag_indices_from(k)] = s2 + noise
        inverse, _ = lapack.dtrtri(cholesky(k), lower=1)
        one = inverse.sum(axis=1)  # L^-1 1
        mean = float(one @ (inverse @ y) / (one @ one))
        alpha = inverse.T @ (inverse @ (y - mean))
        return cls(scaled, root_w, s2, noise, mean, alpha, np.asarray(inverse))

    def append(self, z: FloatArray) -> GP:
        """Add pending rows ``z`` (P, p), whose losses are assumed to equal the posterior mean.

        This is the "kriging believer" of Ginsbourger, Le Riche & Carraro 2010: the mean does not change (alpha is 0
        for the new rows), and the variance shrinks around them. O(n^2 P).
        """
        new = z * self.root_w
        cross = self.s2 * matern52(squared_distances(self.scaled, new))  # (n, P)
        v = self.inverse @ cross
        corner = self.s2 * matern52(squared_distances(new, new)) - v.T @ v
        corner[np.diag_indices_from(corner)] += self.noise
        inverse_corner, _ = lapack.dtrtri(cholesky(corner), lower=1)  # (P, P)
        n, count = len(self.scaled), len(new)
        inverse = np.zeros((n + count, n + count))
        inverse[:n, :n] = self.inverse
        inverse[n:, n:] = inverse_corner
        inverse[n:, :n] = -inverse_corner @ (v.T @ self.inverse)
        return attrs.evolve(
            self,
            scaled=np.vstack([self.scaled, new]),
            alpha=np.concatenate([self.alpha, np.zeros(count)]),
            inverse=inverse,
        )

    def predict(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and standard deviation of the noise-free function at ``z`` (m, p), each (m,)."""
        k = matern52(squared_distances(z * self.root_w, self.scaled))  # (m, n)
        k *= self.s2
        mu = self.mean + k @ self.alpha
        v = self.inverse @ k.T
        variance = self.s2 - np.einsum("ij,ij->j", v, v)
        return mu, np.sqrt(np.maximum(variance, _LEAST_VARIANCE * self.s2))

    def predict_with_gradient(
        self, z: FloatArray, columns: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Posterior and its gradient with respect to some columns of ``z``.

        Args:
            z: Points. (m, p)
            columns: Indices of the columns to differentiate with respect to. (c,)

        Returns:
            Mean (m,), standard deviation (m,), d mean / d z (m, c) and d sd / d z (m, c).
        """
        scaled = z * self.root_w
        m, slope = matern52_and_slope(squared_distances(scaled, self.scaled))  # (m, n) each
        v = self.inverse @ (self.s2 * m).T  # (n, m)
        mu = self.mean + self.s2 * (m @ self.alpha)
        variance = np.maximum(self.s2 - np.einsum("ij,ij->j", v, v), _LEAST_VARIANCE * self.s2)
        sd = np.sqrt(variance)
        beta = v.T @ self.inverse  # k'K^-1, (m, n)
        slope *= 2.0 * self.s2
        at, to = scaled[:, columns], self.scaled[:, columns]
        d_mu = self._chain(slope * self.alpha, at, to) * self.root_w[columns]
        d_variance = self._chain(slope * beta, at, to) * (-2.0 * self.root_w[columns])
        return mu, sd, d_mu, d_variance / (2.0 * sd[:, None])

    @staticmethod
    def _chain(b: FloatArray, at: FloatArray, to: FloatArray) -> FloatArray:
        """sum_i b_si (at_sc - to_ic) for all s, c, as one product: the chain rule through r2. (m, c)."""
        return np.asarray(at * b.sum(axis=1)[:, None] - b @ to, dtype=np.float64)
