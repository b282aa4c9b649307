"""Acquisition functions on a logarithmic scale, so that a product of factors is a sum of terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import attrs
import numpy as np
from scipy.special import log_ndtr

from hpt_sampler_bayes.gp import GP, IntArray
from hpt_sampler_bayes.log_ei import log_ei, log_ei_with_gradient

if TYPE_CHECKING:
    from hpt_sampler_bayes.kernel import FloatArray

__all__ = ["Acquisition", "ExpectedImprovement", "Feasibility", "Sum"]

_LOG_SQRT_2PI = 0.5 * np.log(2.0 * np.pi)
_CHUNK = 1 << 22  # most entries of a cross-covariance, to bound memory


class Acquisition(Protocol):
    """Log acquisition value of encoded points, and its gradient."""

    def __call__(self, z: FloatArray) -> FloatArray:
        """Values at ``z`` (m, p). (m,)."""
        ...

    def with_gradient(self, z: FloatArray, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values at ``z`` (m, p) and their gradient with respect to its ``columns`` (c,): (m,) and (m, c)."""
        ...


@attrs.frozen(eq=False)
class ExpectedImprovement:
    """Log expected improvement of encoded points.

    Attributes:
        gp: The posterior.
        target: The level below which a loss counts as an improvement.
    """

    gp: GP
    target: float

    def __call__(self, z: FloatArray) -> FloatArray:
        """As `Acquisition`."""
        rows = _CHUNK // len(self.gp.scaled)  # never 0: a posterior has some hundred points at most
        parts = [log_ei(*self.gp.predict(z[i : i + rows]), self.target) for i in range(0, len(z), rows)]
        return np.concatenate(parts)

    def with_gradient(self, z: FloatArray, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """As `Acquisition`."""
        mu, sd, d_mu, d_sd = self.gp.predict_with_gradient(z, columns)
        value, by_mu, by_sd = log_ei_with_gradient(mu, sd, self.target)
        return value, by_mu[:, None] * d_mu + by_sd[:, None] * d_sd


@attrs.frozen(eq=False)
class Sum:
    """The sum of at least one log acquisition, the logarithm of their product."""

    terms: Sequence[Acquisition]

    def __call__(self, z: FloatArray) -> FloatArray:
        """As `Acquisition`."""
        return np.asarray(np.sum([term(z) for term in self.terms], axis=0))

    def with_gradient(self, z: FloatArray, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """As `Acquisition`."""
        values, gradients = zip(*(term.with_gradient(z, columns) for term in self.terms), strict=True)
        return np.sum(values, axis=0), np.sum(gradients, axis=0)


@attrs.frozen(eq=False)
class Feasibility:
    """Log probability that a constraint is met: log Phi(-mu / sd) of the process of its excess.

    Gardner et al., Bayesian Optimization with Inequality Constraints, ICML 2014, eq. 6.

    Attributes:
        gp: Posterior of the excess; the constraint is met at 0 and below.
    """

    gp: GP

    def __call__(self, z: FloatArray) -> FloatArray:
        """As `Acquisition`."""
        mu, sd = self.gp.predict(z)
        return np.asarray(log_ndtr(-mu / sd), dtype=np.float64)

    def with_gradient(self, z: FloatArray, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """As `Acquisition`. With u = -mu / sd: d log Phi(u) = (phi / Phi)(u) du, du = -(dmu + u dsd) / sd."""
        mu, sd, d_mu, d_sd = self.gp.predict_with_gradient(z, columns)
        u = -mu / sd
        value = np.asarray(log_ndtr(u), dtype=np.float64)
        ratio = np.exp(-0.5 * u * u - _LOG_SQRT_2PI - value)
        return value, (-ratio / sd)[:, None] * (d_mu + u[:, None] * d_sd)
