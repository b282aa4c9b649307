"""The space in the form of the estimators: columns of the unit cube, their values, and which are active together.

Rows are unit-cube points with NaN where a parameter is inactive, as `Space.to_unit` gives them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from hpt_core import Space
from hpt_sampler_tpe.normal import FloatArray, IntArray

__all__ = ["Column", "Tree"]

_MANY = 1024  # ordered parameters with more values are treated as continuous
_SAME = 1e-12  # coordinates closer than this are the same value


@attrs.frozen(eq=False)
class Column:
    """One column of the unit cube.

    Attributes:
        parameter: The parameter.
        edges: Bounds of the cells of the values, ascending from 0 to 1 (size + 1,); None if treated as continuous.
        centres: Unit coordinates of the values (size,); None if treated as continuous.
        needs: The conditions, as pairs of parent column and its allowed coordinates; all must hold.
    """

    parameter: Any
    edges: FloatArray | None
    centres: FloatArray | None
    needs: tuple[tuple[int, FloatArray], ...]

    @property
    def size(self) -> int:
        """Number of values; 0 if treated as continuous."""
        return 0 if self.centres is None else len(self.centres)

    @property
    def categorical(self) -> bool:
        """Whether the values have no order."""
        return not self.parameter.ordered and self.centres is not None

    def index(self, u: FloatArray) -> IntArray:
        """Indices of the values at ``u`` (n,), which has no NaN. (n,)."""
        assert self.edges is not None
        return np.asarray(np.clip(np.searchsorted(self.edges, u, side="right") - 1, 0, self.size - 1))

    def snap(self, u: FloatArray) -> FloatArray:
        """Coordinates of the values at ``u`` (n,), which has no NaN. (n,)."""
        if self.centres is not None:
            return self.centres[self.index(u)]
        return u if self.parameter.size is None else np.array([self.parameter.snap(v) for v in u.tolist()])


@attrs.frozen(eq=False)
class Tree:
    """The columns of a space, built by `Tree.of`.

    Attributes:
        space: The space.
        columns: Its d columns.
        order: Indices of the columns, parents before children.
        groups: Indices of the columns grouped by conditions; the columns of a group are active together.
    """

    space: Space
    columns: tuple[Column, ...]
    order: tuple[int, ...]
    groups: tuple[list[int], ...]

    @classmethod
    def of(cls, space: Space) -> Tree:
        """Build the tree of ``space``."""
        columns = tuple(_column(space, name) for name in space.columns)
        order = tuple(space.columns.index(name) for name in space.order if name in space.columns)
        groups: dict[Any, list[int]] = {}
        for j, column in enumerate(columns):
            groups.setdefault(tuple((parent, *values) for parent, values in column.needs), []).append(j)
        return cls(space, columns, order, tuple(groups.values()))

    def snap(self, rows: FloatArray) -> FloatArray:
        """Snap rows with a coordinate in each column (n, d) to values, with NaN where inactive. A copy. (n, d)."""
        snapped = np.empty_like(rows)
        for j in self.order:
            snapped[:, j] = self.columns[j].snap(rows[:, j])
            for parent, values in self.columns[j].needs:
                held = (np.abs(snapped[:, parent, None] - values) < _SAME).any(axis=1)
                snapped[~held, j] = np.nan
        return snapped


def _column(space: Space, name: str) -> Column:
    parameter, needs = space[name], tuple(_needs(space, name))
    size = parameter.size
    if size is None or (size > _MANY and parameter.ordered):
        return Column(parameter, None, None, needs)
    centres = np.array([parameter.to_unit(parameter.value_at(i)) for i in range(size)])
    edges = list(itertools.accumulate(centres.tolist(), lambda edge, centre: 2.0 * centre - edge, initial=0.0))
    edges[-1] = 1.0
    return Column(parameter, np.array(edges), centres, needs)


def _needs(space: Space, name: str) -> Iterator[tuple[int, FloatArray]]:
    for parent, values in space[name].when.items():
        if parent in space.columns:
            accepted = [space[parent].accept(value)[0] for value in values]
            yield space.columns.index(parent), np.array([space[parent].to_unit(value) for value in accepted])
        else:  # a parent with a single value, which is allowed; the parent itself may be conditional
            yield from _needs(space, parent)
