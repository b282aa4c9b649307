"""Statistics of the raw rows: regrets on common runs, ranks, bootstrap intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from rows import SCALE, Rows

__all__ = [
    "Cell",
    "Curves",
    "at",
    "common",
    "complete",
    "interval",
    "main_budget",
    "ranks",
    "regrets",
    "stages",
    "trials_to",
]

Array = np.ndarray[Any, Any]
Cell = tuple[str, int]
"""(problem, seed)."""

Curves = dict[str, dict[Cell, Array]]
"""Optimiser -> cell -> regret after each trial."""

COMPLETE = 0.9
"""Optimisers with this share of the largest number of runs are in the main table; others are compared one by one."""


def regrets(rows: Rows, workers: int = 1) -> Curves:
    """Regret = (best so far - lo) / (hi - lo), cut to [0, 2].

    lo is the optimum if it is known, else the best of the scale's random points and of all runs in the file. hi is the
    median best of ten random points. So 1 is the level of ten random trials, and 0 is the best known value.
    """
    best: dict[str, float] = {}
    for row in rows.values():
        known = row.values[0] if row.optimiser == SCALE else min(row.values)
        best[row.problem] = min(known, best.get(row.problem, known))
    found: Curves = defaultdict(dict)
    for row in rows.values():
        if row.optimiser != SCALE and row.workers == workers:
            lo, hi = best[row.problem], rows[row.problem, SCALE, 0, 1].values[1]
            curve = (np.minimum.accumulate(row.values) - lo) / max(hi - lo, 1e-12)
            found[row.optimiser][row.problem, row.seed] = np.clip(curve, 0, 2)
    return dict(found)


def at(curves: Curves, budget: int, keep: Callable[[str], bool] = lambda _: True) -> dict[str, dict[Cell, float]]:
    """Regret after ``budget`` trials on the problems to keep; shorter runs are left out."""
    table = {
        name: {cell: float(c[budget - 1]) for cell, c in runs.items() if len(c) >= budget and keep(cell[0])}
        for name, runs in curves.items()
    }
    return {name: runs for name, runs in table.items() if runs}


def complete(table: dict[str, dict[Cell, float]]) -> list[str]:
    """The optimisers that ran (nearly) everything."""
    most = max((len(runs) for runs in table.values()), default=0)
    return [name for name, runs in table.items() if len(runs) >= COMPLETE * most]


def main_budget(curves: Curves) -> int:
    """The budget of tables with a single budget: 60 trials, or the length of the longest run if that is shorter."""
    return min(60, max((len(curve) for runs in curves.values() for curve in runs.values()), default=1))


def stages(curves: Curves) -> list[tuple[int, Curves]]:
    """The comparisons among optimisers that ran (nearly) everything; with more seeds there are fewer of them.

    Returns:
        Pairs (number of seeds, curves of those seeds and optimisers), one for each set of optimisers with all seeds
        that the set has; the largest set first.
    """
    found: dict[tuple[str, ...], tuple[int, Curves]] = {}
    for seeds in range(1, 1 + max((seed for runs in curves.values() for _, seed in runs), default=-1) + 1):
        cut = {name: {cell: c for cell, c in runs.items() if cell[1] < seeds} for name, runs in curves.items()}
        names = complete(at(cut, main_budget(curves)))
        found[tuple(names)] = (seeds, {name: cut[name] for name in names})
    return list(found.values())


def common(table: dict[str, dict[Cell, float]], names: list[str]) -> list[Cell]:
    """The cells that all of ``names`` have."""
    return sorted(set.intersection(*(set(table[name]) for name in names))) if names else []


def ranks(table: Array) -> Array:
    """Ranks within each column, 1 is best; ties share the mean of their places.

    Args:
        table: Regrets, shape (optimisers, cells).
    """
    below = (table[None, :, :] < table[:, None, :]).sum(axis=1)
    same = (table[None, :, :] == table[:, None, :]).sum(axis=1)
    ranked: Array = below + (same + 1) / 2
    return ranked


@attrs.frozen
class Interval:
    """A mean and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def interval(values: Array, cells: list[Cell]) -> Interval:
    """Mean over the cells, with equal weight per problem; the bootstrap draws problems with all their seeds.

    Args:
        values: One value per cell.
        cells: The cells.
    """
    of: dict[str, list[float]] = defaultdict(list)
    for (problem, _), value in zip(cells, values, strict=True):
        of[problem].append(float(value))
    means = np.array([np.mean(seeds) for seeds in of.values()])
    draws = np.random.default_rng(0).choice(means, (2000, len(means))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(means.mean()), float(low), float(high))


def trials_to(curve: Array, target: float) -> int | None:
    """Number of trials until a curve is no higher than the target; None if it stays above."""
    there = np.flatnonzero(curve <= target + 1e-12)
    return int(there[0]) + 1 if len(there) else None
