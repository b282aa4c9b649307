"""Draws of configurations that satisfy the requirements of a space, however few do.

If at least three of 10,000 random configurations do, random ones are drawn until one does, so the draws are uniform.

Otherwise a draw is the end of a random walk from an allowed point. Each step goes to a uniform point of the allowed
part of a line through the last point (slice sampling with shrinkage: Neal, Slice Sampling, Annals of Statistics 2003,
sections 4 and 5), which keeps a uniform distribution. So the draws are uniform as far as a short walk mixes them:
nearly so if what is allowed is of one piece with straight sides, such as ordered thresholds or fractions of a mixture.
Pieces far apart, and parts of a thin curved layer, may be drawn in a wrong proportion, and one that was not found is
never drawn.

The first allowed points are all there are, if the space is finite and small enough to try all. Else they are found by
subset simulation (Au and Beck, Probabilistic Engineering Mechanics 2001): of a population, the quarter that is nearest
to satisfying the requirements is kept, and copies of it walk without moving farther away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Protocol

import attrs

from hpt_core.space.parameters import Params

if TYPE_CHECKING:
    from numpy.random import Generator


__all__ = ["MAX_DRAWS", "Allowed", "Decode", "Limit", "Row", "allows", "find_allowed"]

MAX_DRAWS = 10_000
"""How many random configurations are drawn in search of an allowed one."""

Row = list[float]
"""A point of the unit cube."""

Decode = Callable[[Row], Params]


class Limit(Protocol):
    """What `hpt_core.space.requirements.Requirement` has and is needed here."""

    def holds(self, params: Params, /) -> bool:
        """Whether a configuration satisfies it."""

    def distance(self) -> Callable[[Params], float]:
        """A function that tells how far a configuration is from satisfying it: 0 if it does."""


_HITS = 3  # as many of the random configurations must be allowed to go on with random ones
_PATIENCE = 10 * MAX_DRAWS  # of these; it is enough nearly always
_POPULATION = 64
_KEPT = 16  # of the population at each level
_SCALED = 1_000  # points of which the median distance from satisfying a requirement is its unit
_LEAST = 1e-300  # of a distance in its unit, which may be too small for a float
_LEVELS = 12  # from the best of 10,000, these lead to where 1 in 10**10 points is allowed
_LEVEL_STEPS = 10  # of a walk at each level
_STEPS = 10  # of a walk, per column
_MOST_STEPS = 300
_TRIES = 60  # of a step; each leaves about half of the line


@attrs.frozen
class Allowed:
    """What is known of the points that satisfy requirements.

    Attributes:
        decode: The configuration at a point.
        requirements: The requirements.
        rows: Some of the points; none if none was found.
        rare: Whether random points are allowed too rarely to be drawn until one is.
    """

    decode: Decode
    requirements: Sequence[Limit]
    rows: list[Row]
    rare: bool

    def draw(self, rng: Generator) -> Params:
        """Draw an allowed configuration; at least one point must be known."""
        d = len(self.rows[0])
        for _ in range(0 if self.rare else _PATIENCE):
            params = self.decode(rng.random(d).tolist())
            if allows(self.requirements, params):
                return params
        start = self.rows[int(rng.random() * len(self.rows))]
        steps = min(_STEPS * d, _MOST_STEPS)
        return self.decode(_walk(start, lambda row: allows(self.requirements, self.decode(row)), rng, steps))


def allows(requirements: Iterable[Limit], params: Params) -> bool:
    """Whether a configuration satisfies all requirements."""
    return all(each.holds(params) for each in requirements)


def find_allowed(
    decode: Decode,
    requirements: Sequence[Limit],
    d: int,
    rng: Generator,
    listed: Callable[[], list[Row] | None] = lambda: None,
) -> Allowed:
    """Find allowed points.

    Args:
        decode: The configuration at a point.
        requirements: The requirements.
        d: The number of columns.
        rng: The source of random points.
        listed: Returns all allowed points if these are known, else None. It is called if random points do not suffice.

    Returns:
        The first three random points that are allowed. If fewer of 10,000 are, the listed points, or 64 points that a
        search starting from the nearest random ones has reached; if it reaches none, those few.
    """
    rows, hits = list[Row](), list[Row]()
    while len(hits) < _HITS and len(rows) < MAX_DRAWS:
        rows.append(rng.random(d).tolist())
        params = decode(rows[-1])
        if allows(requirements, params):
            hits.append(rows[-1])
    if len(hits) == _HITS or not d:
        return Allowed(decode, requirements, hits, rare=False)
    points = listed()
    if points is None:
        points = _search(decode, requirements, rows, rng)
    return Allowed(decode, requirements, points or hits, rare=bool(points))


def _search(decode: Decode, requirements: Sequence[Limit], rows: list[Row], rng: Generator) -> list[Row]:
    distances = [requirement.distance() for requirement in requirements]

    def beyond(row: Row) -> list[float]:
        params = decode(row)
        return [distance(params) for distance in distances]

    columns = zip(*map(beyond, rows[:_SCALED]), strict=True)
    scales = [median([value for value in column if 0 < value < inf] or [1.0]) for column in columns]

    def score(row: Row) -> float:  # 0 only where all requirements hold
        units = zip(beyond(row), scales, strict=True)
        return sum((max(value / scale, _LEAST) for value, scale in units if value), 0.0)

    for _ in range(_LEVELS):
        kept = sorted(rows, key=score)[:_KEPT]
        level = score(kept[-1])

        def near(row: Row, level: float = level) -> bool:
            return score(row) <= level

        copies = kept * (_POPULATION // _KEPT - 1)
        rows = [*kept, *(_walk(row, near, rng, _LEVEL_STEPS) for row in copies)]
        if level == 0:
            return rows
    return []


def _walk(row: Row, allowed: Callable[[Row], bool], rng: Generator, steps: int) -> Row:
    for _ in range(steps):
        row = _step(row, allowed, rng)
    return row


def _step(row: Row, allowed: Callable[[Row], bool], rng: Generator) -> Row:
    """A uniform point of the allowed part of a random line through an allowed point."""
    slopes = _direction(len(row), rng)
    ends = [sorted((-row[j] / slope, (1 - row[j]) / slope)) for j, slope in slopes]
    low, high = max(first for first, _ in ends), min(last for _, last in ends)
    for _ in range(_TRIES):
        at = low + (high - low) * rng.random()
        moved = row.copy()
        for j, slope in slopes:
            moved[j] = min(max(row[j] + at * slope, 0.0), 1.0)
        if allowed(moved):
            return moved
        low, high = (at, high) if at < 0 else (low, at)
    return row


def _direction(d: int, rng: Generator) -> list[tuple[int, float]]:
    """The columns that change, and how fast: one; all; or what keeps sums or differences of some, or their order."""
    kind, first, last = rng.random(), int(rng.random() * d), int(rng.random() * d)
    if kind < 1 / 4 or d == 1:
        return [(first, 1.0)]
    if kind < 1 / 2:
        return [(first, 1.0), ((first + 1 + last % (d - 1)) % d, -1.0)]
    if kind < 3 / 4:
        return [(j, 1.0) for j in range(min(first, last), max(first, last) + 1)]
    return list(enumerate(rng.normal(size=d).tolist()))
