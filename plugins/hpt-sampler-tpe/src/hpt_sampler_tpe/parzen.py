"""Parzen estimators over a tree: a mixture of product kernels for each group of parameters that share a condition.

Notation, for one group:

======  ====================================================================  ======
symbol  meaning                                                               shape
======  ====================================================================  ======
mu      observed values, then the centre of the prior, 0.5                    (k, g)
sigma   bandwidths of ordered parameters, 1 for the prior                     (k, g)
w       weights of the kernels, sum 1                                         (k,)
x       configurations to evaluate the density at, NaN where inactive         (c, d)
======  ====================================================================  ======

Parameters with the same condition are active together and form one group. Its joint density sum_k w_k prod_j K_kj(x_j)
is estimated from the trials in which the group was active. The density of a configuration is the product over its
active groups, so it sums to 1 over the whole tree; parents are drawn before children. A space without conditions has
one group, and this is the multivariate estimator of Falkner et al., BOHB, ICML 2018, with the kernels of Bergstra et
al., Algorithms for Hyper-Parameter Optimization, NIPS 2011 (section 4).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_sampler_tpe.normal import FloatArray, IntArray, draw, log_mass, mass
from hpt_sampler_tpe.tree import Column, Tree

if TYPE_CHECKING:
    from hpt_sampler_tpe.rules import Bandwidths

__all__ = ["Mixture", "Parzen"]

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_TINY = 1e-300  # keeps the log of a mass that underflowed finite
_MIDDLE = 0.5


@attrs.frozen(eq=False)
class Parzen:
    """A density over the configurations of a tree, with one mixture per group."""

    tree: Tree
    mixtures: tuple[Mixture, ...]

    def sample(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Draw ``count`` configurations. (count, d)."""
        rows = np.empty((count, len(self.tree.columns)))
        for group, mixture in zip(self.tree.groups, self.mixtures, strict=True):
            rows[:, group] = mixture.sample(count, rng)
        return self.tree.snap(rows)

    def log_density(self, x: FloatArray) -> FloatArray:
        """Log density at configurations ``x`` (c, d), on the unit scale for continuous columns. (c,)."""
        total = np.zeros(len(x))
        for group, mixture in zip(self.tree.groups, self.mixtures, strict=True):
            on = ~np.isnan(x[:, group[0]])
            total[on] += mixture.log_density(x[on][:, group])
        return total


@attrs.frozen(eq=False)
class Mixture:
    """The joint density of one group; see the module docstring for the notation."""

    columns: tuple[Column, ...]
    w: FloatArray
    mu: FloatArray
    sigma: FloatArray
    smoothing: float

    @classmethod
    def of(cls, columns: list[Column], rows: FloatArray, weights: FloatArray, bandwidths: Bandwidths) -> Mixture:
        """Estimate the density of ``rows`` (k - 1, g) with ``weights`` (k - 1,); the prior weighs 1."""
        mu = np.vstack([rows, np.full(len(columns), _MIDDLE)])
        sigma = np.ones(mu.shape)
        for j, column in enumerate(columns):
            if not column.categorical:
                sigma[:-1, j] = bandwidths.of(rows[:, j], column.size)
        w = np.append(weights, 1.0)
        return cls(tuple(columns), w / w.sum(), mu, sigma, bandwidths.smoothing)

    def sample(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Draw ``count`` points, not snapped yet. (count, g)."""
        kernel = np.searchsorted(np.cumsum(self.w)[:-1], rng.random(count), side="right")
        rows = self.mu[kernel]
        numeric = [j for j, column in enumerate(self.columns) if not column.categorical]
        rows[:, numeric] = draw(rows[:, numeric], self.sigma[kernel][:, numeric], rng)
        for j, column in enumerate(self.columns):
            if column.centres is not None and column.categorical:
                anything = (kernel == len(self.w) - 1) | (
                    rng.random(count) < column.size * self._off_probability(column)
                )
                rows[anything, j] = column.centres[rng.integers(column.size, size=int(anything.sum()))]
        return rows

    def log_density(self, x: FloatArray) -> FloatArray:
        """Log density at ``x`` (c, g). (c,)."""
        total = self._log_continuous(x) + np.log(self.w)
        for j, column in enumerate(self.columns):
            if column.centres is not None:
                values, where = np.unique(column.index(x[:, j]), return_inverse=True)
                log_kernels = self._log_categories if column.categorical else self._log_cells
                total += log_kernels(j, column, values)[where]
        peak = total.max(axis=1)
        return np.asarray(np.log(np.exp(total - peak[:, None]).sum(axis=1)) + peak)

    def _log_continuous(self, x: FloatArray) -> FloatArray:
        """Log kernels of the continuous columns by two matrix products: no (c, k, g) array. (c, k)."""
        columns = [j for j, column in enumerate(self.columns) if column.centres is None]
        z, mu, sigma = x[:, columns] - _MIDDLE, self.mu[:, columns], self.sigma[:, columns]
        inverse = sigma**-2
        shifted = mu - _MIDDLE  # centred, as the expanded square cancels less
        constant = -0.5 * shifted**2 * inverse - np.log(sigma) - log_mass(mu, sigma) - _LOG_SQRT_2PI
        return np.asarray(z @ (shifted * inverse).T - 0.5 * z**2 @ inverse.T + constant.sum(axis=1))

    def _log_cells(self, j: int, column: Column, values: IntArray) -> FloatArray:
        """Log mass of each kernel in the cells ``values`` of an ordered column. (len(values), k)."""
        assert column.edges is not None
        unique, where = np.unique(self.mu[:, j] + 1j * self.sigma[:, j], return_inverse=True)
        mu, sigma = unique.real, unique.imag
        low, high = column.edges[values][:, None], column.edges[values + 1][:, None]
        found = np.log(np.maximum(mass((low - mu) / sigma, (high - mu) / sigma), _TINY)) - log_mass(mu, sigma)
        return np.asarray(found[:, where])

    def _log_categories(self, j: int, column: Column, values: IntArray) -> FloatArray:
        """Log probability of the categories ``values`` under each kernel. (len(values), k)."""
        other = self._off_probability(column)
        same = values[:, None] == column.index(self.mu[:, j])
        chances = np.where(same, 1.0 - (column.size - 1) * other, other)
        chances[:, -1] = 1.0 / column.size
        return np.asarray(np.log(chances))

    def _off_probability(self, column: Column) -> float:
        """The probability of each category but its own under a kernel."""
        return self.smoothing / (len(self.w) + self.smoothing * column.size)
