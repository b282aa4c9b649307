"""Progress with several objectives: the hypervolume that the front so far dominates."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from hpt_report_html.figure_style import whole_ticks
from hpt_report_html.limits import is_feasible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History

    Array = NDArray[np.float64]

__all__ = ["hypervolume", "volumes"]

_OBJECTIVES = (2, 3)  # with more, the volume takes too long to compute
_WORST = 0.9  # quantile of each loss at which the box ends, so that a few diverged trials do not fill it
_MOST_POINTS = 200  # of the curve


def hypervolume(history: History) -> go.Figure | None:
    """The share of a box that the front of the trials so far dominates, by trial.

    The box spans each objective from its best value to the value that 90 % of the trials reach, over the complete
    trials that satisfy all constraints. Of many trials, 200 evenly spaced ones have a point.
    """
    kept = is_feasible(history)
    valid = (trial for trial in history.trials if trial.state == "complete" and trial.invalid is None)
    numbers = [trial.number for trial in valid if kept[trial.number]]
    if len(history.objectives) not in _OBJECTIVES or len(numbers) < 2:
        return None
    drawn = np.linspace(0, len(numbers) - 1, min(len(numbers), _MOST_POINTS)).astype(np.intp)
    figure = go.Figure()
    figure.add_scatter(
        x=[numbers[i] for i in drawn],
        y=volumes(_scaled(history.losses[numbers]), drawn + 1),
        mode="lines",
        line={"color": "black", "shape": "hv"},
        name="share",
        showlegend=False,
    )
    return figure.update_layout(
        xaxis={"title": {"text": "trial"}, **whole_ticks(len(history.trials))},
        yaxis={"title": {"text": "hypervolume"}, "rangemode": "tozero"},
    )


def _scaled(losses: Array) -> Array:
    """Losses in units of the box: 0 is the best, 1 the end of the box."""
    halves = losses / 2  # whose differences do not overflow
    best, worst = halves.min(axis=0), np.quantile(halves, _WORST, axis=0)
    flat = worst == best  # then only the best value lies in the box
    return np.asarray(np.where(flat, halves > best, (halves - best) / np.where(flat, 1.0, worst - best)))


def volumes(points: Array, counts: NDArray[np.intp]) -> list[float]:
    """The volume of the unit cube that the first points dominate, for each of these counts of points.

    In three dimensions, a plane moves along the last axis, and each point that it meets adds area to what the points
    so far dominate in the plane (Fonseca, Paquete & Lopez-Ibanez, An improved dimension-sweep algorithm for the
    hypervolume indicator, CEC 2006). A point that adds none is dominated, and left out from then on.

    Args:
        points: Coordinates >= 0, smaller is better, shape (n, 2) or (n, 3). Points at or beyond 1 add nothing.
        counts: Ascending, at most n.
    """
    if points.shape[1] == 2:
        return list(np.cumsum([0.0, *_added_areas(points)])[counts])
    front, found, start = points[:0], [], 0
    for count in counts:
        front = np.concatenate([front, points[start:count]])
        front = front[np.lexsort(front.T)]
        added = np.array(_added_areas(front[:, :2]))
        found.append(float(added @ np.maximum(0.0, 1.0 - front[:, 2])))
        front, start = front[added > 0.0], count
    return found


def _added_areas(points: Array) -> list[float]:
    """The area of the unit square that each point (n, 2) dominates, and no point before it does."""
    xs, ys = [-1.0, 1.0], [1.0, -1.0]  # the front so far between two ends: x ascends, y descends
    added = []
    for x, y in np.minimum(points, 1.0).tolist():
        first = last = bisect_left(xs, x)
        area, left, top = 0.0, x, ys[first - 1]
        while ys[last] >= y:  # this point is dominated from now on
            area += (xs[last] - left) * (top - y)
            left, top = xs[last], ys[last]
            last += 1
        area += (xs[last] - left) * (top - y)
        if area > 0.0:
            xs[first:last], ys[first:last] = [x], [y]
        added.append(max(0.0, area))
    return added
