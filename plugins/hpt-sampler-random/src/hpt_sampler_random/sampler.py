"""The sampler ``random``: independent points, or a low-discrepancy sequence."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

import attrs

from hpt_core import Space, Suggestion, UsageError, option
from hpt_sampler_random.distributions import Quantile, describe, quantiles
from hpt_sampler_random.sequences import Sequence

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from hpt_core import History, Params

__all__ = ["RandomSampler"]

_MAX_DRAWS = 10_000
"""How many points are drawn in search of one that satisfies the requirements of the space."""

_MAX_SKIPPED = 1_000  # points of a sequence in that search; the few that a narrower space allows are not evenly spread


@attrs.define(kw_only=True)
class RandomSampler:
    """Draws points at random: uniform on each parameter's scale, from any distribution, or evenly spread.

    ``method``: ``uniform`` draws independently. ``sobol``, ``halton`` and ``latin-hypercube`` spread the points more
    evenly than independent draws. Their point i depends only on the study's seed and i, where i counts the points that
    this sampler took from the sequence. A point that was tried before (in a small finite space, or enqueued) is
    replaced by an independent draw.

    ``distributions``: by parameter, a frozen distribution of `scipy.stats` (in a study file
    ``{name = "loguniform", args = [1e-3, 1]}``; keyword arguments are further keys), for a parameter with finitely many
    values also ``{weights = [3, 1]}``, or an import path ``"module:name"`` of any object with ``ppf`` and ``support``.
    Draws from a continuous distribution are rounded to the nearest value of an integer or stepped parameter.
    """

    method: Literal["uniform", "sobol", "halton", "latin-hypercube"] = option(
        "uniform", help="Independent points, or a low-discrepancy sequence."
    )
    block: int = option(
        16,
        ge=2,
        le=100_000,
        help="Points per Latin hypercube; ideally the study's number of trials, or a divisor of it.",
    )
    distributions: dict[str, Any] = option(
        factory=dict,
        converter=describe,
        help="Distributions by parameter, such as { x = { name = 'loguniform', args = [1e-5, 1] } }; default: uniform.",
    )
    _prepared: _Prepared | None = attrs.field(init=False, default=None, repr=False, eq=False)

    def check(self, space: Space, objectives: Collection[str]) -> None:  # noqa: ARG002 - what the core gives
        """Check that ``distributions`` fits a space.

        Args:
            space: The study's space.
            objectives: The names of its objectives.

        Raises:
            UsageError: If a name is not a parameter, or a distribution does not fit its parameter.
        """
        try:
            quantiles(self.distributions, space)
        except UsageError as err:
            raise UsageError(*(attrs.evolve(m, path=f"sampler.{m.path}") for m in err.mistakes)) from err

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        """A random point, or the next one of the sequence.

        Args:
            history: Its space and seed and, for a sequence, the points already taken from it.
            rng: The source of independent draws.

        Raises:
            UsageError: As `check`.
        """
        space = history.space
        if self.method == "uniform" and not self.distributions:
            return space.sample(rng)
        d = len(space.columns)
        prepared = self._prepare(history)
        if self.method == "uniform" or d == 0:
            return prepared.draw(rng)
        first = _taken(history, self.method)
        for index in range(first, first + _MAX_SKIPPED):
            params = prepared.params(prepared.sequence[index])
            if space.allows(params):
                break
        if not history.untried(params):
            params = prepared.draw(rng)
        return Suggestion(params, info={self.method: index})

    def _prepare(self, history: History) -> _Prepared:
        space, found = history.space, self._prepared
        if found is None or found.space is not space or found.sequence.seed != history.seed:
            sequence = Sequence(self.method, len(space.columns), history.seed, self.block)
            found = self._prepared = _Prepared(space, quantiles(self.distributions, space), sequence)
        return found


@attrs.frozen
class _Prepared:
    """Everything that depends on the options, the space and the seed alone."""

    space: Space
    quantiles: dict[str, Quantile]
    sequence: Sequence

    def draw(self, rng: Generator) -> Params:
        """A random configuration that satisfies the requirements of the space."""
        for _ in range(_MAX_DRAWS if self.quantiles else 0):
            params = self.params(rng.random(len(self.space.columns)))
            if self.space.allows(params):
                return params
        return self.space.sample(rng)

    def params(self, u: NDArray[np.float64]) -> Params:
        """The configuration at a point of the unit cube."""
        space, point = self.space, u.tolist()
        values = {}
        for name, quantile in self.quantiles.items():
            column = space.columns.index(name)
            values[name] = quantile(point[column])
            point[column] = space[name].to_unit(values[name])
        params: Params = space.from_unit(point)
        for name, value in values.items():
            if name in params:
                params[name] = value  # exact; the unit cube would round a continuous value
        return params

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # a cache: a copy of the sampler rebuilds it


def _taken(history: History, method: str) -> int:
    """Number of points taken from the sequence; each trial records its index, so the last one gives it."""
    indices = (int(trial.info[method]) for trial in reversed(history.trials) if method in trial.info)
    if history.invalid_count:  # a retried trial has the index of the one that failed, which may be an early one
        return max(indices, default=-1) + 1
    return next(indices, -1) + 1
