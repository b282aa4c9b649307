"""From unit-cube rows to the columns of the GP, and how each coordinate is searched.

Notation:

======  ==================================================================  ======
symbol  meaning                                                             shape
======  ==================================================================  ======
U       full unit rows: each parameter has a coordinate, active or not      (n, d)
active  whether a parameter is active given the row's parent values         (n, d)
Z       encoded rows: ordered parameters as they are, 0.5 where inactive;   (n, p)
        categories one-hot / sqrt(2), all zeros where inactive
======  ==================================================================  ======

A full row keeps a latent value for an inactive parameter, which matters only when its parent changes. Two
inactive values are at distance zero, and parameters shared by branches share their data (Levesque et al.,
Bayesian Optimization for Conditional Hyperparameter Spaces, IJCNN 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from hpt_core import Params, Space
from hpt_sampler_bayes.gp import BoolArray, IntArray
from hpt_sampler_bayes.kernel import FloatArray

__all__ = ["Encoding"]

_MIDDLE = 0.5
_TABLE = 1 << 12  # ordered finite parameters with more values have no table: ascent, then snapping one by one
_EVERY = 16  # parameters with up to this many values are exchanged for every other value
_NEIGHBOURS = 1 << 19  # most coordinates of a row's neighbours; if there are more, those in some of the parameters
_CELL = 1e-9  # less than half of a category's share of the unit interval
_SAME = 1e-12  # coordinates closer than this are the same value


@attrs.frozen(eq=False)
class Encoding:
    """The encoding of one space, built by `Encoding.of`.

    Attributes:
        space: The space.
        columns: Names of the d columns of the unit cube.
        continuous: Whether a column is searched by gradient. (d,)
        tables: Ascending unit coordinates of each column's values; None for a continuous column or too many values.
        categorical: Whether a column is one-hot. (d,)
        group: Column of the unit cube that each encoded column belongs to, ascending. (p,)
        levels: Unit coordinate of the category that each one-hot column stands for. (p,)
        default: The default point as a full row. (d,)
        active_most: The largest number of columns active at once, as found in a sample.
        conditions: For each column, pairs of parent column and its allowed coordinates; all must hold.
        order: The columns, parents before children.
        required: Whether the space has requirements.
    """

    space: Space
    columns: tuple[str, ...]
    continuous: BoolArray
    tables: tuple[FloatArray | None, ...]
    categorical: BoolArray
    group: IntArray
    levels: FloatArray
    default: FloatArray
    active_most: int
    conditions: tuple[tuple[tuple[int, FloatArray], ...], ...]
    order: tuple[int, ...]
    required: bool

    @classmethod
    def of(cls, space: Space) -> Encoding:
        """Build the encoding of any valid ``space``, even one without columns."""
        columns = tuple(space.columns)
        tables = tuple(_table(space[name]) for name in columns)
        categorical = np.array([not space[name].ordered for name in columns], dtype=bool)
        levels = [t if c and t is not None else np.zeros(1) for c, t in zip(categorical, tables, strict=True)]
        group = np.repeat(np.arange(len(columns)), [len(t) for t in levels])
        conditions = tuple(_conditions(space, name) for name in columns)
        default = space.to_unit(space.default())
        made = cls(
            space=space,
            columns=columns,
            continuous=np.array([t is None for t in tables], dtype=bool),
            tables=tables,
            categorical=categorical,
            group=group,
            levels=np.concatenate([*levels, np.zeros(0)]),
            default=np.where(np.isnan(default), _MIDDLE, default),
            active_most=0,
            conditions=conditions,
            order=tuple(columns.index(name) for name in space.order if name in columns),
            required=any(parameter.requires for parameter in space.parameters.values()),
        )
        sample = made.snap(np.random.default_rng(0).random((256, len(columns))))
        active_most = int(made.activity(sample).sum(axis=1).max(initial=0))
        return attrs.evolve(made, default=made.snap(made.default[None])[0], active_most=active_most)

    def snap(self, u: FloatArray) -> FloatArray:
        """Move finite columns of full rows ``u`` (n, d) to the coordinate of the nearest value. A copy. (n, d)."""
        snapped = np.array(u, dtype=np.float64)
        for j, (name, table) in enumerate(zip(self.columns, self.tables, strict=True)):
            if table is not None:
                middles = 0.5 * (table[1:] + table[:-1])
                snapped[:, j] = table[np.searchsorted(middles, u[:, j], side="right")]
            elif self.space[name].size is not None:
                snapped[:, j] = [self.space[name].snap(float(value)) for value in u[:, j]]
        return snapped

    def activity(self, u: FloatArray) -> BoolArray:
        """Which parameters are active in snapped full rows ``u`` (n, d). (n, d)."""
        active = np.ones(u.shape, dtype=bool)
        for j in self.order:
            for parent, allowed in self.conditions[j]:
                held = (np.abs(u[:, parent, None] - allowed) < _SAME).any(axis=1)
                active[:, j] &= held & active[:, parent]
        return active

    def encode(self, u: FloatArray, active: BoolArray | None = None) -> FloatArray:
        """Encode snapped full rows ``u`` (n, d); ``active`` (n, d) is their `activity`, if already known. (n, p)."""
        if active is None:
            active = self.activity(u)
        z = np.zeros((len(u), len(self.group)), order="F")  # the order decides how products are rounded
        ordered = np.flatnonzero(~self.categorical)
        z[:, np.searchsorted(self.group, ordered)] = np.where(active[:, ordered], u[:, ordered], _MIDDLE)
        row, j = np.nonzero(active & self.categorical)
        # group + levels ascends, so one search finds the columns of all categories
        z[row, np.searchsorted(self.group + self.levels, j + u[row, j] - _CELL)] = np.sqrt(0.5)
        return z

    def fill(self, unit: FloatArray) -> FloatArray:
        """Full snapped rows from unit rows (n, d): NaN (inactive) becomes the default's coordinate. (n, d)."""
        return self.snap(np.where(np.isnan(unit), self.default, unit))

    def params(self, row: FloatArray) -> Params:
        """The configuration of one full row (d,)."""
        params: Params = self.space.from_unit(row)
        return params

    def allowed(self, u: FloatArray) -> BoolArray:
        """Which full rows ``u`` (n, d) satisfy the requirements of the space. (n,)."""
        if not self.required:
            return np.ones(len(u), dtype=bool)
        return np.array([self.space.allows(params) for params in self.space.from_unit(u)], dtype=bool)

    def drawn(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Full rows of random configurations that satisfy the requirements of the space. (count, d)."""
        return self.fill(self.space.to_unit([self.space.sample(rng) for _ in range(count)]))

    def exchanges(
        self, u: FloatArray, rng: np.random.Generator, *, step: float | None = None
    ) -> tuple[FloatArray, IntArray]:
        """All rows that differ from a row of ``u`` in one parameter that is active there.

        Args:
            u: Snapped full rows. (n, d)
            rng: Chooses the parameters that are exchanged if all are too many.
            step: Step by which continuous parameters move up and down; None leaves them unchanged.

        Returns:
            The rows (k, d), and the index of the row of ``u`` that each comes from (k,). A finite parameter takes all
            its values if it has at most 16, else those 1, 2, 4, ... places away.
        """
        active = self.activity(u)
        moves = [_moves(u[active[:, j], j], table, step) for j, table in enumerate(self.tables)]  # NaN pads each
        rows, owners = [np.empty((0, len(self.columns)))], [np.empty(0, dtype=np.intp)]
        for j in _exchanged(moves, active, rng):
            at, values = np.flatnonzero(active[:, j]), moves[j]
            owner, column = np.nonzero(~np.isnan(values) & (np.abs(values - u[at, j, None]) > _SAME))
            moved = u[at[owner]]
            moved[:, j] = values[owner, column]
            rows.append(moved)
            owners.append(at[owner])
        return np.vstack(rows), np.concatenate(owners)


def _table(parameter: Any) -> FloatArray | None:
    """Ascending unit coordinates of a parameter's values; None if continuous, or ordered with too many values."""
    size = parameter.size
    if size is None or (size > _TABLE and parameter.ordered):
        return None
    return np.array([parameter.to_unit(parameter.value_at(i)) for i in range(size)])


def _conditions(space: Space, name: str) -> tuple[tuple[int, FloatArray], ...]:
    """Conditions of column ``name`` as (parent column, allowed coordinates)."""
    needs: list[tuple[int, FloatArray]] = []
    for parent, values in space[name].when.items():
        if parent in space.columns:
            accepted = [space[parent].accept(value)[0] for value in values]
            needs.append((space.columns.index(parent), np.array([space[parent].to_unit(value) for value in accepted])))
        else:  # a parent with a single value, which is allowed; the parent itself may be conditional
            needs.extend(_conditions(space, parent))
    return tuple(needs)


def _moves(at: FloatArray, table: FloatArray | None, step: float | None) -> FloatArray:
    """Values to exchange ``at`` (a,) for, padded with NaN. (a, v)."""
    if table is None:
        if step is None:
            return np.empty((len(at), 0))
        moved = at[:, None] + np.array([-step, step])
        return np.where((moved >= 0.0) & (moved <= 1.0), moved, np.nan)
    if len(table) <= _EVERY:
        return np.tile(table, (len(at), 1))
    places = 2 ** np.arange(int(np.log2(len(table))) + 1)
    index = np.searchsorted(table, at - _SAME)[:, None] + np.concatenate([-places, places])
    inside = (index >= 0) & (index < len(table))
    return np.where(inside, table[np.clip(index, 0, len(table) - 1)], np.nan)


def _exchanged(moves: Sequence[FloatArray], active: BoolArray, rng: np.random.Generator) -> IntArray:
    """The columns to exchange: all, or as many random ones as `_NEIGHBOURS` permits for rows with ``active`` (n, d).

    ``moves`` has those of each column (a, v).
    """
    order = np.arange(len(moves))
    counts = active * np.array([values.shape[1] for values in moves], dtype=np.intp)
    most = _NEIGHBOURS // max(1, len(moves))
    if counts.sum(axis=1).max(initial=0) > most:
        order = rng.permutation(order)
        order = order[np.cumsum(counts[:, order], axis=1).max(axis=0) <= most]
    return order
