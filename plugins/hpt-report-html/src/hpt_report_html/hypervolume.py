"""Progress with several objectives: the hypervolume that the front so far dominates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from hpt_report_html.figure_style import whole_ticks
from hpt_report_html.limits import is_feasible

if TYPE_CHECKING:
    from hpt_core import History

__all__ = ["hypervolume", "volume"]

_OBJECTIVES = (2, 3)  # with more, the volume takes too long to compute
_WORST = 0.9  # quantile of each objective at which the box ends, so that a few diverged trials do not fill it

Point = tuple[float, ...]


def hypervolume(history: History) -> go.Figure | None:
    """The share of a box that the front of the trials so far dominates, by trial.

    The box spans each objective from its best value to its 90 % quantile, over the complete trials that satisfy all
    constraints.
    """
    kept = is_feasible(history)
    numbers = [n for n in history.complete.tolist() if kept[n] and history.trials[n].invalid is None]
    if len(history.objectives) not in _OBJECTIVES or len(numbers) < 2:
        return None
    losses = history.losses[numbers]
    best, worst = losses.min(axis=0), np.quantile(losses, _WORST, axis=0)
    scaled = (losses - best) / np.where(worst > best, worst - best, 1.0)
    x, y, front, total = [numbers[0]], [0.0], list[Point](), 0.0
    for number, row in zip(numbers, scaled, strict=True):
        point = tuple(row.tolist())
        if max(point) < 1 and not any(_dominates(other, point) for other in front):
            limited = [tuple(map(max, point, other)) for other in front]
            total += volume([point]) - volume(limited)
            front = [point, *(other for other in front if not _dominates(point, other))]
            x.append(number)
            y.append(total)
    figure = go.Figure()
    line = {"color": "black", "shape": "hv"}
    figure.add_scatter(x=[*x, numbers[-1]], y=[*y, total], mode="lines", line=line, name="share", showlegend=False)
    return figure.update_layout(
        xaxis={"title": {"text": "trial"}, **whole_ticks(len(history.trials))},
        yaxis={"title": {"text": "hypervolume"}, "rangemode": "tozero"},
    )


def _dominates(one: Point, other: Point) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))


def volume(points: list[Point]) -> float:
    """The volume of the unit cube whose points are no better than one of ``points``, by slicing.

    Slices along the last coordinate are cubes of one dimension less (HSO; While et al., A faster algorithm for
    calculating hypervolume, IEEE Transactions on Evolutionary Computation 2006, section II).

    Args:
        points: Points with coordinates >= 0, smaller is better; those at or beyond 1 add nothing.
    """
    inside = sorted((point for point in points if max(point) < 1), key=lambda point: point[-1])
    if not inside:
        return 0.0
    if len(inside[0]) == 1:
        return 1.0 - inside[0][0]
    ends = [*(point[-1] for point in inside[1:]), 1.0]
    total, slice_points = 0.0, list[Point]()
    for point, end in zip(inside, ends, strict=True):
        flat = point[:-1]
        if not any(_dominates(other, flat) for other in slice_points):
            slice_points = [flat, *(other for other in slice_points if not _dominates(flat, other))]
        if end > point[-1]:
            total += (end - point[-1]) * volume(slice_points)
    return total
