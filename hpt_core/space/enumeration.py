"""The configurations of a space in lexicographic order: their number, and any one by its index, without listing them.

A parameter is inactive if one of its conditions fails. The parameters are decided in topological order. All that the
decided ones imply for the rest is *which of the rest are ruled out*, so consecutive values that rule out the same
parameters form a run and are counted together. Once a parameter is decided, the rest splits into components that share
no condition, and the counts of these multiply. So `count(j, dead)`, the number of ways to fill component j when the
parameters in ``dead`` are ruled out, is

    dead j:    the product of count(k, dead) over the components k that j splits into
    active j:  the sum over runs of values of length * product of count(k, dead + ruled out by the value)

memoised by (j, dead within the component). A set of parameters is an int with one bit per parameter.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import attrs

from hpt_core.space.parameters import Parameter

__all__ = ["Enumeration", "Values"]


@attrs.frozen
class Values:
    """The values that a grid takes from one parameter: all, or evenly spread ones.

    Attributes:
        parameter: The parameter.
        count: Number of values taken.
        points: The values taken from a continuous parameter; None for a finite one, whose values are computed.
    """

    parameter: Parameter
    count: int
    points: tuple[Any, ...] | None = None

    @classmethod
    def of(cls, parameter: Parameter, points: int | None, floats: int) -> Values:
        """``points`` evenly spread values; None takes all values, or ``floats`` of a continuous parameter."""
        if parameter.size is not None:
            return cls(parameter, parameter.size if points is None else min(points, parameter.size))
        n = floats if points is None else points
        units = [i / (n - 1) for i in range(n)] if n > 1 else [0.5]
        values = tuple(dict.fromkeys(map(parameter.from_unit, units)))
        return cls(parameter, len(values), values)

    def __getitem__(self, i: int) -> Any:
        if self.points is not None:
            return self.points[i]
        return self.parameter.value_at(self._index(i))

    def _index(self, i: int) -> int:
        size = self.parameter.size or 1
        if self.count == size:
            return i
        gaps = self.count - 1
        return (2 * i * (size - 1) + gaps) // (2 * gaps) if gaps else (size - 1) // 2

    def positions(self, values: Sequence[Any]) -> list[int]:
        """The indices of ``values`` among the values taken, ascending; values that are not taken are left out."""
        size = self.parameter.size or 1
        found = []
        for value in values:
            index = self.parameter.index_of(value)
            guess = index if self.count == size else (index * (self.count - 1)) // max(size - 1, 1)
            near = range(guess, min(guess + 2, self.count))  # as rounding moves an index by half a value at most
            found += [i for i in near if self._index(i) == index]
        return sorted(found)


class Enumeration:
    """All combinations of values in lexicographic order, with inactive parameters left out.

    Args:
        order: The names, parents before children.
        values: The values that are taken from each parameter.
        when: The conditions of each parameter, as in `Parameter.when`.
    """

    def __init__(
        self,
        order: Sequence[str],
        values: Mapping[str, Values],
        when: Mapping[str, Mapping[str, Sequence[Any]]],
    ) -> None:
        self.order: tuple[str, ...] = tuple(order)
        self.values: list[Values] = [values[name] for name in order]
        rank = {name: j for j, name in enumerate(order)}
        parents = [[rank[parent] for parent in when[name]] for name in order]
        self._runs = self._cut_runs(rank, when)
        self._parts, self._members, self._roots = _components(parents)
        self._counts: dict[tuple[int, int], int] = {}
        self.size: int = self._product(self._roots, 0)

    def _cut_runs(
        self, rank: Mapping[str, int], when: Mapping[str, Mapping[str, Sequence[Any]]]
    ) -> list[list[tuple[int, int]]]:
        """For each parameter, its values as runs (length, parameters ruled out)."""
        below = [1 << j for j in range(len(self.order))]
        for name in reversed(self.order):
            for parent in when[name]:
                below[rank[parent]] |= below[rank[name]]
        conditions: list[list[tuple[int, set[int]]]] = [[] for _ in self.order]
        for name in self.order:
            for parent, allowed in when[name].items():
                places = set(self.values[rank[parent]].positions(allowed))
                conditions[rank[parent]].append((below[rank[name]], places))
        return [_runs(taken.count, tests) for taken, tests in zip(self.values, conditions, strict=True)]

    def _product(self, parts: Sequence[int], dead: int) -> int:
        return math.prod(self._count(k, dead) for k in parts)

    def _count(self, root: int, dead: int) -> int:
        """`count` of the module's docstring, with an explicit stack: conditions may nest deeper than Python can."""
        counts = self._counts
        goal = (root, dead & self._members[root])
        stack = [goal]
        while stack:
            state = stack[-1]
            if state in counts:
                stack.pop()
                continue
            j, ruled_out = state
            branches = [(1, 0)] if ruled_out >> j & 1 else self._runs[j]
            needed = [[(k, (ruled_out | kills) & self._members[k]) for k in self._parts[j]] for _, kills in branches]
            unknown = [need for needs in needed for need in needs if need not in counts]
            if unknown:
                stack += unknown
                continue
            counts[state] = sum(
                length * math.prod(counts[need] for need in needs)
                for (length, _), needs in zip(branches, needed, strict=True)
            )
        return counts[goal]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All configurations by their number, each as `at` returns it."""
        if any(kills for runs in self._runs for _, kills in runs):
            yield from map(self.at, range(self.size))
            return
        for row in itertools.product(*([values[i] for i in range(values.count)] for values in self.values)):
            yield dict(zip(self.order, row, strict=True))

    def at(self, index: int) -> dict[str, Any]:
        """Configuration number ``index``, 0 <= index < size, with its names in topological order."""
        dead = 0
        ways = self.size
        params = {}
        for j, name in enumerate(self.order):
            rest = ways // self._count(j, dead)
            if dead >> j & 1:
                ways = rest * self._product(self._parts[j], dead)
                continue
            start = 0
            for length, kills in self._runs[j]:
                ways = rest * self._product(self._parts[j], dead | kills)
                if index < length * ways:
                    break
                index -= length * ways
                start += length
            step, index = divmod(index, ways)
            params[name] = self.values[j][start + step]
            dead |= kills
        return params


def _runs(count: int, conditions: Sequence[tuple[int, set[int]]]) -> list[tuple[int, int]]:
    """Cut ``count`` values into runs; a condition is (parameters it rules out, indices of the values it allows)."""
    marked = sorted(set().union(*(places for _, places in conditions)))
    runs: list[tuple[int, int]] = []
    everything = reduce(operator.or_, (group for group, _ in conditions), 0)
    start = 0
    for place in marked:
        if place > start:
            runs.append((place - start, everything))
        kills = (group for group, places in conditions if place not in places)
        runs.append((1, reduce(operator.or_, kills, 0)))
        start = place + 1
    if count > start:
        runs.append((count - start, everything))
    return runs


def _components(parents: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[int], list[int]]:
    """Split the rest after each parameter, as an elimination tree (union-find, last parameter first).

    Returns:
        For each j, the first parameters of the components that j's component splits into without j; for each j, the
        members of its component as bits; the first parameters of the components of the whole space.
    """
    n = len(parents)
    neighbours: list[list[int]] = [[] for _ in range(n)]
    for child, above in enumerate(parents):
        for parent in above:
            neighbours[parent].append(child)
    head = list(range(n))
    parts: list[list[int]] = [[] for _ in range(n)]
    members = [1 << j for j in range(n)]
    for j in reversed(range(n)):
        for child in neighbours[j]:
            root = child
            while head[root] != root:
                head[root] = head[head[root]]
                root = head[root]
            if root != j:
                head[root] = j
                parts[j].append(root)
                members[j] |= members[root]
        parts[j].sort()
    return parts, members, [j for j in range(n) if head[j] == j]
