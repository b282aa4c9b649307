"""The candidates of scikit-learn's own searches, in scikit-learn's own order."""

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
    """Takes every combination of a finite space, in the order of `sklearn.model_selection.ParameterGrid`."""

    _grid: Any = attrs.field(init=False, default=None, repr=False, eq=False)
    _space: Any = attrs.field(init=False, default=None, repr=False, eq=False)

    def suggest(self, history: History, rng: Generator) -> Params:  # noqa: ARG002 - nothing is random here
        """The combination whose number is that of the trial.

        Args:
            history: Its space and the number of its trials decide.
            rng: Not used.

        Raises:
            SpaceExhausted: Behind the last one.
        """
        if self._space is not history.space:
            self._grid, self._space = history.space.grid(), history.space
        number = history.next_number
        if number >= self._grid.size:
            msg = f"all {self._grid.size} combinations were taken"
            raise SpaceExhausted(msg)
        params: Params = self._grid[number]
        return params

    def __reduce__(self) -> tuple[type[GridCandidates], tuple[()]]:
        return type(self), ()


@attrs.define(kw_only=True)
class DrawnCandidates:
    """Takes what `sklearn.model_selection.ParameterSampler` draws with the study's seed, one after the other."""

    distributions: str = attrs.field(default="")
    """What is drawn from, in words: a change is seen by them."""
    distinct: bool = attrs.field(default=False)
    """Whether no two draws are the same."""
    _draw: Callable[[int], Sequence[Params]] | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _drawn: tuple[int, Sequence[Params]] | None = attrs.field(init=False, default=None, repr=False, eq=False)

    @classmethod
    def of(
        cls, distributions: str, draw: Callable[[int], Sequence[Params]], *, distinct: bool = False
    ) -> DrawnCandidates:
        """Make one.

        Args:
            distributions: What is drawn from, in words.
            draw: Seed -> all candidates, as configurations of the space.
            distinct: Whether no two of them are the same.
        """
        made = cls(distributions=distributions, distinct=distinct)
        made._draw = draw
        return made

    def suggest(self, history: History, rng: Generator) -> Params:  # noqa: ARG002 - the seed decides alone
        """The draw whose number is that of the trial.

        Args:
            history: Its seed and the number of its trials decide.
            rng: Not used: scikit-learn draws in its own way.

        Raises:
            SpaceExhausted: Behind the last one.
            UsageError: Where the distributions are known by their description only.
        """
        if self._draw is None:
            raise UsageError("These candidates can be drawn by the program only that has the distributions.")
        if self._drawn is None or self._drawn[0] != history.seed:
            self._drawn = history.seed, self._draw(history.seed)
        number, draws = history.next_number, self._drawn[1]
        if number >= len(draws):
            msg = f"all {len(draws)} candidates were taken"
            raise SpaceExhausted(msg)
        return self._untaken(draws, history) if self.distinct else draws[number]

    def _untaken(self, draws: Sequence[Params], history: History) -> Params:
        """The draw of this number; one that an earlier run with another ``n_iter`` had gives way to the first free."""
        key, keys = history.space.key, history.keys
        in_turn = draws[history.next_number]
        if key(in_turn) not in keys:
            return in_turn
        return next((params for params in draws if key(params) not in keys), in_turn)
