"""Output warps: monotone maps that make losses look like a sample of a Gaussian process.

Notation:

======  ===========================================================  =====
symbol  meaning                                                      shape
======  ===========================================================  =====
y       losses, smaller is better                                    (n,)
t       warped losses, mean 0 and standard deviation 1               (n,)
lam     exponent of the Yeo-Johnson transform
======  ===========================================================  =====

Half-rank warp: Song et al., The Vizier Gaussian Process Bandit Algorithm, 2024 (the better half keeps its
shape, the worse half only its order). Yeo-Johnson: Yeo & Johnson, A new family of power transformations to
improve normality or symmetry, Biometrika 2000. Every step is equivariant under y -> a y + b with a > 0.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import numpy as np
from scipy.special import ndtri

from hpt_sampler_bayes.kernel import FloatArray

__all__ = [
    "HalfRank",
    "Warp",
    "YeoJohnson",
    "cut_tail",
    "fit_warp",
    "yeo_johnson",
    "yeo_johnson_fit",
    "yeo_johnson_inverse",
]

_HALF_RANK_BELOW = 25  # losses; half-rank is better with few losses, Yeo-Johnson ends more precisely
_LAMBDA_RANGE = (-4.0, 6.0)  # beyond it the transform overflows on standardised data without a better fit
_TAIL = 10.0  # bad tail, in interquartile ranges above the third quartile: losses beyond carry no information
_LARGEST = float(np.finfo(np.float64).max)
_GOOD_TAIL = 1e4  # the same on the good side, where every value matters: a numerical safeguard only
_DIVERGED = 1e3  # cap of the third quartile's distance from the median, relative to that of the first quartile


class Warp(Protocol):
    """A fitted warp."""

    @property
    def t(self) -> FloatArray:
        """The warped losses that the warp was fitted to. (n,)."""
        ...

    def inverse(self, t: FloatArray) -> FloatArray:
        """Losses whose warped values are ``t``; monotone, possibly flat outside the fitted range."""
        ...


def _quartiles(y: FloatArray) -> tuple[float, float, float]:
    """The quartiles, the third one capped, so that a quarter of diverged losses does not flatten the others."""
    q1, median, q3 = (float(q) for q in np.quantile(y, (0.25, 0.5, 0.75)))
    return q1, median, min(q3, median + _DIVERGED * (median - q1)) if median > q1 else q3


def cut_tail(y: FloatArray) -> FloatArray:
    """Losses ``y`` (n,) clipped on the bad side, where a loss far out carries no more information than "bad". (n,)."""
    q1, _, q3 = _quartiles(y)
    return np.minimum(y, q3 + _TAIL * (q3 - q1)) if q3 > q1 else y


def _standardise(t: FloatArray) -> tuple[FloatArray, float, float]:
    """Return ``(t - mean) / std``, mean and std; a constant ``t`` gives zeros and std 1."""
    mean = float(t.mean())
    centred = t - mean
    std = float(np.sqrt(np.mean(centred * centred)))
    if not std > 1e-12 * max(1.0, abs(mean)):
        return np.zeros_like(t), mean, 1.0
    return centred / std, mean, std


def _robust_unit(y: FloatArray) -> tuple[FloatArray, float, float]:
    """Shift and scale ``y`` by median and interquartile range, and cut far tails, so that no value overflows.

    Returns:
        The scaled values, the shift and the scale.
    """
    q1, median, q3 = _quartiles(y)
    scale = q3 - q1
    if not scale > 0.0:
        scale = float(np.max(np.abs(y - median)))
    if not (scale > 0.0 and np.isfinite(scale)):
        return np.zeros_like(y), median, 1.0
    upper = (q3 - median) / scale + _TAIL
    with np.errstate(over="ignore"):  # a subnormal scale; values that overflow are clipped
        return np.clip((y - median) / scale, -_GOOD_TAIL, upper), median, scale


def _finite(y: FloatArray) -> FloatArray:
    """``y`` with infinities cut to the largest floats."""
    return np.asarray(np.clip(y, -_LARGEST, _LARGEST), dtype=np.float64)


@attrs.frozen(eq=False)
class HalfRank:
    """Half-rank warp with its standardisation.

    Attributes:
        t: Warped losses. (n,)
        knots_y: Distinct losses, ascending. (k,)
        knots_t: Their warped values, ascending. (k,)
    """

    t: FloatArray
    knots_y: FloatArray
    knots_t: FloatArray

    @classmethod
    def fit(cls, y: FloatArray) -> HalfRank:
        """Fit to finite losses ``y`` (n,), n >= 1.

        Losses up to the median keep their distances. The j-th of the b distinct losses above it becomes
        ``median + s * ndtri(1/2 + (j - 1/2) / (2 b))``, where s is the root mean square distance of the good half from
        the median: the position of that loss if the worse half mirrored the better half as a Gaussian.
        """
        x, shift, scale = _robust_unit(y)
        values, position = np.unique(x, return_inverse=True)
        median = float(np.median(x))
        good = x[x <= median] - median
        spread = float(np.sqrt(np.mean(good * good)))
        if not spread > 0.0:
            spread = float(x.std()) or 1.0
        bad = values > median
        count = int(bad.sum())
        warped = values.copy()
        warped[bad] = median + spread * ndtri(0.5 + (np.arange(count) + 0.5) / (2.0 * max(count, 1)))
        t, mean, std = _standardise(warped[position])
        return cls(t, values * scale + shift, (warped - mean) / std)

    def inverse(self, t: FloatArray) -> FloatArray:
        """Piecewise linear between the observed losses, extended linearly below the best, flat above the worst."""
        y = np.interp(t, self.knots_t, self.knots_y)
        if len(self.knots_t) > 1:
            # warped values may be equal to rounding
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                slope = (self.knots_y[1] - self.knots_y[0]) / (self.knots_t[1] - self.knots_t[0])
                beyond = self.knots_y[0] + slope * (t - self.knots_t[0])
            y = np.where(t < self.knots_t[0], beyond, y)
        return _finite(y)


def yeo_johnson(x: FloatArray, lam: FloatArray | float) -> FloatArray:
    """Yeo-Johnson transform of ``x``; ``lam`` broadcasts against it."""
    x, lam = np.broadcast_arrays(x, lam)
    positive = x >= 0.0
    power = np.where(positive, lam, 2.0 - lam)
    log = np.log1p(np.abs(x))
    small = np.abs(power) < 1e-8
    safe = np.where(small, 1.0, power)
    grown = np.where(small, log, np.expm1(safe * log) / safe)
    return np.asarray(np.where(positive, grown, -grown), dtype=np.float64)


def yeo_johnson_inverse(t: FloatArray, lam: float) -> FloatArray:
    """Inverse of `yeo_johnson`; values beyond the transform's range map to the end of its float range."""
    t = np.asarray(t, dtype=np.float64)
    power = np.where(t >= 0.0, lam, 2.0 - lam)
    small = np.abs(power) < 1e-8
    safe = np.where(small, 1.0, power)
    inside = np.maximum(safe * np.abs(t), -1.0 + 1e-12)
    log = np.where(small, np.abs(t), np.log1p(inside) / safe)
    return np.asarray(np.sign(t) * np.expm1(np.minimum(log, 300.0)), dtype=np.float64)


def _yeo_johnson_log_likelihood(x: FloatArray, lams: FloatArray) -> FloatArray:
    """Profile log likelihood of ``x`` (n,) at each of ``lams`` (k,), up to a constant. (k,)."""
    t = yeo_johnson(x[:, None], lams[None, :])
    variance = t.var(axis=0)
    jacobian = float(np.sum(np.sign(x) * np.log1p(np.abs(x))))
    with np.errstate(divide="ignore"):
        log_variance = np.log(variance)
    score = -0.5 * len(x) * log_variance + (lams - 1.0) * jacobian
    return np.asarray(np.where(variance > 0.0, score, -np.inf), dtype=np.float64)


def yeo_johnson_fit(x: FloatArray) -> float:
    """Maximum likelihood exponent for ``x`` (n,) in [-4, 6], to about 1e-4.

    Grid search with zoom; the profile likelihood is unimodal in this range (Yeo & Johnson 2000).
    """
    low, high = _LAMBDA_RANGE
    best = 1.0
    for _ in range(5):
        lams = np.linspace(low, high, 21)
        best = float(lams[np.argmax(_yeo_johnson_log_likelihood(x, lams))])
        step = (high - low) / 20.0
        low, high = max(_LAMBDA_RANGE[0], best - step), min(_LAMBDA_RANGE[1], best + step)
    return best


@attrs.frozen(eq=False)
class YeoJohnson:
    """Yeo-Johnson warp between two standardisations.

    Attributes:
        t: Warped losses. (n,)
        lam: The exponent.
        shift: Subtracted from a loss before the transform.
        scale: Divisor of the shifted loss before the transform.
        mean: Subtracted after the transform.
        std: Divisor after the transform.
    """

    t: FloatArray
    lam: float
    shift: float
    scale: float
    mean: float
    std: float

    @classmethod
    def fit(cls, y: FloatArray) -> YeoJohnson:
        """Fit to finite losses ``y`` (n,), n >= 1."""
        robust, shift, scale = _robust_unit(y)
        x, centre, width = _standardise(robust)
        lam = yeo_johnson_fit(x) if x.any() else 1.0
        t, mean, std = _standardise(yeo_johnson(x, lam))
        return cls(t, lam, shift + centre * scale, width * scale, mean, std)

    def inverse(self, t: FloatArray) -> FloatArray:
        """Exact inverse; values beyond the transform's range map to its end."""
        x = yeo_johnson_inverse(t * self.std + self.mean, self.lam)
        with np.errstate(over="ignore"):
            return _finite(x * self.scale + self.shift)


def fit_warp(y: FloatArray) -> Warp:
    """Fit the warp to finite losses ``y`` (n,), n >= 1: half-rank for few losses, else Yeo-Johnson."""
    return HalfRank.fit(y) if len(y) < _HALF_RANK_BELOW else YeoJohnson.fit(y)
