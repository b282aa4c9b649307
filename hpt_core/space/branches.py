"""Draws of allowed configurations that give each branch of a conditional space its share.

A branch is the configurations to which the same requirements apply. If little is allowed in one branch and much in
another, random points that are drawn until one is allowed hardly ever lie in the first. So in a space with a narrow
branch, the branch is that of the first random point, and then one of its allowed configurations is drawn. As each
branch may need a search, only the largest count, those with at least 1 in 50 of the random points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import dropwhile, islice
from math import inf
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core.errors import Mistake, SpaceError
from hpt_core.space.draws import MAX_DRAWS, Allowed, Decode, Limit, Row, allows, find_allowed
from hpt_core.space.requirements import Requirement

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core.space.parameters import Parameter, Params

__all__ = ["Branches"]

_POINTS = 1_000  # random points that tell which branches there are
_LEAST = 20  # of them must lie in a branch
_NARROW = 0.1  # a branch is narrow if the requirements allow a smaller share of it
_TRIED = 1_000  # random points, until one lies in a branch with allowed points
_SOME = 1_000  # random points after the first allowed one


@attrs.frozen
class _Branch:
    """A branch, as one more requirement: which of the ``deciding`` ones apply."""

    applying: tuple[bool, ...]
    deciding: Sequence[Requirement] = attrs.field(eq=False)

    @classmethod
    def of(cls, params: Mapping[str, Any], deciding: Sequence[Requirement]) -> _Branch:
        return cls(tuple(each.names <= params.keys() for each in deciding), deciding)

    def holds(self, params: Mapping[str, Any]) -> bool:
        return self == _Branch.of(params, self.deciding)

    def distance(self) -> Callable[[Mapping[str, Any]], float]:
        return lambda params: 0.0 if self.holds(params) else inf


class Branches:
    """Draws the allowed configurations of a space.

    Args:
        decode: The configuration at a point.
        requirements: The requirements of the space.
        parameters: Name -> parameter.
        d: The number of columns.
        listed: Returns all allowed points if these are known, else None.

    Attributes:
        whole: What is allowed in the space. What is in its branches is found when a draw needs it.

    Raises:
        SpaceError: If no allowed configuration is found.
    """

    def __init__(
        self,
        decode: Decode,
        requirements: Sequence[Requirement],
        parameters: Mapping[str, Parameter],
        d: int,
        listed: Callable[[], list[Row] | None],
    ) -> None:
        self._decode = decode
        self._requirements = requirements
        self._deciding = [each for each in requirements if any(parameters[name].when for name in each.names)]
        self._d = d
        self._listed = listed
        self._found: dict[_Branch, Allowed] = {}
        self.whole = self._find(requirements, listed)
        if not self.whole.rows:
            texts = ", ".join(repr(each.text) for each in requirements)
            hint = "Declare the parameters so that more of them do, such as a ratio in place of a second bound"
            problem = f"None of {MAX_DRAWS:,} random configurations satisfies {texts}. A search found none, either."
            raise SpaceError(Mistake("space", f"{problem} {hint}."))

    def draw(self, rng: Generator) -> Params:
        """Draw an allowed configuration."""
        for _ in range(_TRIED if self._deciding else 0):
            params = self._decode(rng.random(self._d).tolist())
            if allows(self._requirements, params):
                return params
            branch = _Branch.of(params, self._deciding)
            if branch not in self._shares:
                break
            found = self._within(branch)
            if found.rows:
                return found.draw(rng)
        return self.whole.draw(rng)

    def some(self) -> list[Params]:
        """Some allowed configurations: the random ones from the first to 1,000 later; if there are none, known ones."""
        import numpy as np

        rng = np.random.default_rng(0)
        draws = (self._decode(rng.random(self._d).tolist()) for _ in range(MAX_DRAWS + _SOME))
        allowed = partial(allows, self._requirements)
        from_first = dropwhile(lambda params: not allowed(params), draws)
        return list(filter(allowed, islice(from_first, 1 + _SOME))) or list(map(self._decode, self.whole.rows))

    @cached_property
    def _shares(self) -> set[_Branch]:
        """The branches that have a share of their own: none if none is narrow."""
        import numpy as np

        inside, allowed = Counter[_Branch](), Counter[_Branch]()
        for params in map(self._decode, np.random.default_rng(0).random((_POINTS, self._d)).tolist()):
            branch = _Branch.of(params, self._deciding)
            inside[branch] += 1
            allowed[branch] += allows(self._requirements, params)
        large = {branch for branch, n in inside.items() if n >= _LEAST}
        return large if any(allowed[branch] < _NARROW * inside[branch] for branch in large) else set()

    def _within(self, branch: _Branch) -> Allowed:
        def listed() -> list[Row] | None:
            rows = self._listed()
            return rows if rows is None else [row for row in rows if branch.holds(self._decode(row))]

        if branch not in self._found:
            self._found[branch] = self._find((branch, *self._requirements), listed)
        return self._found[branch]

    def _find(self, requirements: Sequence[Limit], listed: Callable[[], list[Row] | None]) -> Allowed:
        import numpy as np

        return find_allowed(self._decode, requirements, self._d, np.random.default_rng(0), listed)
