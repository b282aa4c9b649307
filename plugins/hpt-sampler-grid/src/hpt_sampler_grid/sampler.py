"""The sampler ``grid``: the first untried point in a fixed order."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

import attrs

from hpt_core import SpaceExhausted, UsageError, option
from hpt_sampler_grid.permutation import Permutation

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History, Params, Space

__all__ = ["GridSampler"]


@attrs.define(kw_only=True)
class GridSampler:
    """Suggests every point of a grid exactly once, with any number of workers.

    Finite parameters contribute all their values, continuous ones ``points`` values each, equally spaced on their scale
    and including both bounds. Combinations that differ only in inactive parameters count once. The grid is never
    materialised, so it may have 10**30 points.

    The next point is the first one in the order that is in no valid trial: enqueued points are not repeated, and a
    point whose trial was declared invalid is suggested again. When all points were tried, the space is exhausted and
    the study ends.
    """

    points: int | dict[str, int] = option(
        5,
        ge=1,
        help="Number of values per continuous parameter; or a table of numbers by name (finite parameters too).",
    )
    order: Literal["lexicographic", "shuffled"] = option(
        "lexicographic", help="The last parameter varies fastest, or a permutation seeded by the study."
    )
    _cursor: _Cursor | None = attrs.field(init=False, default=None, repr=False, eq=False)

    def check(self, space: Space, objectives: Collection[str]) -> None:  # noqa: ARG002 - what the core gives
        """Check that ``points`` fits a space.

        Args:
            space: The study's space.
            objectives: The names of its objectives.

        Raises:
            UsageError: If it names an unknown parameter, or a number is too large.
        """
        try:
            space.grid(self.points)
        except UsageError as err:
            raise UsageError(*(attrs.evolve(m, path=f"sampler.{m.path}") for m in err.mistakes)) from err

    def suggest(self, history: History, rng: Generator) -> Params:  # noqa: ARG002 - nothing is random here
        """The first point in the order that is in no valid trial.

        Args:
            history: Only its space, seed and tried points matter.
            rng: Not used.

        Raises:
            SpaceExhausted: When every point of the grid is in a trial.
        """
        cursor = self._cursor
        if cursor is None or not cursor.belongs_to(history):
            cursor = self._cursor = _Cursor(history, self.points, shuffled=self.order == "shuffled")
        return cursor.advance(history)


class _Cursor:
    """The position of a history on its grid, cached so that a suggestion does not scan all points again.

    Every point before ``place`` is in ``known``, and ``known`` is a superset of the history's keys: it has the keys of
    all trials, including invalid ones. If both have the same size, no key was removed, and no untried point lies before
    ``place``; otherwise the scan starts over. The result is the same either way.
    """

    def __init__(self, history: History, points: int | dict[str, int], *, shuffled: bool) -> None:
        self._space, self._keys, self._seed = history.space, history.keys, history.seed
        self._grid = history.space.grid(points)
        self._order = Permutation(self._grid.size, history.seed) if shuffled else None
        self._known: set[object] = set()
        self._seen = 0
        self._place = 0

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # a cache: a copy of the sampler rebuilds it

    def belongs_to(self, history: History) -> bool:
        # An amended study has another `keys` object.
        return self._keys is history.keys and self._space is history.space and self._seed == history.seed

    def advance(self, history: History) -> Params:
        space, keys = self._space, history.keys
        self._known.update(space.key(trial.params) for trial in history.trials[self._seen :])
        self._seen = history.next_number
        if len(self._known) != len(keys):
            self._known, self._place = set(keys), 0
        while self._place < self._grid.size:
            index = self._place if self._order is None else self._order[self._place]
            params = self._grid[index]
            if space.key(params) not in keys:
                return params
            self._place += 1
        msg = f"all {self._grid.size} points of the grid were tried"
        raise SpaceExhausted(msg)
