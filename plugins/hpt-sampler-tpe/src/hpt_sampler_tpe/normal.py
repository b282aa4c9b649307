"""The normal distribution truncated to the unit interval, on numpy and `math.erfc` alone.

Notation: a kernel has a centre mu in [0, 1] and a bandwidth sigma > 0; its density is that of N(mu, sigma^2),
divided by the mass of N(mu, sigma^2) in [0, 1].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FloatArray", "IntArray", "draw", "log_mass", "mass"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_FAR = 8.5  # standard deviations beyond which a normal tail has a mass below 1e-17
_ERFC: Any = np.frompyfunc(math.erfc, 1, 1)
_ROUNDS = 200  # of rejection; a kernel has at least a third of its mass in [0, 1], so 50 leave 1e-9 of the draws


def _below(z: FloatArray) -> FloatArray:
    """The mass of N(0, 1) below ``z``; the relative error is near machine precision even in the lower tail."""
    return np.asarray(0.5 * _ERFC(z * -math.sqrt(0.5)), dtype=np.float64)


def mass(a: FloatArray, b: FloatArray) -> FloatArray:
    """The mass of N(0, 1) between ``a`` <= ``b``, both (...,); computed in the lower tail, where it is accurate."""
    flip = a > 0.0
    low, high = np.where(flip, -b, a), np.where(flip, -a, b)
    return _below(high) - _below(low)


def log_mass(mu: FloatArray, sigma: FloatArray) -> FloatArray:
    """Log mass in [0, 1] of kernels ``mu``, ``sigma`` (...,), before truncation; at least log(1/3) for sigma <= 1."""
    found = np.ones(mu.shape)
    low, high = mu < _FAR * sigma, 1.0 - mu < _FAR * sigma  # the tail beyond a bound farther away is rounded off
    found[high] = _below((1.0 - mu[high]) / sigma[high])
    found[low] -= _below(-mu[low] / sigma[low])
    return np.log(found)


def draw(mu: FloatArray, sigma: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One draw in [0, 1] from each kernel ``mu``, ``sigma`` (...,), by rejection; draws never accepted are clipped."""
    drawn = rng.normal(mu, sigma)
    for _ in range(_ROUNDS):
        out = (drawn < 0.0) | (drawn > 1.0)
        if not out.any():
            break
        drawn[out] = rng.normal(mu[out], sigma[out])
    return np.clip(drawn, 0.0, 1.0)
