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

from collections.abc import Callable, Mapping, Sequence
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core.space.cube import Row
from hpt_core.space.parameters import Params
from hpt_core.space.requirements import Requirement

if TYPE_CHECKING:
    from numpy.random import Generator


__all__ = ["MAX_DRAWS", "Domain", "Found", "find_allowed"]

MAX_DRAWS = 10_000
"""How many random configurations are drawn in search of an allowed one."""

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
class Domain:
    """Where allowed points are sought: in a space, or in a branch of it.

    Attributes:
        decode: The configuration at a point.
        d: The number of columns.
        requirements: What allowed configurations satisfy.
        inside: Whether a configuration is in the branch.
    """

    decode: Callable[[Row], Params]
    d: int
    requirements: Sequence[Requirement]
    inside: Callable[[Mapping[str, Any]], bool] = lambda _: True

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether a configuration is allowed and in the branch."""
        return self.inside(params) and all(each.holds(params) for each in self.requirements)

    def at(self, row: Row) -> Params | None:
        """The configuration at a point; None if it is not allowed."""
        params = self.decode(row)
        return params if self.allows(params) else None


@attrs.frozen
class Found:
    """What is known of the allowed points of a domain.

    Attributes:
        domain: The domain.
        rows: Some of the points; none if none was found.
        rare: Whether random points are allowed too rarely to be drawn until one is.
    """

    domain: Domain
    rows: list[Row]
    rare: bool

    def draw(self, rng: Generator) -> Params:
        """Draw an allowed configuration; at least one point must be known."""
        d, at = self.domain.d, self.domain.at
        for _ in range(0 if self.rare else _PATIENCE):
            params = at(rng.random(d).tolist())
            if params is not None:
                return params
        start = self.rows[int(rng.random() * len(self.rows))]
        steps = min(_STEPS * d, _MOST_STEPS)
        return self.domain.decode(_walk(start, lambda row: at(row) is not None, rng, steps))


def find_allowed(domain: Domain, listed: Callable[[], list[Row] | None] = lambda: None) -> Found:
    """Find allowed points of a domain.

    Args:
        domain: The domain.
        listed: Returns all allowed points of the space if these are known, else None. It is called if random points do
            not suffice.

    Returns:
        The first three random points that are allowed. If fewer of 10,000 are, the listed points, or 64 points that a
        search starting from the nearest random ones has reached; if it reaches none, those few.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    rows, hits = list[Row](), list[Row]()
    while len(hits) < _HITS and len(rows) < MAX_DRAWS:
        rows.append(rng.random(domain.d).tolist())
        if domain.at(rows[-1]) is not None:
            hits.append(rows[-1])
    if len(hits) == _HITS or not domain.d:
        return Found(domain, hits, rare=False)
    known = listed()
    points = _search(domain, rows, rng) if known is None else [row for row in known if domain.at(row) is not None]
    return Found(domain, points or hits, rare=bool(points))


def _search(domain: Domain, rows: list[Row], rng: Generator) -> list[Row]:
    distances = [requirement.distance() for requirement in domain.requirements]
    rows = [row for row in rows if domain.inside(domain.decode(row))]
    start = [domain.decode(row) for row in rows[:_SCALED]]
    beyond = [[far for params in start if 0 < (far := distance(params)) < inf] for distance in distances]
    units = [median(each or [1.0]) for each in beyond]

    def score(row: Row) -> float:  # 0 only where a point is allowed
        params = domain.decode(row)
        if not domain.inside(params):
            return inf
        parts = zip(distances, units, strict=True)
        return sum((max(far / unit, _LEAST) for distance, unit in parts if (far := distance(params))), 0.0)

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
