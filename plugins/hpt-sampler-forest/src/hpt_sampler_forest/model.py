"""The surrogate: a random forest whose trees give mean and variance, and the log expected improvement.

Notation:

======  ====================================================================  ======
symbol  meaning                                                               shape
======  ====================================================================  ======
x       encoded configurations: unit coordinates of ordered parameters, -1    (n, p)
        where inactive; categories one-hot, all 0 where inactive
y       transformed losses (see `observations`)                               (n,)
======  ====================================================================  ======

Mean and variance are those of a mixture over trees, each with the mean and variance of its leaf (Hutter et al.,
Algorithm Runtime Prediction, Artificial Intelligence 2014, section 4.3.2).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr
from sklearn.ensemble import RandomForestRegressor

if TYPE_CHECKING:
    from hpt_core import Space

__all__ = ["Encoder", "FloatArray", "Forest", "log_expected_improvement", "tree_sizes"]

FloatArray = NDArray[np.float64]

_INACTIVE = -1.0
_SAME = 1e-12
_MAX_CELLS = 80_000  # rows times columns that a level of a tree searches, which bounds the time of a fit to about 1 s
_MIN_ROWS = 1000
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_MIN_VARIANCE = 1e-10  # below it, an improvement is practically certain or impossible


@attrs.frozen(eq=False)
class Encoder:
    """The encoding of the configurations of one space, built by `Encoder.of`.

    Attributes:
        ordered: (column of the unit cube, encoded column) of each ordered parameter. (d', 2)
        choices: (column of the unit cube, first encoded column, unit coordinates of the choices) of each categorical.
        width: The number of encoded columns, p.
    """

    ordered: NDArray[np.intp]
    choices: list[tuple[int, int, FloatArray]]
    width: int

    @classmethod
    def of(cls, space: Space) -> Encoder:
        """Build the encoding of ``space``."""
        ordered, choices, width = [], [], 0
        for j, name in enumerate(space.columns):
            parameter: Any = space[name]
            if parameter.ordered:
                ordered.append((j, width))
                width += 1
            else:
                levels = [parameter.to_unit(parameter.value_at(i)) for i in range(parameter.size)]
                choices.append((j, width, np.array(levels)))
                width += len(levels)
        return cls(np.array(ordered, dtype=np.intp).reshape(-1, 2), choices, width)

    def encode(self, unit: FloatArray) -> NDArray[np.float32]:
        """Encode unit rows (n, d), which have NaN where inactive. (n, p), of the type that scikit-learn trees use."""
        found = np.zeros((len(unit), self.width), dtype=np.float32)
        found[:, self.ordered[:, 1]] = np.nan_to_num(unit[:, self.ordered[:, 0]], nan=_INACTIVE)
        for j, first, levels in self.choices:
            active = np.flatnonzero(~np.isnan(unit[:, j]))
            found[active, first + np.searchsorted(levels, unit[active, j] - _SAME)] = 1.0
        return found


@attrs.frozen(eq=False)
class Forest:
    """A fitted forest, built by `Forest.fit`."""

    forest: Any

    @classmethod
    def fit(cls, x: NDArray[np.floating], y: FloatArray, trees: int, rng: np.random.Generator) -> Forest:
        """Fit ``trees`` trees to ``x`` (n, p) and ``y`` (n,)."""
        seed, (rows, features) = int(rng.integers(2**31)), tree_sizes(*x.shape)
        made = RandomForestRegressor(
            trees, max_samples=rows, max_features=features, min_samples_split=3, random_state=seed, n_jobs=1
        )
        return cls(made.fit(x, y))

    def predict(self, x: NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
        """Mean and variance at ``x`` (n, p). (n,) each."""
        single = np.ascontiguousarray(x, dtype=np.float32)
        means, variances = np.empty((2, len(self.forest.estimators_), len(x)))
        for k, estimator in enumerate(self.forest.estimators_):
            leaf = estimator.tree_.apply(single)
            means[k] = estimator.tree_.value[leaf, 0, 0]
            variances[k] = estimator.tree_.impurity[leaf]
        return means.mean(axis=0), means.var(axis=0) + variances.mean(axis=0)


def tree_sizes(n: int, p: int) -> tuple[int, int]:
    """Rows that a tree is fitted to, and columns that each split chooses from.

    All rows and 0.8 of the columns, unless these are more than `_MAX_CELLS`: then fewer rows, and from `_MIN_ROWS` on
    fewer columns.
    """
    features = max(1, int(0.8 * p))
    rows = min(n, max(_MIN_ROWS, _MAX_CELLS // features))
    return rows, min(features, _MAX_CELLS // rows)


def log_expected_improvement(target: float, mean: FloatArray, variance: FloatArray) -> FloatArray:
    """Log expected improvement below ``target`` under normals ``mean``, ``variance`` (n,). (n,).

    It is log(sd) + log h(u), h(u) = phi(u) + u Phi(u), u = (target - mean) / sd.
    """
    sd = np.sqrt(np.maximum(variance, _MIN_VARIANCE))
    return np.asarray(np.log(sd) + _log_h((target - mean) / sd))


def _log_h(u: FloatArray) -> FloatArray:
    """Accurate log h(u) (n,): by erfcx in the lower tail, and by a series below -50, where erfcx loses all digits."""
    found = np.empty(u.shape)
    plain, far = u > -1.0, u < -50.0
    middle = ~plain & ~far
    v = u[plain]
    found[plain] = np.log(np.exp(-0.5 * v**2 - _LOG_SQRT_2PI) + v * ndtr(v))
    v = u[middle]
    ratio = math.sqrt(math.pi / 2.0) * erfcx(-v / math.sqrt(2.0))  # Phi(v) / phi(v)
    found[middle] = -0.5 * v**2 - _LOG_SQRT_2PI + np.log1p(v * ratio)
    v = u[far]
    q = v**-2.0
    series = q * (-3.0 + q * (15.0 + q * (-105.0 + 945.0 * q)))
    found[far] = -0.5 * v**2 - _LOG_SQRT_2PI + np.log(q) + np.log1p(series)
    return found
