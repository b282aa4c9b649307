"""The user's prior of where the optimum is, and how its weight decays.

Notation:

======  ===================================================================  ======
symbol  meaning                                                              shape
======  ===================================================================  ======
pi      density of the prior relative to uniform, a product over parameters
t       number of trials after the first `n_initial`, this one included
beta    initial weight of the prior
======  ===================================================================  ======

The acquisition is multiplied by pi(x)^(beta / t): Hvarfner et al., piBO: Augmenting Acquisition Functions with User
Beliefs for Bayesian Optimization, ICLR 2022, eq. 6. On the logarithmic scale the exponent is a factor, so the weight of
the prior decays: at t = beta it is 1, and in the end the results decide.

The prior of an ordered parameter is a normal density on the unit scale, truncated at the bounds and mixed with a tenth
of uniform. Without the uniform part the log density is unbounded below, and a narrow prior that is wrong would outlast
any budget. A categorical parameter has weights. The prior of an inactive parameter is uniform.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hpt_core import Mistake, Params, UsageError
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.kernel import FloatArray

if TYPE_CHECKING:
    from hpt_sampler_bayes.gp import BoolArray, IntArray

__all__ = ["Prior", "PriorTerm"]

_BETA = 10.0
_UNIFORM_SHARE = 0.1  # share of uniform in the density of an ordered parameter
_GRID = np.linspace(0.0, 1.0, 1025)  # on which densities of continuous parameters are normalised


@attrs.frozen(eq=False)
class Prior:
    """The density pi, built by `Prior.of`.

    Attributes:
        encoding: The space's encoding.
        mode: The value of highest density of each parameter that has a prior, by name.
        center: Centre of each ordered column. (p,)
        precision: Inverse variance of each ordered column; 0 elsewhere. (p,)
        height: Density at its centre of the normal part of each ordered column; 0 elsewhere. (p,)
        weights: Log density of each one-hot column's category, times sqrt(2); 0 elsewhere. (p,)
        shares: Column of the unit cube -> its ascending coordinates, and the cumulative probability of their cells.
    """

    encoding: Encoding
    mode: Params
    center: FloatArray
    precision: FloatArray
    height: FloatArray
    weights: FloatArray
    shares: dict[int, tuple[FloatArray, FloatArray]]

    @classmethod
    def of(cls, encoding: Encoding, priors: Mapping[str, Any]) -> Prior:
        """Build the prior from the option ``priors``.

        Raises:
            UsageError: Listing every mistake, each with its key path.
        """
        center, precision, height, weights = np.zeros((4, len(encoding.group)))
        made = cls(encoding, {}, center, precision, height, weights, {})
        mistakes: list[Mistake] = []
        for name, given in priors.items():
            try:
                made._add(name, given)
            except UsageError as err:
                mistakes += err.mistakes
        if mistakes:
            raise UsageError(*mistakes)
        return made

    def _add(self, name: str, given: Any) -> None:
        encoding, path = self.encoding, f"sampler.priors.{name}"
        if name not in encoding.columns:
            near = get_close_matches(name, encoding.columns, 1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Parameters: {', '.join(encoding.columns)}."
            raise UsageError(Mistake(path, f"The space has no such parameter with more than one value.{hint}"))
        j = encoding.columns.index(name)
        table, mine = encoding.tables[j], encoding.group == j
        if encoding.categorical[j]:
            assert table is not None
            parameter = encoding.space[name]
            values = [parameter.value_at(i) for i in range(len(table))]
            weights = _weights(path, given, values)
            order = np.argsort([parameter.to_unit(value) for value in values])
            density = np.log(np.maximum(weights[order] / weights.mean(), np.finfo(np.float64).tiny))
            self.weights[mine] = density * np.sqrt(2.0)
            self.mode[name] = values[int(weights.argmax())]
        else:
            center, spread = _normal(path, given, encoding.space[name])
            spread = max(spread, _GRID[1])  # a narrower bell would fall between the grid points
            self.mode[name] = center
            self.center[mine], self.precision[mine] = encoding.space[name].to_unit(center), spread**-2.0
            table = _GRID if table is None else table
            bell = np.exp(-0.5 * ((table - self.center[mine]) / spread) ** 2)
            self.height[mine] = (1.0 - _UNIFORM_SHARE) / bell.mean()
            density = np.log(self.height[mine] * bell + _UNIFORM_SHARE)
        shares = np.cumsum(np.exp(density - density.max()))
        self.shares[j] = (table, shares / shares[-1])

    def quantiles(self, u: FloatArray) -> FloatArray:
        """Map uniform rows (n, d) to rows distributed like the prior, not snapped; other columns are kept. (n, d)."""
        rows = np.array(u, dtype=np.float64)
        for j, (coordinates, cumulative) in self.shares.items():
            rows[:, j] = coordinates[np.searchsorted(cumulative, u[:, j]).clip(max=len(coordinates) - 1)]
        return rows

    def draw(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Snapped full rows drawn from the prior. (count, d)."""
        return self.encoding.snap(self.quantiles(rng.random((count, len(self.encoding.columns)))))

    def log_density(self, z: FloatArray) -> FloatArray:
        """Log pi at encoded points ``z`` (m, p). (m,)."""
        bell, _ = self._bell(z)
        ordered = np.where(self._active(z) & (self.precision > 0.0), np.log(bell + _UNIFORM_SHARE), 0.0)
        return np.asarray(ordered.sum(axis=1) + z @ self.weights)

    def gradient(self, z: FloatArray, columns: IntArray) -> FloatArray:
        """The gradient of log pi at ``z`` (m, p) with respect to its ordered ``columns`` (c,). (m, c)."""
        bell, slope = self._bell(z)
        return np.asarray(np.where(self._active(z), slope / (bell + _UNIFORM_SHARE), 0.0)[:, columns])

    def _bell(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The normal part of each column's density, and its derivative. (m, p) each."""
        off = z - self.center
        bell = self.height * np.exp(-0.5 * self.precision * off * off)
        return bell, -self.precision * off * bell

    def _active(self, z: FloatArray) -> BoolArray:
        """Which columns of ``z`` belong to an active parameter. (m, p)."""
        encoding = self.encoding
        if not any(encoding.conditions):  # the rest would take a tenth of a suggestion
            return np.ones(z.shape, dtype=bool)
        rows = np.empty((len(z), len(encoding.columns)))
        for j, hot in enumerate(encoding.categorical):
            mine = np.flatnonzero(encoding.group == j)
            rows[:, j] = encoding.levels[mine][z[:, mine].argmax(axis=1)] if hot else z[:, mine[0]]
        return encoding.activity(rows)[:, encoding.group]


@attrs.frozen(eq=False)
class PriorTerm:
    """The acquisition term of a prior: (beta / t) log pi.

    Attributes:
        prior: The density.
        t: Number of trials after the first `n_initial`, this one included; at least 1.
    """

    prior: Prior
    t: int

    def __call__(self, z: FloatArray) -> FloatArray:
        """As `Acquisition`."""
        return _BETA / self.t * self.prior.log_density(z)

    def with_gradient(self, z: FloatArray, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """As `Acquisition`."""
        return self(z), _BETA / self.t * self.prior.gradient(z, columns)


def _normal(path: str, given: Any, parameter: Any) -> tuple[Any, float]:
    """Centre (a value of the parameter) and spread of an ordered parameter's prior."""
    if not isinstance(given, Mapping) or set(given) != {"center", "spread"}:
        raise UsageError(Mistake(path, f"Must be a table like {{ center = ..., spread = 0.3 }}. Got {given!r:.80}."))
    mistakes = []
    center, problem = parameter.accept(given["center"])
    if problem:
        mistakes.append(Mistake(f"{path}.center", f"{problem[:1].upper()}{problem[1:]}"))
    spread = _positive(given["spread"])
    if spread is None:
        message = f"Must be a number > 0, a fraction of the parameter's range. Got {given['spread']!r:.80}."
        mistakes.append(Mistake(f"{path}.spread", message))
    if spread is None or mistakes:
        raise UsageError(*mistakes)
    return center, spread


def _weights(path: str, given: Any, values: list[Any]) -> FloatArray:
    """The weight of each category, 1 if none is given. (len(values),)."""
    known = {_label(value): i for i, value in enumerate(values)}
    if not isinstance(given, Mapping) or not given:
        raise UsageError(Mistake(path, f"Must be a table of weights by choice. Got {given!r:.80}."))
    weights, mistakes = np.ones(len(values)), []
    for choice, weight in given.items():
        at, number = known.get(_label(choice)), _positive(weight)
        if at is None:
            mistakes.append(Mistake(f"{path}.{choice}", f"There is no such choice. Choices: {', '.join(known)}."))
        elif number is None:
            mistakes.append(Mistake(f"{path}.{choice}", f"Must be a number > 0. Got {weight!r:.80}."))
        else:
            weights[at] = number
    if mistakes:
        raise UsageError(*mistakes)
    return weights


def _label(choice: Any) -> str:
    """A choice as it is written as a key in a study file."""
    return choice if isinstance(choice, str) else json.dumps(choice)


def _positive(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 < value < math.inf else None
