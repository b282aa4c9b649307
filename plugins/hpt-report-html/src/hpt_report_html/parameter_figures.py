"""Figures about the parameters, a function for each; it returns None if there is nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpt_core import Categorical, Int, Ordinal, Trial
from hpt_report_html.figure_style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SCALE,
    first_name,
    hover,
    label,
    safe,
    shown,
    valued,
    whole_ticks,
)
from hpt_report_html.limits import is_feasible, span

if TYPE_CHECKING:
    from hpt_core import History
    from hpt_report_html.importance import Importance

__all__ = ["MOST_PARAMETERS", "importance", "most_important", "pair", "parallel", "slices"]

MOST_PARAMETERS = 30
_MOST_LINES = 200  # of parallel coordinates
_COLUMNS = 3  # of the grid of slices, at most
_MOST_TICKS = 12  # choices named beside an axis
_ONE_LINE = 20  # characters of the ends of an axis
_INACTIVE = -0.15  # height of an inactive parameter in parallel coordinates, where active ones are from 0 to 1
_EDGE = 0.05  # beyond the highest and the lowest of these heights


def most_important(history: History, shares: Mapping[str, Mapping[str, Importance]]) -> list[str]:
    """At most 30 parameters, in the order of the space: the most important ones, or the first if none is known to be.

    These are drawn. More axes cannot be read, and their points would make the page too large.
    """
    ranked = list(next(iter(shares.values()), history.space.columns))[:MOST_PARAMETERS]
    return [name for name in history.space.columns if name in ranked]


def importance(shares: Mapping[str, Mapping[str, Importance]], drawn: Sequence[str]) -> go.Figure | None:
    """Importances as shares of the variance, side by side for several objectives."""
    figure = go.Figure()
    for (objective, found), colour in zip(shares.items(), cycle((BLUE, ORANGE, GREEN, PURPLE, RED)), strict=False):
        names = [name for name in found if name in drawn][::-1]
        means, sds = [found[name].mean for name in names], [found[name].sd for name in names]
        down = list(map(min, means, sds))  # no share is below 0
        figure.add_bar(
            orientation="h",
            y=[safe(name) for name in names],
            x=means,
            error_x={"array": sds, "arrayminus": down, "symmetric": False, "color": "black"},
            name=safe(objective),
            marker={"color": colour},
        )
    if not figure.data:
        return None
    height = 140 + 28 * len(figure.data[0].y) * len(figure.data)
    axis = {"title": {"text": "share of the variance that it explains alone"}, "tickformat": ".0%"}
    return figure.update_layout(xaxis=axis, height=height)


def _axis(history: History, name: str) -> dict[str, Any]:
    """How a parameter's axis is drawn."""
    parameter = history.space[name]
    if isinstance(parameter, (Categorical, Ordinal)):
        names = _names(parameter)
        named = names[:: -(-len(names) // _MOST_TICKS)]
        return {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [safe(name) for name in names],
            "tickvals": [safe(name) for name in named],
            "ticktext": [label(name) for name in named],
            "range": [-0.5, len(names) - 0.5],
        }
    if getattr(parameter, "log", False):
        return {"type": "log", "exponentformat": "e"}  # else plotly writes 1e-4 as 100\u03bc
    return {"type": "linear", **(whole_ticks(parameter.high - parameter.low) if isinstance(parameter, Int) else {})}


def _on_axis(history: History, name: str, values: list[Any]) -> list[Any]:
    """Values of a parameter in the form that its axis needs."""
    parameter = history.space[name]
    if isinstance(parameter, (Categorical, Ordinal)):
        names = _names(parameter)
        return [safe(names[parameter.index_of(value)]) for value in values]
    return values


def _names(parameter: Categorical | Ordinal) -> list[str]:
    """The choices as text, which tells 1 from "1"."""
    texts = [str(choice) for choice in parameter.choices]
    return texts if len(set(texts)) == len(texts) else [repr(choice) for choice in parameter.choices]


def slices(history: History, names: Sequence[str]) -> go.Figure | None:
    """The first objective over each parameter; earlier trials are fainter, those that violate a constraint grey."""
    trials = valued(history)
    if not trials or not names:
        return None
    params = {trial.number: trial.params for trial in trials}  # each access to `trial.params` copies all of them
    columns = min(len(names), _COLUMNS)
    rows = -(-len(names) // columns)
    figure = make_subplots(rows, columns, shared_yaxes="all", vertical_spacing=0.35 / rows, horizontal_spacing=0.03)
    for index, name in enumerate(names):
        row, column = index // columns + 1, index % columns + 1
        active = [trial for trial in trials if name in params[trial.number]]
        kept, broken = _split(history, active)
        by_age = {"color": [trial.number for trial in kept], "colorscale": SCALE, "reversescale": True, "size": 5}
        drawn = [(broken, {"color": GREY, "size": 5}), (kept, by_age)]
        for some, marker in (one for one in drawn if one[0]):
            figure.add_scatter(
                row=row,
                col=column,
                x=_on_axis(history, name, [params[trial.number][name] for trial in some]),
                y=[trial.value for trial in some],
                mode="markers",
                marker=marker,
                text=[f"trial {trial.number}" for trial in some],
                hoverinfo="text+x+y",
                showlegend=False,
            )
        figure.update_xaxes(row=row, col=column, title={"text": label(name)}, **_axis(history, name))
    limits = span(history, trials)
    figure.update_yaxes(range=limits)
    figure.update_yaxes(col=1, title={"text": first_name(history, limits)})
    return figure.update_layout(height=80 + 260 * rows)


def _split(history: History, trials: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """The trials that satisfy the constraints, and those that do not."""
    kept = is_feasible(history)
    return [t for t in trials if kept[t.number]], [t for t in trials if not kept[t.number]]


def pair(history: History, shares: Mapping[str, Mapping[str, Importance]]) -> go.Figure | None:
    """The first objective over two parameters, see `_together`."""
    names = _together(history, list(shares.get(history.objectives[0], ())))
    trials = [trial for trial in valued(history) if all(name in trial.params for name in names)]
    if not names or not trials:
        return None
    kept, broken = _split(history, trials)
    limits = span(history, trials) or (None, None)
    by_value = {
        "color": [trial.value for trial in kept],
        "colorscale": SCALE,
        "cmin": limits[0],
        "cmax": limits[1],
        "size": 9,
        "colorbar": {"title": {"text": first_name(history)}},
    }
    figure = go.Figure()
    drawn = [(broken, "violates a constraint", {"color": GREY, "size": 6}), (kept, "", by_value)]
    for some, name, marker in (one for one in drawn if one[0]):
        figure.add_scatter(
            x=_on_axis(history, names[0], [trial.params[names[0]] for trial in some]),
            y=_on_axis(history, names[1], [trial.params[names[1]] for trial in some]),
            mode="markers",
            marker=marker,
            name=name,
            showlegend=bool(name),
            text=[hover(history, trial) for trial in some],
            hoverinfo="text",
        )
    first, second = (_axis(history, name) | {"title": {"text": label(name)}} for name in names)
    return figure.update_layout(xaxis=first, yaxis=second)


def _together(history: History, names: Sequence[str]) -> tuple[str, ...]:
    """The first two of ``names`` that both vary where both are active; never a choice and a parameter of its branch."""
    unit = history.unit[history.complete]
    for pair in combinations(names, 2):
        both = unit[:, [history.space.columns.index(name) for name in pair]]
        both = both[~np.isnan(both).any(axis=1)]
        if len(both) and (both.min(axis=0) < both.max(axis=0)).all():
            return pair
    return ()


def parallel(history: History, names: Sequence[str]) -> go.Figure | None:
    """Parallel coordinates: a line per trial over the parameters, which passes below the axis of an inactive one."""
    numbers = history.complete
    if len(numbers) < 2 or len(names) < 2:
        return None
    kept = is_feasible(history)[numbers]
    order = numbers[np.lexsort((-history.losses[numbers, 0], kept))][-_MOST_LINES:]  # the best last, on top
    count = min(int(kept.sum()), len(order))
    half, tenth = len(order) - -(-count // 2), len(order) - -(-count // 10)
    groups = {"others": order[:half], "best half": order[half:tenth], "best tenth": order[tenth:]}
    unit = history.unit[:, [history.space.columns.index(name) for name in names]]
    inactive = np.isnan(unit)
    heights = np.where(inactive, _INACTIVE, unit).round(4)
    figure = go.Figure()
    for (name, some), colour in zip(groups.items(), (GREY, BLUE, RED), strict=True):
        x: list[int | None] = []
        y: list[float | None] = []
        for number in some:
            x += [*range(len(names)), None]
            y += [*heights[number].tolist(), None]
        opacity = 0.35 if name == "others" else 0.8
        figure.add_scatter(x=x, y=y, mode="lines", name=name, line={"color": colour}, opacity=opacity, hoverinfo="skip")
    columns = {
        "range": [-0.5, len(names) - 0.5],
        "tickvals": [*range(len(names))],
        "ticktext": [_ends(history, name) for name in names],
        "ticklabeloverflow": "allow",  # else the last name is hidden where it is turned
    }
    levels = {0: "low", 1: "high"} | ({_INACTIVE: "inactive"} if inactive[order].any() else {})
    shown_heights = {"range": [min(levels) - _EDGE, 1 + _EDGE], "zeroline": False}
    return figure.update_layout(
        xaxis=columns, yaxis={"tickvals": [*levels], "ticktext": [*levels.values()], **shown_heights}
    )


def _ends(history: History, name: str) -> str:
    parameter = history.space[name]
    if isinstance(parameter, (Categorical, Ordinal)):
        low, high = parameter.choices[0], parameter.choices[-1]
    else:
        low, high = parameter.from_unit(0.0), parameter.from_unit(1.0)
    ends = [label(shown(low)), label(shown(high))]
    return f"<b>{label(name)}</b><br>{(' to ' if sum(map(len, ends)) < _ONE_LINE else ' to<br>').join(ends)}"
