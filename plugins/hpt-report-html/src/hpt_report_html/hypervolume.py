"""Progress with several objectives: the hypervolume that the front so far dominates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from hpt_report_html.figure_style import whole_ticks
from hpt_report_html.limits import is_feasible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History

    Array = NDArray[np.float64]

__all__ = ["gains", "hypervolume"]

_OBJECTIVES = (2, 3)  # with more, the volume takes too long to compute
_WORST = 0.9  # quantile of each loss at which the box ends, so that a few diverged trials do not fill it


def hypervolume(history: History) -> go.Figure | None:
    """The share of a box that the front of the trials so far dominates, by trial.

    The box spans each objective from its best value to the value that 90 % of the trials reach, over the complete
    trials that satisfy all constraints.
    """
    kept = is_feasible(history)
    valid = (trial for trial in history.trials if trial.state == "complete" and trial.invalid is None)
    numbers = [trial.number for trial in valid if kept[trial.number]]
    if len(history.objectives) not in _OBJECTIVES or len(numbers) < 2:
        return None
    gained = gains(_scaled(history.losses[numbers]))
    x, y = [numbers[0]], [0.0]
    for i in np.flatnonzero(gained):
        x.append(numbers[i])
        y.append(y[-1] + gained[i])
    figure = go.Figure()
    line = {"color": "black", "shape": "hv"}
    figure.add_scatter(x=[*x, numbers[-1]], y=[*y, y[-1]], mode="lines", line=line, name="share", showlegend=False)
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


def gains(points: Array) -> Array:
    """The volume that each point adds to what the points before it dominate of the unit cube.

    What no point dominates is kept as disjoint boxes, at most 2n + 1 of them in three dimensions (Lacour, Klamroth &
    Fonseca, A box decomposition algorithm to compute the hypervolume indicator, Computers & Operations Research 2017).
    Row 0 of a box is its upper corner. Row 1 + k is the point that bounds the box from above in coordinate k.

    Args:
        points: Coordinates >= 0, smaller is better, shape (n, m). Points at or beyond 1 add nothing.

    Returns:
        The volumes, shape (n,).
    """
    m = points.shape[1]
    boxes = np.concatenate([np.ones((1, m)), np.eye(m)])[:, :, None]  # shape (1 + m, m, count): the whole cube
    gained = np.zeros(len(points))
    for i, point in enumerate(points):
        hit = (point[:, None] < boxes[0]).all(axis=0)
        if hit.any():
            old = boxes[:, :, hit]
            new = _without(old, point)
            gained[i] = max(0.0, _volume(old) - _volume(new))
            boxes = np.concatenate([boxes.take(np.flatnonzero(~hit), axis=2), new], axis=2)
    return gained


def _without(boxes: Array, point: Array) -> Array:
    """What is left of ``boxes``, as boxes, without what ``point`` dominates. It lies below all their upper corners."""
    parts: list[Array] = []
    for j, value in enumerate(point):
        others = np.delete(boxes[1:, j], j, axis=0)  # a box that another point bounds more tightly would be empty
        part = boxes[:, :, (value >= others).all(axis=0)]
        part[0, j], part[1 + j] = value, point[:, None]
        parts.append(part)
    return np.concatenate(parts, axis=2)


def _volume(boxes: Array) -> float:
    """The sum of the volumes of boxes."""
    low = np.zeros(boxes.shape[1:])
    for j in range(1, len(low)):  # below this, other boxes have the volume, so that none is counted twice
        low[j] = boxes[1 : 1 + j, j].max(axis=0)
    return float(np.maximum(boxes[0] - low, 0.0).prod(axis=0).sum())
