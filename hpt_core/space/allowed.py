"""The allowed configurations of a space with requirements: their grid and number, the default, and draws.

A branch is the configurations to which the same requirements apply. If little is allowed in one branch and much in
another, random points that are drawn until one is allowed hardly ever lie in the first. So in a space with a narrow
branch, the branch is that of the first random point, and then one of its allowed configurations is drawn. As each
branch may need a search, only the largest count, those with at least 1 in 50 of the random points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core.errors import Mistake, SpaceError, UsageError
from hpt_core.space.draws import MAX_DRAWS, Domain, Found, find_allowed
from hpt_core.space.grid import MAX_POINTS, Grid

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from hpt_core.space.cube import Row, UnitCube
    from hpt_core.space.parameters import Params
    from hpt_core.space.requirements import Requirement

__all__ = ["Allowed"]

_POINTS = 1_000  # random points that tell which branches there are
_LEAST = 20  # of them must lie in a branch
_NARROW = 0.1  # a branch is narrow if the requirements allow a smaller share of it
_TRIED = 1_000  # random points, until one lies in a branch with allowed points
_NEAR = 1_000  # random points after the first allowed one, of which the default may be one

Branch = tuple[bool, ...]
"""Which of the deciding requirements apply."""


class Allowed:
    """The allowed configurations of a space. What takes long is done when it is first needed.

    Args:
        cube: The unit cube of the space.
        requirements: The requirements of the space.
    """

    def __init__(self, cube: UnitCube, requirements: Sequence[Requirement]) -> None:
        parameters = cube.conditions.parameters
        self._cube = cube
        self._deciding = [each for each in requirements if any(parameters[name].when for name in each.names)]
        self._domain = Domain(cube.decode, len(cube.columns), requirements)
        self._whole: Found | None = None
        self._within: dict[Branch, Found] = {}

    def search(self) -> Found:
        """Search the whole space for allowed configurations, once.

        Raises:
            SpaceError: If none is found.
        """
        if self._whole is None:
            found = find_allowed(self._domain, self._listed)
            if not found.rows:
                texts = ", ".join(repr(each.text) for each in self._domain.requirements)
                hint = "Declare the parameters so that more of them do, such as a ratio in place of a second bound"
                problem = f"None of {MAX_DRAWS:,} random configurations satisfies {texts}. A search found none, either."
                raise SpaceError(Mistake("space", f"{problem} {hint}."))
            self._whole = found
        return self._whole

    @cached_property
    def grid(self) -> Grid:
        """The grid of `Grid`'s default number of points.

        Raises:
            UsageError: As `Grid`.
        """
        conditions = self._cube.conditions
        return Grid(conditions.parameters, conditions.order, allows=self._domain.allows)

    @cached_property
    def size(self) -> int | None:
        """How many there are; None if a parameter is continuous or there are too many configurations to try all."""
        conditions = self._cube.conditions
        if any(p.size is None for p in conditions.parameters.values()):
            return None
        return self.grid.size if Grid(conditions.parameters, conditions.order).size <= MAX_POINTS else None

    def default(self) -> Params:
        """The default configuration; if it is not allowed, the nearest of some that are."""
        wanted = self._cube.conditions.complete({})
        return wanted if self._domain.allows(wanted) else self._cube.decode(self._nearest)

    def draw(self, rng: Generator) -> Params:
        """Draw one of them."""
        for _ in range(_TRIED if self._deciding else 0):
            params = self._cube.decode(rng.random(self._domain.d).tolist())
            if self._domain.allows(params):
                return params
            branch = _branch(self._deciding, params)
            if branch not in self._shares:
                break
            found = self._find_within(branch)
            if found.rows:
                return found.draw(rng)
        return self.search().draw(rng)

    @cached_property
    def _nearest(self) -> Row:
        """The nearest to the default: of random points from the first allowed to 1,000 later, else of known ones."""
        import numpy as np

        rng, at = np.random.default_rng(0), self._domain.at
        draws = (rng.random(self._domain.d).tolist() for _ in range(MAX_DRAWS + _NEAR))
        from_first = dropwhile(lambda row: at(row) is None, draws)
        rows = [row for row in islice(from_first, 1 + _NEAR) if at(row) is not None] or self.search().rows
        apart = self._points(map(self._cube.decode, rows)) - self._points([self._cube.conditions.complete({})])
        return rows[int((apart**2).sum(axis=1).argmin())]

    @cached_property
    def _shares(self) -> set[Branch]:
        """The branches that have a share of their own: none if none is narrow."""
        import numpy as np

        inside, allowed = Counter[Branch](), Counter[Branch]()
        for params in map(self._cube.decode, np.random.default_rng(0).random((_POINTS, self._domain.d)).tolist()):
            branch = _branch(self._deciding, params)
            inside[branch] += 1
            allowed[branch] += self._domain.allows(params)
        large = {branch for branch, n in inside.items() if n >= _LEAST}
        return large if any(allowed[branch] < _NARROW * inside[branch] for branch in large) else set()

    def _find_within(self, branch: Branch) -> Found:
        if branch not in self._within:
            deciding = self._deciding
            domain = attrs.evolve(self._domain, inside=lambda params: _branch(deciding, params) == branch)
            self._within[branch] = find_allowed(domain, self._listed)
        return self._within[branch]

    def _listed(self) -> list[Row] | None:
        """All allowed points, if the space is finite and small enough to try all."""
        try:
            return None if self.size is None else self._points(self.grid).tolist()
        except UsageError:  # a grid without points
            return []

    def _points(self, several: Iterable[Params]) -> NDArray[np.float64]:
        import numpy as np

        points: NDArray[np.float64] = np.nan_to_num(np.array(list(map(self._cube.encode, several))), nan=0.5)
        return points


def _branch(deciding: Sequence[Requirement], params: Mapping[str, Any]) -> Branch:
    return tuple(each.names <= params.keys() for each in deciding)
