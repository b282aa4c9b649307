"""Logarithm of the expected improvement, accurate to rounding over the whole range, with its gradient.

Notation (minimisation):

======  ================================================  =====
symbol  meaning                                           shape
======  ================================================  =====
mu      posterior mean                                    (m,)
sd      posterior standard deviation, > 0                 (m,)
best    incumbent f*
u       (f* - mu) / sd                                    (m,)
h       phi(u) + u Phi(u), so EI = sd h(u)                (m,)
t       Phi(u) / phi(u)                                   (m,)
======  ================================================  =====

EI: Jones, Schonlau & Welch, J. Global Optimization 1998. Its logarithm: Ament et al., Unexpected Improvements
to Expected Improvement for Bayesian Optimization, NeurIPS 2023; the branches here differ from theirs:

- u > -1:          log(phi + u Phi)
- -50 <= u <= -1:  -u^2/2 - log(2 pi)/2 + log1p(u t),  t = sqrt(pi/2) erfcx(-u / sqrt 2)
- u < -50:         the asymptotic series of 1 + u t in q = u^-2 (Abramowitz & Stegun 26.2.12)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import erfcx, ndtr

if TYPE_CHECKING:
    from hpt_sampler_bayes.kernel import FloatArray

__all__ = ["log_ei", "log_ei_with_gradient", "log_h"]

_LOG_SQRT_2PI = 0.5 * np.log(2.0 * np.pi)
_SQRT_HALF_PI = np.sqrt(0.5 * np.pi)
_SERIES = -50.0  # below, 1 + u t cancels, and the series is more accurate
_FLAT = 25.0  # above, phi/h is zero to rounding


def _series(q: FloatArray) -> FloatArray:
    """1 + u t for u < -50: q (1 - 3 q + 15 q^2 - 105 q^3 + 945 q^4)."""
    return q * (1.0 + q * (-3.0 + q * (15.0 + q * (-105.0 + q * 945.0))))


def log_h(u: FloatArray) -> FloatArray:
    """log(phi(u) + u Phi(u)) elementwise, for any finite ``u`` (m,)."""
    u = np.asarray(u, dtype=np.float64)
    middle = np.clip(u, _SERIES, -1.0)
    near = np.maximum(u, -1.0)
    far = np.minimum(u, _SERIES)
    ratio = _SQRT_HALF_PI * erfcx(-middle / np.sqrt(2.0))
    log_near = np.log(np.exp(-0.5 * near * near - _LOG_SQRT_2PI) + near * ndtr(near))
    log_middle = -0.5 * middle * middle - _LOG_SQRT_2PI + np.log1p(middle * ratio)
    log_far = -0.5 * far * far - _LOG_SQRT_2PI + np.log(_series(far**-2.0))
    below = np.where(u >= _SERIES, log_middle, log_far)
    return np.asarray(np.where(u > -1.0, log_near, below), dtype=np.float64)


def _ratios(u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """phi/h and Phi/h at ``u`` (m,)."""
    v = np.minimum(u, _FLAT)  # erfcx would overflow
    t = _SQRT_HALF_PI * erfcx(-v / np.sqrt(2.0))
    far = np.minimum(v, _SERIES)
    rest = np.where(v < _SERIES, _series(far**-2.0), 1.0 + v * t)
    flat = u > _FLAT
    phi_h = np.where(flat, 0.0, 1.0 / rest)
    cdf_h = np.where(flat, 1.0 / np.maximum(u, _FLAT), t / rest)
    return phi_h, cdf_h


def log_ei(mu: FloatArray, sd: FloatArray, best: float) -> FloatArray:
    """Log expected improvement below ``best`` at means ``mu`` (m,) and deviations ``sd`` (m,) > 0."""
    return np.asarray(log_h((best - mu) / sd) + np.log(sd), dtype=np.float64)


def log_ei_with_gradient(
    mu: FloatArray, sd: FloatArray, best: float | FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log expected improvement and its derivatives with respect to ``mu`` and ``sd``, each (m,).

    d logEI / d mu = -(Phi/h) / sd and d logEI / d sd = (phi/h) / sd.
    """
    u = (best - mu) / sd
    phi_h, cdf_h = _ratios(u)
    return log_h(u) + np.log(sd), -cdf_h / sd, phi_h / sd
