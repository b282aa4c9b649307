"""Samplers that suggest the candidates of scikit-learn's searches, in scikit-learn's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Params, SpaceExhausted, UsageError

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History

__all__ = ["DrawnCandidates", "GridCandidates"]


@attrs.define(kw_only=True)
class GridCandidates:
    """Suggests every combination of a finite space, in the order of `sklearn.model_selection.ParameterGrid`."""

    _grid: Any = attrs.field(init=False, default=None, repr=False, eq=False)
    _space: Any = attrs.field(init=False, default=None, repr=False, eq=False)

    def suggest(self, history: History, rng: Generator) -> Params:  # noqa: ARG002 - nothing is random here
        """The combination with the number of the trial.

        Args:
            history: History of the study.
            rng: Not used.

        Raises:
            SpaceExhausted: After the last combination.
        """
        if self._space is not history.space:
            self._grid, self._space = history.space.grid(), history.space
        number = history.next_number
        if number >= self._grid.size:
            msg = f"all {self._grid.size} combinations were suggested"
            raise SpaceExhausted(msg)
        params: Params = self._grid[number]
        return params


@attrs.define(kw_only=True)
class DrawnCandidates:
    """Suggests the draws that `sklearn.model_selection.ParameterSampler` makes with the study's seed, in order."""

    distributions: str = attrs.field(default="")
    """The distributions as text, by which a change of them is detected."""
    distinct: bool = attrs.field(default=False)
    """Whether no two draws are the same."""
    _draw: Callable[[int], Sequence[Params]] | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _drawn: tuple[int, Sequence[Params]] | None = attrs.field(init=False, default=None, repr=False, eq=False)

    @classmethod
    def of(
        cls, distributions: str, draw: Callable[[int], Sequence[Params]], *, distinct: bool = False
    ) -> DrawnCandidates:
        """Make a sampler.

        Args:
            distributions: The distributions as text.
            draw: Seed -> all candidates, as configurations of the space.
            distinct: Whether no two candidates are the same.
        """
        made = cls(distributions=distributions, distinct=distinct)
        made._draw = draw
        return made

    def suggest(self, history: History, rng: Generator) -> Params:  # noqa: ARG002 - depends on the seed only
        """The draw with the number of the trial.

        Args:
            history: History of the study, whose seed determines the draws.
            rng: Not used: scikit-learn makes its own generator from the seed.

        Raises:
            SpaceExhausted: After the last draw.
            UsageError: If this sampler has only the description of the distributions.
        """
        if self._draw is None:
            raise UsageError("Only the program that defines the distributions can draw these candidates.")
        if self._drawn is None or self._drawn[0] != history.seed:
            self._drawn = history.seed, self._draw(history.seed)
        number, draws = history.next_number, self._drawn[1]
        if number >= len(draws):
            msg = f"all {len(draws)} candidates were suggested"
            raise SpaceExhausted(msg)
        return self._untaken(draws, history) if self.distinct else draws[number]

    def _untaken(self, draws: Sequence[Params], history: History) -> Params:
        """The draw of this number, or the first unused one if an earlier run with another ``n_iter`` has used it."""
        key, keys = history.space.key, history.keys
        in_turn = draws[history.next_number]
        if key(in_turn) not in keys:
            return in_turn
        return next((params for params in draws if key(params) not in keys), in_turn)
