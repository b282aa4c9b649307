"""Acquisitions that are products: expected improvement, the chance to keep constraints, beliefs about the optimum.

All are logarithms, so a product of factors is the sum of terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import attrs
import numpy as np
from scipy.special import log_ndtr

from hpt_sampler_bayes.gp import GP, IntArray

if TYPE_CHECKING:
    from hpt_sampler_bayes.kernel import FloatArray

__all__ = ["Acquisition", "Feasibility", "Sum"]

_LOG_SQRT_2PI = 0.5 * np.log(2.0 * np.pi)


class Acquisition(Protocol):
    """What says how promising encoded points are, on a logarithmic scale."""

    def __call__(self, z: FloatArray) -> FloatArray:
        """Values at ``z`` (m, p). (m,)."""
        ...

    def with_gradient(self, z: FloatArray, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values at ``z`` (m, p) and their gradient by ``columns`` (c,) of it: (m,) and (m, c)."""
        ...


@attrs.frozen(eq=False)
class Sum:
    """The sum of at least one term."""

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
    """Log probability that a constraint is kept: log Phi(-mu / sd) of a process for how far points are beyond it.

    Gardner et al., Bayesian Optimization with Inequality Constraints, ICML 2014, eq. 6.

    Attributes:
        gp: Posterior of the excess; 0 is the bound.
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
