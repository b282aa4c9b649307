"""Expected improvement of the dominated hypervolume of two objectives, exact, as a logarithm with its gradient.

Notation (minimisation, both objectives warped):

======  ====================================================================  ======
symbol  meaning                                                               shape
======  ====================================================================  ======
x, y    first and second objective of the front, x ascending, y descending    (k,)
r       reference point, worse than the front
EI1(a)  expected improvement of the first objective below a; EI2 likewise
======  ====================================================================  ======

The improvement of a point is the area that the point dominates and the front does not. The region below r that the
front does not dominate is cut into k + 1 strips: between x_i and x_(i+1) it reaches down from y_i, with x_0 = -inf,
x_(k+1) = r_1 and y_0 = r_2. With independent objectives the expected area is an integral of products, and each strip
contributes a product of expected improvements:

    EHVI = sum_i (EI1(x_(i+1)) - EI1(x_i)) EI2(y_i)

This is the formula of Emmerich, Yang & Deutz, Infill criteria for multiobjective Bayesian optimization, 2020,
section 8, written in expected improvements, so that their logarithms can be used (Ament et al., NeurIPS 2023).
"""

from __future__ import annotations

import attrs
import numpy as np
from scipy.special import logsumexp

from hpt_sampler_bayes.gp import GP, IntArray
from hpt_sampler_bayes.kernel import FloatArray
from hpt_sampler_bayes.log_ei import log_ei_with_gradient

__all__ = ["HypervolumeImprovement", "evenly", "front", "log_ehvi_with_gradient"]

_MOST = 64  # points of the front that are used; of a longer one, points evenly spread along it
_LEAST_GAP = 1e-12  # smallest difference of log EI1 over a strip


def front(losses: FloatArray) -> IntArray:
    """Indices of the non-dominated rows of ``losses`` (n, 2), one of equals, by the first objective. (k,)."""
    order = np.lexsort((losses[:, 1], losses[:, 0]))
    second = losses[order, 1]
    lowest_before = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
    return np.asarray(order[second < lowest_before])


def evenly(count: int, most: int) -> IntArray:
    """Up to ``most`` of the indices below ``count``, evenly spread, including the first and the last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


@attrs.frozen(eq=False)
class HypervolumeImprovement:
    """Log expected hypervolume improvement of encoded points.

    Attributes:
        first: Posterior of the first objective.
        second: Posterior of the second.
        corners: The front, sorted by the first objective, all better than ``reference``. (k, 2)
        reference: The reference point. (2,)
    """

    first: GP
    second: GP
    corners: FloatArray
    reference: FloatArray

    @classmethod
    def over(cls, first: GP, second: GP, losses: FloatArray, reference: FloatArray) -> HypervolumeImprovement:
        """The improvement over the front of ``losses`` (n, 2) below ``reference`` (2,)."""
        corners = losses[front(losses)]
        corners = corners[(corners < reference).all(axis=1)]
        return cls(first, second, corners[evenly(len(corners), _MOST)], reference)

    def __call__(self, z: FloatArray) -> FloatArray:
        """As `Acquisition`."""
        return log_ehvi_with_gradient(self.first.predict(z), self.second.predict(z), self.corners, self.reference)[0]

    def with_gradient(self, z: FloatArray, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """As `Acquisition`."""
        mu_1, sd_1, d_mu_1, d_sd_1 = self.first.predict_with_gradient(z, columns)
        mu_2, sd_2, d_mu_2, d_sd_2 = self.second.predict_with_gradient(z, columns)
        value, slopes = log_ehvi_with_gradient((mu_1, sd_1), (mu_2, sd_2), self.corners, self.reference)
        return value, np.einsum("km,kmc->mc", slopes, np.array([d_mu_1, d_sd_1, d_mu_2, d_sd_2]))


def log_ehvi_with_gradient(
    first: tuple[FloatArray, FloatArray],
    second: tuple[FloatArray, FloatArray],
    corners: FloatArray,
    reference: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Log expected hypervolume improvement.

    Args:
        first: Means and standard deviations of the first objective, (m,) each.
        second: Those of the second.
        corners: The front, sorted by the first objective, all better than ``reference``; may be empty. (k, 2)
        reference: The reference point. (2,)

    Returns:
        The values (m,), and their derivatives with respect to mu and sd of the first, mu and sd of the second
        objective (4, m).
    """
    right, top = np.append(corners[:, 0], reference[0]), np.append(reference[1], corners[:, 1])
    up, up_mu, up_sd = _log_ei_below(first, right)
    height, height_mu, height_sd = _log_ei_below(second, top)
    left, left_mu, left_sd = (_before(a, at) for a, at in ((up, -np.inf), (up_mu, 0.0), (up_sd, 0.0)))
    share = np.exp(np.minimum(left - up, -_LEAST_GAP))  # EI1(x_i) / EI1(x_(i+1))
    strips = up + np.log1p(-share) + height
    value = logsumexp(strips, axis=1)
    weights = np.exp(strips - value[:, None])
    slopes = [(up_mu - share * left_mu) / (1.0 - share), (up_sd - share * left_sd) / (1.0 - share)]
    return value, np.array([(weights * slope).sum(axis=1) for slope in (*slopes, height_mu, height_sd)])


def _log_ei_below(
    predicted: tuple[FloatArray, FloatArray], bounds: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log EI below each of ``bounds`` (k,) and its derivatives with respect to mean and deviation, each (m, k)."""
    mu, sd = (np.repeat(part, len(bounds)) for part in predicted)
    shape = (len(predicted[0]), len(bounds))
    value, by_mu, by_sd = log_ei_with_gradient(mu, sd, np.tile(bounds, shape[0]))
    return value.reshape(shape), by_mu.reshape(shape), by_sd.reshape(shape)


def _before(columns: FloatArray, first: float) -> FloatArray:
    """The columns shifted one to the right, the first filled with ``first``. (m, k)."""
    return np.hstack([np.full((len(columns), 1), first), columns[:, :-1]])
