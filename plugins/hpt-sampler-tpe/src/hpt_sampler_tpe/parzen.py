"""Parzen estimators over a tree: for each group of parameters that share a condition a mixture of product kernels.

Notation, of one group:

======  ====================================================================  ======
symbol  meaning                                                               shape
======  ====================================================================  ======
mu      observed values, then the prior's centre, the middle                  (k, g)
sigma   widths of the kernels of ordered parameters, the prior's is 1         (k, g)
w       weights of the kernels, sum 1                                         (k,)
x       configurations whose density is asked for, NaN where inactive         (c, d)
======  ====================================================================  ======

Parameters with the same condition are active together: they make one group, with the joint density sum_k w_k prod_j
K_kj(x_j) estimated from the trials in which they were active. The density of a configuration is the product over its
active groups, so it sums to 1 over the whole tree, parents drawn before children. In a space without conditions there
is one group, and this is the multivariate estimator of Falkner et al., BOHB, ICML 2018, with the kernels of Bergstra et
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
    from hpt_sampler_tpe.rules import Widths

__all__ = ["Mixture", "Parzen"]

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_TINY = 1e-300  # so that the log of an underflown mass is finite
_MIDDLE = 0.5


@attrs.frozen(eq=False)
class Parzen:
    """A density over the configurations of a tree: a mixture for each of its groups."""

    tree: Tree
    mixtures: tuple[Mixture, ...]

    def sample(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Draw ``count`` configurations. (count, d)."""
        rows = np.empty((count, len(self.tree.columns)))
        for group, mixture in zip(self.tree.groups, self.mixtures, strict=True):
            rows[:, group] = mixture.sample(count, rng)
        return self.tree.settle(rows)

    def log_density(self, x: FloatArray) -> FloatArray:
        """Log density at configurations ``x`` (c, d), per unit of the cube for continuous columns. (c,)."""
        total = np.zeros(len(x))
        for group, mixture in zip(self.tree.groups, self.mixtures, strict=True):
            on = ~np.isnan(x[:, group[0]])
            total[on] += mixture.log_density(x[on][:, group])
        return total


@attrs.frozen(eq=False)
class Mixture:
    """The joint density of one group; see the module for the notation."""

    columns: tuple[Column, ...]
    w: FloatArray
    mu: FloatArray
    sigma: FloatArray
    blur: float

    @classmethod
    def of(cls, columns: list[Column], rows: FloatArray, weights: FloatArray, widths: Widths) -> Mixture:
        """Estimate the density of ``rows`` (k - 1, g) with ``weights`` (k - 1,) beside the prior's 1."""
        mu = np.vstack([rows, np.full(len(columns), _MIDDLE)])
        sigma = np.ones(mu.shape)
        for j, column in enumerate(columns):
            if len(rows) and not column.categorical:
                sigma[:-1, j] = widths.of(rows[:, j], column.size)
        w = np.append(weights, 1.0)
        return cls(tuple(columns), w / w.sum(), mu, sigma, widths.blur)

    def sample(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Draw ``count`` points, not yet moved to values. (count, g)."""
        kernel = np.searchsorted(np.cumsum(self.w)[:-1], rng.random(count), side="right")
        rows = self.mu[kernel]
        numeric = [j for j, column in enumerate(self.columns) if not column.categorical]
        rows[:, numeric] = draw(rows[:, numeric], self.sigma[kernel][:, numeric], rng)
        for j, column in enumerate(self.columns):
            if column.centres is not None and column.categorical:
                anything = (kernel == len(self.w) - 1) | (rng.random(count) < column.size * self._blur(column))
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
        shifted = mu - _MIDDLE  # small numbers lose less in the expanded square
        constant = -0.5 * shifted**2 * inverse - np.log(sigma) - log_mass(mu, sigma) - _LOG_SQRT_2PI
        return np.asarray(z @ (shifted * inverse).T - 0.5 * z**2 @ inverse.T + constant.sum(axis=1))

    def _log_cells(self, j: int, column: Column, values: IntArray) -> FloatArray:
        """Log masses that the kernels give to the cells ``values`` of an ordered column. (len(values), k)."""
        assert column.edges is not None
        unique, where = np.unique(self.mu[:, j] + 1j * self.sigma[:, j], return_inverse=True)
        mu, sigma = unique.real, unique.imag
        low, high = column.edges[values][:, None], column.edges[values + 1][:, None]
        found = np.log(np.maximum(mass((low - mu) / sigma, (high - mu) / sigma), _TINY)) - log_mass(mu, sigma)
        return np.asarray(found[:, where])

    def _log_categories(self, j: int, column: Column, values: IntArray) -> FloatArray:
        """Log probabilities of the categories ``values`` under the kernels. (len(values), k)."""
        blur = self._blur(column)
        same = values[:, None] == column.index(self.mu[:, j])
        chances = np.where(same, 1.0 - (column.size - 1) * blur, blur)
        chances[:, -1] = 1.0 / column.size
        return np.asarray(np.log(chances))

    def _blur(self, column: Column) -> float:
        """The probability that a kernel gives to each category but its own."""
        return self.blur / (len(self.w) + self.blur * column.size)
