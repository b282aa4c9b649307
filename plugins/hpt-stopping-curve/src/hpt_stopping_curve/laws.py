"""Two laws of learning curves, y(t) = a + b t^-c and y(t) = a + b exp(-c t), fitted and extrapolated.

Both laws are linear in a and b for a given shape c. The forecast therefore averages over a grid of shapes of both laws,
each with its exact linear regression. With phi_c(t) the falling part of the law,

    x(t) = (phi_c(t) - phi_c(T)) / (phi_c(t_1) - phi_c(T)),    y(t) = y_T + drop x(t),

so that the intercept *is* the value y_T at the horizon T. Under a flat prior on (y_T, drop) and 1/sigma, y_T has a
Student t distribution with n - 2 degrees of freedom, and the shape a weight ~ (n Sxx)^(-1/2) RSS^(-(n-2)/2) (Gelman et
al. 2013, "Bayesian Data Analysis", chapter 14). A Laplace approximation would be too narrow if few points leave the
shape open. Here the shapes then disagree about the end, which widens the forecast.
"""

from __future__ import annotations

from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import stdtr

__all__ = ["Fit", "Forecast", "Law", "fit", "forecast"]

Law = Literal["power", "exponential"]

_POWERS = np.geomspace(0.05, 5.0, 32)
_RATES = np.geomspace(0.3, 50.0, 32)  # per horizon
_TINY = 1e-10  # relative to the losses: smaller residuals are rounding
_BEYOND = 0.1  # uncertain share of the change still to come, as no law is exact


@attrs.frozen
class Fit:
    """A fitted law.

    Attributes:
        law: Name of the law.
        a: The limit.
        b: The factor of the falling part.
        c: The exponent, or the rate per step.
        rss: Sum of the squared residuals.
    """

    law: Law
    a: float
    b: float
    c: float
    rss: float


@attrs.frozen(eq=False)
class Forecast:
    """The distribution of a curve's value at the horizon: a mixture of Student t distributions.

    Attributes:
        weights: Weights of the components, (k,); they sum to 1.
        means: (k,).
        scales: (k,), above 0.
        freedom: Degrees of freedom of all components.
    """

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    freedom: int

    @property
    def mean(self) -> float:
        """The expected value."""
        return float(self.weights @ self.means)

    @property
    def spread(self) -> float:
        """The standard deviation, with the scales taken as those of normal distributions."""
        second = self.weights @ (self.scales**2 + (self.means - self.mean) ** 2)
        return float(np.sqrt(second))

    def below(self, bound: float) -> float:
        """The probability of a value below ``bound``."""
        return float(self.weights @ stdtr(self.freedom, (bound - self.means) / self.scales))


def forecast(steps: NDArray[np.float64], losses: NDArray[np.float64], horizon: float) -> Forecast:
    """Extrapolate a curve to a later step.

    No real curve follows a law exactly. So the error of the laws on this curve so far is added: how far the forecast of
    the last point from the first half of the points was off.

    Args:
        steps: Ascending, above 0, (n,) with n >= 4.
        losses: (n,), of the order of one.
        horizon: The step to forecast, above the last one.
    """
    ahead = _regressions(steps, losses, horizon)
    known = max(4, len(steps) // 2)
    missed = 0.0
    if known < len(steps):
        missed = _regressions(steps[:known], losses[:known], float(steps[-1])).mean - losses[-1]
    coming = _BEYOND * (ahead.means - losses[-1])
    return attrs.evolve(ahead, scales=np.sqrt(ahead.scales**2 + coming**2 + missed**2))


def _regressions(steps: NDArray[np.float64], losses: NDArray[np.float64], horizon: float) -> Forecast:
    """The exact posterior of y_T under the two laws."""
    n = len(steps)
    shapes = np.vstack([_falling("power", steps, horizon), _falling("exponential", steps, horizon)])  # (k, n)
    centre = shapes.mean(axis=1)
    moved = shapes - centre[:, None]
    sxx = np.sum(moved**2, axis=1)
    drops = moved @ losses / sxx
    means = losses.mean() - drops * centre
    rss = np.sum((losses - means[:, None] - drops[:, None] * shapes) ** 2, axis=1)
    rss = rss + n * (_TINY * max(float(np.abs(losses).max()), _TINY)) ** 2
    evidence = -0.5 * np.log(sxx) - 0.5 * (n - 2) * np.log(rss)
    weights = np.exp(evidence - evidence.max())
    ahead = rss / (n - 2) * (1 + 1 / n + centre**2 / sxx)
    return Forecast(weights / weights.sum(), means, np.sqrt(ahead), n - 2)


def _falling(law: Law, steps: NDArray[np.float64], horizon: float) -> NDArray[np.float64]:
    """The falling part of a law for each shape, scaled to 1 at the first step and 0 at the horizon; (shapes, n)."""
    if law == "power":
        parts = np.power.outer(np.append(steps, horizon) / steps[0], -_POWERS).T
    else:
        parts = np.exp(-np.multiply.outer(_RATES, (np.append(steps, horizon) - steps[0]) / horizon))
    end = parts[:, -1:]
    falling: NDArray[np.float64] = (parts[:, :-1] - end) / (1.0 - end)
    return falling


def fit(steps: NDArray[np.float64], losses: NDArray[np.float64], law: Law) -> Fit:
    """Fit a law by least squares within bounds: c in [0.05, 5], or [0.3, 50] per last step for the exponential.

    Args:
        steps: Ascending, above 0, (n,) with n >= 4.
        losses: (n,), of the order of one.
        law: Name of the law.
    """
    unit = float(steps[-1])
    t = steps / unit
    grid = _POWERS if law == "power" else _RATES

    def solved(c: float) -> tuple[float, float, float]:
        """The RSS, a and b of the linear regression for a given shape."""
        design = np.column_stack([np.ones_like(t), t**-c if law == "power" else np.exp(-c * t)])
        ab = np.linalg.lstsq(design, losses, rcond=None)[0]
        return float(np.sum((design @ ab - losses) ** 2)), float(ab[0]), float(ab[1])

    best = int(np.argmin([solved(c)[0] for c in grid]))
    between = float(grid[max(0, best - 1)]), float(grid[min(len(grid) - 1, best + 1)])
    found = minimize_scalar(lambda c: solved(c)[0], bounds=between, method="bounded", options={"xatol": 1e-10})
    c = float(found.x)
    rss, a, b = solved(c)
    return Fit(law, a, b * unit**c, c, rss) if law == "power" else Fit(law, a, b, c / unit, rss)
