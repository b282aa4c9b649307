"""Grids over a space: a number of values of each parameter, in every combination."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpt_core.errors import Mistake, UsageError
from hpt_core.mistakes import Mistakes
from hpt_core.space.enumeration import Enumeration, Values
from hpt_core.spelling import nearest_or_known
from hpt_core.values import shown

if TYPE_CHECKING:
    from hpt_core.space.parameters import Parameter

__all__ = ["MAX_POINTS", "Grid"]

MAX_POINTS = 100_000
"""The most points that a grid may take from one continuous parameter."""


class Grid(Sequence[dict[str, Any]]):
    """The grid of a space: ``grid[i]`` for 0 <= i < ``grid.size``, lexicographic in the order of the space.

    Points are computed when they are asked for: a grid of 10**30 points costs no more than one of ten. ``len(grid)``
    raises `OverflowError` above ``sys.maxsize``, as Python requires; ``size`` does not. Where the space has
    requirements, the points that satisfy them are found beforehand, by trying all.

    Args:
        parameters: The parameters, in the declared order.
        order: Their names, parents before children.
        points: Number of values to take from each continuous parameter, equally spaced on its scale and including
            both ends (one value: the middle). A mapping sets the number by parameter, also for finite ones; the
            parameters that it does not name have 5 values (continuous) or all of theirs (finite).
        allows: Whether a configuration satisfies the requirements of the space; None if there are none.

    Raises:
        UsageError: If a number is not an int >= 1 or is too large, or a name is not in the space; if there are
            requirements and more than 100,000 points to try, or none of the points satisfies them.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        order: Sequence[str],
        points: int | Mapping[str, int] = 5,
        allows: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> None:
        chosen, floats = _check_points(parameters, points)
        taken = {name: Values.of(p, chosen.get(name), floats) for name, p in parameters.items()}
        when = {name: p.when for name, p in parameters.items()}
        self._names = tuple(parameters)
        self._all = Enumeration(order, taken, when)
        self._allowed = None if allows is None else _allowed_places(self._all, allows)

    @property
    def size(self) -> int:
        """Number of configurations; may exceed ``sys.maxsize``."""
        return self._all.size if self._allowed is None else len(self._allowed)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]  # no slices
        i = operator.index(index)
        if not -self.size <= i < self.size:
            msg = f"The grid has {self.size} points. Got index {i}."
            raise IndexError(msg)
        place = i % self.size
        params = self._all.at(place if self._allowed is None else self._allowed[place])
        return {name: params[name] for name in self._names if name in params}

    def __repr__(self) -> str:
        return f"<Grid of {self.size} points over {len(self._names)} parameters>"


def _allowed_places(every: Enumeration, allows: Callable[[Mapping[str, Any]], bool]) -> list[int]:
    if every.size > MAX_POINTS:
        limit = f"at most {MAX_POINTS:,} points where the space has requirements. Got {every.size:,}"
        most, longest = max((values.count, name) for values, name in zip(every.values, every.order, strict=True))
        fewer = next(count for count in (5, 2, 1) if count < most)
        remedy = f"Take fewer values of some parameters, as in points = {{{longest!r}: {fewer}}}."
        raise UsageError(Mistake("points", f"must give {limit}, of which some may not satisfy them. {remedy}"))
    places = [place for place, params in enumerate(every) if allows(params)]
    if not places:
        reason = "gives a grid of which no point satisfies the requirements of the space. Take more points, or others."
        raise UsageError(Mistake("points", reason))
    return places


def _check_points(parameters: Mapping[str, Parameter], points: Any) -> tuple[dict[str, int], int]:
    """The numbers of values by parameter, and that of a continuous parameter without one."""
    found = Mistakes()
    if not isinstance(points, Mapping):
        _check_count(found, "points", points, MAX_POINTS)
        found.raise_all()
        return {}, int(points)
    for name, count in points.items():
        path = f"points.{name}"
        if name not in parameters:
            found.add(path, f"is not a parameter of the space. {nearest_or_known(str(name), parameters)}")
        else:
            _check_count(found, path, count, MAX_POINTS if parameters[name].size is None else None)
    found.raise_all()
    return {name: int(count) for name, count in points.items()}, 5


def _check_count(found: Mistakes, path: str, count: Any, limit: int | None) -> None:
    if type(count) is not int or count < 1:
        found.add(path, f"must be an int >= 1. Got {shown(count)}.")
    elif limit is not None and count > limit:
        found.add(path, f"must be at most {limit:,}. Got {count}.")
