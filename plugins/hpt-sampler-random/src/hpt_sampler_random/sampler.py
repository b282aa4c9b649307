"""The sampler ``random``: independent points, or a sequence that fills the space evenly."""

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


@attrs.define(kw_only=True)
class RandomSampler:
    """Draws points at random: uniform on each parameter's scale, or from any distribution, or evenly spread.

    ``method``: ``uniform`` draws independently. ``sobol``, ``halton`` and ``latin-hypercube`` spread the points more
    evenly than chance does; point i of them depends on the study's seed and i only, where i counts the points that this
    sampler took from the sequence. A point that was tried before (in a small finite space, or enqueued) is replaced by
    a uniform one.

    ``distributions``: by parameter, a frozen distribution of `scipy.stats` (in a study file
    ``{name = "loguniform", args = [1e-3, 1]}``; keyword arguments are further keys), for a parameter with finitely many
    values also ``{weights = [3, 1]}``, or an import path ``"module:name"`` of any object with ``ppf`` and ``support``.
    What a continuous distribution gives to an integer or stepped parameter is rounded to the nearest value.
    """

    method: Literal["uniform", "sobol", "halton", "latin-hypercube"] = option(
        "uniform", help="Independent points, or a sequence that fills the space evenly."
    )
    block: int = option(16, ge=2, help="Points of a Latin hypercube that belong together: best the study's trials.")
    distributions: dict[str, Any] = option(
        factory=dict, converter=describe, help="Distributions by parameter; the others stay uniform on their scale."
    )
    _plain: bool = attrs.field(init=False, repr=False, eq=False)
    _made: _Made | None = attrs.field(init=False, default=None, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self._plain = self.method == "uniform" and not self.distributions

    def check(self, space: Space, objectives: Collection[str]) -> None:  # noqa: ARG002 - what the core gives
        """See that ``distributions`` fits a space.

        Args:
            space: The study's space.
            objectives: The names of its objectives.

        Raises:
            UsageError: If a name is no parameter, or a distribution reaches beyond a parameter's bounds.
        """
        try:
            quantiles(self.distributions, space)
        except UsageError as err:
            raise UsageError(*(attrs.evolve(m, path=f"sampler.{m.path}") for m in err.mistakes)) from err

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        """A random point, or the next one of the sequence.

        Args:
            history: Its space and seed, and for a sequence which points were taken from it.
            rng: The only randomness of the uniform method.

        Raises:
            UsageError: As `check`.
        """
        if self._plain:
            return history.space.sample(rng)
        return self._suggest(history, rng)

    def _suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        space = history.space
        d = len(space.columns)
        if self._made is None or self._made.space is not space or self._made.sequence.seed != history.seed:
            sequence = Sequence(self.method, d, history.seed, self.block)
            self._made = _Made(space, quantiles(self.distributions, space), sequence)
        if self.method == "uniform" or d == 0:
            return self._made.params(rng.random(d))
        index = _taken(history, self.method)
        params = self._made.params(self._made.sequence[index])
        if space.key(params) in history.keys:
            params = self._made.params(rng.random(d))
        return Suggestion(params, info={self.method: index})


@attrs.frozen
class _Made:
    """What follows from the options for one space and seed."""

    space: Space
    quantiles: dict[str, Quantile]
    sequence: Sequence

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
                params[name] = value  # exactly: the unit cube would round a continuous one to its lattice
        return params

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # a copy of the sampler makes its own


def _taken(history: History, method: str) -> int:
    """How many points were taken from the sequence: it is noted with each, so the last one tells."""
    for trial in reversed(history.trials):
        if method in trial.info:
            return int(trial.info[method]) + 1
    return 0
