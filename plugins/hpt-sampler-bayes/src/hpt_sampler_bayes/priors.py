"""What the user believes of where the optimum is, and how long that counts.

Notation:

======  ===================================================================  ======
symbol  meaning                                                              shape
======  ===================================================================  ======
pi      density of the belief relative to uniform, a product over parameters
t       how many trials there are behind the first `n_initial`, this one
        included
beta    how much the belief counts at first
======  ===================================================================  ======

The acquisition is multiplied by pi(x)^(beta / t): Hvarfner et al., piBO: Augmenting Acquisition Functions with User
Beliefs for Bayesian Optimization, ICLR 2022, eq. 6. On the logarithmic scale the exponent is a factor, so that the
belief fades: at t = beta it counts once, and what is measured decides in the end.

An ordered parameter has a normal density on the unit scale, cut at the bounds, with a tenth of uniform in it: a narrow
belief that is wrong would otherwise outlast any budget, its logarithm having no bottom. A categorical one has weights.
Where a parameter is inactive the belief is uniform.
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

__all__ = ["Belief", "Prior"]

_BETA = 10.0
_DOUBT = 0.1  # share of uniform in the density of an ordered parameter
_FINE = np.linspace(0.0, 1.0, 1025)


@attrs.frozen(eq=False)
class Prior:
    """The density pi, made by `Prior.of`.

    Attributes:
        encoding: The space's encoding.
        mode: The believed values, by name.
        center: Centre of each ordered column. (p,)
        precision: Inverse variance of each ordered column; 0 elsewhere. (p,)
        height: Density of each ordered column's bell at its centre, of the mixture's share; 0 elsewhere. (p,)
        weights: Log density of each one-hot column's category, times sqrt(2); 0 elsewhere. (p,)
        shares: Column of the unit cube -> coordinates, ascending, and the cumulative shares of their cells.
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
        """Read the option ``priors``.

        Raises:
            UsageError: With every mistake, each at its key path.
        """
        width = len(encoding.group)
        zeros = [np.zeros(width) for _ in range(4)]
        made = cls(encoding, {}, zeros[0], zeros[1], zeros[2], zeros[3], {})
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
            hint = f" Did you mean {near[0]!r}?" if near else f" There: {', '.join(encoding.columns)}."
            raise UsageError(Mistake(path, f"Is no parameter of the space with more than one value.{hint}"))
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
            spread = max(spread, _FINE[1])  # a narrower bell would fall between the points that it is summed over
            self.mode[name] = center
            self.center[mine], self.precision[mine] = encoding.space[name].to_unit(center), spread**-2.0
            table = _FINE if table is None else table
            bell = np.exp(-0.5 * ((table - self.center[mine]) / spread) ** 2)
            self.height[mine] = (1.0 - _DOUBT) / bell.mean()
            density = np.log(self.height[mine] * bell + _DOUBT)
        shares = np.cumsum(np.exp(density - density.max()))
        self.shares[j] = (table, shares / shares[-1])

    def quantiles(self, u: FloatArray) -> FloatArray:
        """Uniform rows (n, d) as rows that are distributed like the belief, not snapped; others stay. (n, d)."""
        rows = np.array(u, dtype=np.float64)
        for j, (coordinates, cumulative) in self.shares.items():
            rows[:, j] = coordinates[np.searchsorted(cumulative, u[:, j]).clip(max=len(coordinates) - 1)]
        return rows

    def draw(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Snapped full rows that are distributed like the belief. (count, d)."""
        return self.encoding.snap(self.quantiles(rng.random((count, len(self.encoding.columns)))))

    def log_density(self, z: FloatArray) -> FloatArray:
        """Log pi at encoded points ``z`` (m, p). (m,)."""
        bell, _ = self._bell(z)
        ordered = np.where(self._active(z) & (self.precision > 0.0), np.log(bell + _DOUBT), 0.0)
        return np.asarray(ordered.sum(axis=1) + z @ self.weights)

    def gradient(self, z: FloatArray, columns: IntArray) -> FloatArray:
        """The gradient of log pi at ``z`` (m, p) by ``columns`` (c,) of it, which are ordered. (m, c)."""
        bell, slope = self._bell(z)
        return np.asarray(np.where(self._active(z), slope / (bell + _DOUBT), 0.0)[:, columns])

    def _bell(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The normal part of each column's density, and its slope. (m, p) each."""
        off = z - self.center
        bell = self.height * np.exp(-0.5 * self.precision * off * off)
        return bell, -self.precision * off * bell

    def _active(self, z: FloatArray) -> BoolArray:
        """Which columns of ``z`` belong to an active parameter. (m, p)."""
        encoding = self.encoding
        if not any(encoding.conditions):
            return np.ones(z.shape, dtype=bool)
        rows = np.empty((len(z), len(encoding.columns)))
        for j, hot in enumerate(encoding.categorical):
            mine = np.flatnonzero(encoding.group == j)
            rows[:, j] = encoding.levels[mine][z[:, mine].argmax(axis=1)] if hot else z[:, mine[0]]
        return encoding.activity(rows)[:, encoding.group]


@attrs.frozen(eq=False)
class Belief:
    """The term that a prior adds to a log acquisition: (beta / t) log pi.

    Attributes:
        prior: The density.
        t: How many trials there are behind the first `n_initial`, this one included; at least 1.
    """

    prior: Prior
    t: int

    def __call__(self, z: FloatArray) -> FloatArray:
        """Values at ``z`` (m, p). (m,)."""
        return _BETA / self.t * self.prior.log_density(z)

    def with_gradient(self, z: FloatArray, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values at ``z`` (m, p) and their gradient by ``columns`` (c,) of it: (m,) and (m, c)."""
        return self(z), _BETA / self.t * self.prior.gradient(z, columns)


def _normal(path: str, given: Any, parameter: Any) -> tuple[Any, float]:
    """The centre, a value of the parameter, and the spread of an ordered one's belief."""
    if not isinstance(given, Mapping) or set(given) != {"center", "spread"}:
        raise UsageError(Mistake(path, f"Must be a table like {{ center = ..., spread = 0.3 }}. Got {given!r:.80}."))
    mistakes = []
    center, problem = parameter.accept(given["center"])
    if problem:
        mistakes.append(Mistake(f"{path}.center", f"{problem[:1].upper()}{problem[1:]}"))
    spread = _positive(given["spread"])
    if spread is None:
        message = f"Must be a number > 0, a share of the parameter's range. Got {given['spread']!r:.80}."
        mistakes.append(Mistake(f"{path}.spread", message))
    if spread is None or mistakes:
        raise UsageError(*mistakes)
    return center, spread


def _weights(path: str, given: Any, values: list[Any]) -> FloatArray:
    """The weight of each category; 1 where none is given."""
    known = {_label(value): i for i, value in enumerate(values)}
    if not isinstance(given, Mapping) or not given:
        raise UsageError(Mistake(path, f"Must be a table of weights by choice. Got {given!r:.80}."))
    weights, mistakes = np.ones(len(values)), []
    for choice, weight in given.items():
        at, number = known.get(_label(choice)), _positive(weight)
        if at is None:
            mistakes.append(Mistake(f"{path}.{choice}", f"Is none of the choices: {', '.join(known)}."))
        elif number is None:
            mistakes.append(Mistake(f"{path}.{choice}", f"Must be a number > 0. Got {weight!r:.80}."))
        else:
            weights[at] = number
    if mistakes:
        raise UsageError(*mistakes)
    return weights


def _label(choice: Any) -> str:
    """A choice as the key of a study file's table."""
    return choice if isinstance(choice, str) else json.dumps(choice)


def _positive(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 < value < math.inf else None
