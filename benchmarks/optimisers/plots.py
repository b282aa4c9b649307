"""Plots of the raw rows (needs matplotlib): regret against trials by family, and time against known trials."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from stats import at, common, main_budget, stages

if TYPE_CHECKING:
    from rows import Rows
    from stats import Curves

__all__ = ["draw"]

_FOREIGN = ("#7f7f7f", "#bcbd22", "#8c564b", "#e377c2", "#17becf", "#9467bd", "#2f4f4f")
_OURS = ("#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#000080")


def draw(rows: Rows, curves: Curves, speeds: Path | None, folder: Path) -> None:
    """Write ``optimisers-regret.svg`` and, if times are given, ``optimisers-speed.svg``."""
    import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore] # optional

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "hpt", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    draw_regret({row.problem: row.family for row in rows.values()}, curves, folder / "optimisers-regret.svg")
    if speeds:
        draw_speed(speeds, folder / "optimisers-speed.svg")


def styles(names: list[str]) -> dict[str, dict[str, Any]]:
    """Line styles: hpt's samplers solid in strong colours, peers dashed."""
    ours = [name for name in names if name.startswith("hpt-")]
    others = [name for name in names if name not in ours]
    found: dict[str, dict[str, Any]] = {
        name: {"color": _OURS[i % len(_OURS)], "linewidth": 1.6} for i, name in enumerate(ours)
    }
    for i, name in enumerate(others):
        found[name] = {"color": _FOREIGN[i % len(_FOREIGN)], "linewidth": 1.2, "linestyle": "--"}
    return found


def draw_regret(families: dict[str, str], curves: Curves, path: Path) -> None:
    """Mean regret of each family against trials, for all optimisers that ran everything."""
    import matplotlib.pyplot as plt  # type: ignore[import-not-found,unused-ignore] # optional

    _, cut = stages(curves)[0]
    trials = main_budget(cut)
    shown = list(dict.fromkeys(families.values()))
    figure, axes = plt.subplots(2, 3, figsize=(10, 6), sharex=True, layout="constrained")
    look = styles(sorted(cut))
    for axis, family in zip(axes.flat, shown, strict=False):
        inside = {
            name: {cell: c for cell, c in runs.items() if families[cell[0]] == family} for name, runs in cut.items()
        }
        cells = common(at(inside, trials), list(inside))
        for name in sorted(cut):
            mean = np.mean([inside[name][cell][:trials] for cell in cells], axis=0)
            axis.plot(np.arange(1, trials + 1), mean, label=name, **look[name])
        axis.set(title=f"{family} ({len({problem for problem, _ in cells})} problems)", ylim=(0, None))
    for axis in axes[-1]:
        axis.set_xlabel("trials")
    for axis in axes[:, 0]:
        axis.set_ylabel("mean regret")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def draw_speed(speeds: Path, path: Path) -> None:
    """CPU time of a suggestion against the number of known trials."""
    import matplotlib.pyplot as plt  # type: ignore[import-not-found,unused-ignore] # optional

    with speeds.open(newline="") as file:
        found = [cells for cells in csv.DictReader(file) if not cells["cpu_ms"].startswith("over")]
    names = list(dict.fromkeys(cells["optimiser"] for cells in found))
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    look = styles(names)
    for name in names:
        points = sorted((int(cells["trials"]), float(cells["cpu_ms"])) for cells in found if cells["optimiser"] == name)
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name, **look[name])
    axis.set(xscale="log", yscale="log", xlabel="known trials", ylabel="CPU ms of one suggestion")
    axis.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path, metadata={"Date": None})
