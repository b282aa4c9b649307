"""Pictures of a study, as figures of plotly: a function for each, which gives None where there is nothing to see."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpt_core import Categorical, Ordinal, Trial, UsageError
from hpt_report_html.importance import importances
from hpt_report_html.thin import thinned

if TYPE_CHECKING:
    from hpt_core import History

__all__ = ["figures"]

# Okabe & Ito, Color Universal Design: told apart by readers who do not see all colours
_BLUE, _ORANGE, _GREEN, _RED, _PURPLE, _GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#999999"
_OF_STATE = {"complete": _BLUE, "stopped": _ORANGE, "failed": _RED, "paused": _PURPLE, "running": _GREEN}
_SCALE = "Cividis"
_MOST_LINES = 200  # of parallel coordinates
_MOST_CURVES = 60
_BEST_CURVES = 10
_MOST_BARS = 2000  # of the timeline
_COLUMNS = 3  # of the grid of slices
_HEIGHT = 380


def figures(history: History) -> dict[str, go.Figure]:
    """All pictures that a study gives, by title, in the order in which one looks at them.

    Args:
        history: The study, see `hpt_core.load_history`.

    Returns:
        Title -> figure of plotly; ``figures(history)["Optimisation history"].show()`` in a notebook.
    """
    made: dict[str, Callable[[History], go.Figure | None]] = {
        "Optimisation history": _progress,
        "Pareto front": _front,
        "Parameter importances": _importance,
        "Each parameter": _slices,
        "The two that matter most": _pair,
        "Parallel coordinates": _parallel,
        "Folds" if history.evidence == "folds" else "Learning curves": _curves,
        "Timeline": _timeline,
        "Predicted and found": _calibration,
    }
    found = {title: make(history) for title, make in made.items()}
    return {title: _finished(figure) for title, figure in found.items() if figure is not None}


def _finished(figure: go.Figure) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        height=figure.layout.height or _HEIGHT,
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    return figure


def _safe(text: object) -> str:
    """A name for plotly, which takes texts for a kind of HTML."""
    return html.escape(str(text))


def _hover(history: History, trial: Trial) -> str:
    values = () if trial.values is None else zip(history.objectives, trial.values, strict=True)
    facts = [f"trial {trial.number}: {trial.state}"]
    facts += [f"{name} = {value:.6g}" for name, value in values]
    facts += [f"{name} = {_shown(value)}" for name, value in trial.params.items()]
    return "<br>".join(map(_safe, facts))


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _valued(history: History) -> list[Trial]:
    """Complete trials that count, thinned."""
    numbers = [int(number) for number in history.complete]
    return [history.trials[number] for number in thinned(numbers, history.losses[numbers, 0])]


def _first(history: History) -> str:
    return _safe(history.objectives[0])


def _values(trials: Iterable[Trial]) -> list[float | None]:
    return [trial.value for trial in trials]


# --- how it went ------------------------------------------------------------------------------------------------


def _progress(history: History) -> go.Figure | None:
    """Values by trial, and the best so far; with several objectives, of the first."""
    known = [trial for trial in history.trials if trial.values is not None and trial.invalid is None]
    if not known:
        return None
    figure = go.Figure()
    feasible = set(history.feasible.tolist())
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in thinned(known, [history.loss_of(trial.value or 0.0) for trial in known]):
        breaks = trial.state == "complete" and trial.number not in feasible
        kind = ("breaks a constraint", _GREY) if breaks else (str(trial.state), _OF_STATE[trial.state])
        groups.setdefault(kind, []).append(trial)
    for (name, colour), trials in groups.items():
        marker = {"color": colour, "size": 6, "symbol": "circle" if name == "complete" else "x-thin-open"}
        x = [trial.number for trial in trials]
        text = [_hover(history, trial) for trial in trials]
        figure.add_scatter(
            x=x, y=_values(trials), text=text, name=name, mode="markers", marker=marker, hoverinfo="text"
        )
    _add_best(history, figure)
    _add_failed(history, figure)
    return figure.update_layout(xaxis_title="trial", yaxis_title=_first(history))


def _add_best(history: History, figure: go.Figure) -> None:
    """A step down at each trial that was better than all before it, on to the last one."""
    numbers = np.sort(history.feasible)
    if len(numbers):
        best = np.minimum.accumulate(history.losses[numbers, 0])
        at = [*np.flatnonzero(np.diff(best, prepend=np.inf)), -1]
        y = [history.value_of(loss) for loss in best[at].tolist()]
        line = {"color": "black", "shape": "hv"}
        figure.add_scatter(x=numbers[at].tolist(), y=y, mode="lines", name="best so far", line=line)


def _add_failed(history: History, figure: go.Figure) -> None:
    """Crosses at the lower edge of the picture, as failed trials have no value."""
    failed = [trial.number for trial in history.trials if trial.state == "failed"]
    if failed:
        low = min(min(trace.y) for trace in figure.data)
        marker = {"color": _RED, "symbol": "x"}
        figure.add_scatter(x=failed, y=[low] * len(failed), mode="markers", name="failed", marker=marker)


def _front(history: History) -> go.Figure | None:
    """The first two objectives of each trial."""
    if len(history.objectives) < 2:
        return None
    trials, front = _valued(history), history.front
    if not trials:
        return None
    figure = go.Figure()
    for name, some, colour in (("trials", trials, _GREY), ("front", front, _RED)):
        pairs = sorted((trial.values[0], trial.values[1], _hover(history, trial)) for trial in some if trial.values)
        x, y, text = zip(*pairs, strict=True) if pairs else ((), (), ())
        figure.add_scatter(x=x, y=y, text=text, hoverinfo="text", mode="markers", name=name, marker={"color": colour})
    return figure.update_layout(xaxis_title=_first(history), yaxis_title=_safe(history.objectives[1]))


def _timeline(history: History) -> go.Figure | None:
    """When each worker was at which trial."""
    timed = [trial for trial in history.trials if trial.started is not None and trial.ended is not None]
    timed = timed[-_MOST_BARS:]
    if not timed:
        return None
    begin = min(trial.started for trial in timed if trial.started is not None)
    names = {worker: f"worker {index}" for index, worker in enumerate(dict.fromkeys(t.worker for t in timed))}
    figure = go.Figure()
    for state, colour in _OF_STATE.items():
        trials = [trial for trial in timed if trial.state == state]
        if trials:
            figure.add_bar(
                orientation="h",
                y=[names[trial.worker] for trial in trials],
                base=[(trial.started or begin) - begin for trial in trials],
                x=[trial.duration for trial in trials],
                name=state,
                marker={"color": colour, "line": {"color": "white", "width": 1}},
                text=[_hover(history, trial) for trial in trials],
                textposition="none",
                hoverinfo="text",
            )
    height = 160 + 26 * len(names)
    return figure.update_layout(xaxis_title="seconds", barmode="overlay", height=height)


def _curves(history: History) -> go.Figure | None:
    """Reports of the best trials, and of some of those that were stopped."""
    several = [trial for trial in history.trials if len(trial.reports) > 1]
    done = [trial for trial in several if trial.state == "complete" and trial.value is not None]
    done.sort(key=lambda trial: history.loss_of(trial.value or 0.0))
    stopped = [trial for trial in several if trial.state == "stopped"]
    if not several:
        return None
    figure = go.Figure()
    for trial in [*stopped[-_MOST_CURVES:], *reversed(done[:_BEST_CURVES])]:
        best = trial.state == "complete"
        figure.add_scatter(
            x=[report.step for report in trial.reports],
            y=[report.value for report in trial.reports],
            mode="markers+lines" if history.evidence == "folds" else "lines",
            line={"color": _BLUE if best else _GREY, "width": 2 if best else 1},
            opacity=0.9 if best else 0.5,
            name=f"the best {min(len(done), _BEST_CURVES)}" if best else "stopped",
            legendgroup=str(best),
            showlegend=trial in (done[:1] + stopped[-1:]),
            text=_hover(history, trial),
            hoverinfo="text+y",
        )
    return figure.update_layout(
        xaxis_title="fold" if history.evidence == "folds" else "step", yaxis_title=_first(history)
    )


def _calibration(history: History) -> go.Figure | None:
    """What the sampler's model predicted, one standard deviation about it, and what came."""
    predicted = [trial for trial in _valued(history) if {"mean", "sd"} <= set(trial.info)]
    if not predicted or len(history.objectives) > 2:  # of more a scalarisation is predicted
        return None
    figure = go.Figure()
    mean = [float(trial.info["mean"]) for trial in predicted]
    figure.add_scatter(
        x=mean,
        y=_values(predicted),
        error_x={"array": [float(trial.info["sd"]) for trial in predicted], "color": _GREY, "thickness": 1},
        mode="markers",
        marker={"color": _BLUE},
        name="trials",
        text=[_hover(history, trial) for trial in predicted],
        hoverinfo="text",
    )
    ends = [min(mean), max(mean)]
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": "black", "dash": "dot"}, name="as predicted")
    return figure.update_layout(xaxis_title=f"predicted {_first(history)}, with its sd", yaxis_title="found")


# --- what matters -----------------------------------------------------------------------------------------------


def _importance(history: History) -> go.Figure | None:
    """Shares of the variance; of several objectives side by side."""
    figure = go.Figure()
    for objective, colour in zip(history.objectives, (_BLUE, _ORANGE, _GREEN, _PURPLE, _RED), strict=False):
        try:
            found = importances(history, objective)
        except UsageError:  # too little to learn from
            continue
        names = list(reversed(found))
        figure.add_bar(
            orientation="h",
            y=[_safe(name) for name in names],
            x=[found[name].mean for name in names],
            error_x={"array": [found[name].sd for name in names], "color": "black"},
            name=_safe(objective),
            marker={"color": colour},
        )
    if not figure.data:
        return None
    height = 140 + 28 * len(figure.data[0].y) * len(figure.data)
    return figure.update_layout(xaxis_title="share of the variance that it explains alone", height=height)


def _axis(history: History, name: str) -> dict[str, Any]:
    """How a parameter's axis is drawn."""
    parameter = history.space[name]
    if isinstance(parameter, (Categorical, Ordinal)):
        order = [_safe(choice) for choice in parameter.choices]
        return {"type": "category", "categoryorder": "array", "categoryarray": order}
    return {"type": "log" if getattr(parameter, "log", False) else "linear"}


def _on_axis(history: History, name: str, trials: Sequence[Trial]) -> list[Any]:
    """Values of a parameter as its axis takes them."""
    values = [trial.params[name] for trial in trials]
    named = isinstance(history.space[name], (Categorical, Ordinal))
    return [_safe(value) for value in values] if named else values


def _slices(history: History) -> go.Figure | None:
    """The first objective by each parameter, darker the later."""
    trials, names = _valued(history), history.space.columns
    if not trials or not names:
        return None
    rows = -(-len(names) // _COLUMNS)
    figure = make_subplots(rows, _COLUMNS, shared_yaxes=True, vertical_spacing=0.35 / rows, horizontal_spacing=0.03)
    for index, name in enumerate(names):
        row, column = index // _COLUMNS + 1, index % _COLUMNS + 1
        active = [trial for trial in trials if name in trial.params]
        figure.add_scatter(
            row=row,
            col=column,
            x=_on_axis(history, name, active),
            y=_values(active),
            mode="markers",
            marker={"color": [trial.number for trial in active], "colorscale": _SCALE, "reversescale": True, "size": 5},
            text=[f"trial {trial.number}" for trial in active],
            hoverinfo="text+x+y",
            showlegend=False,
        )
        figure.update_xaxes(row=row, col=column, title={"text": _safe(name)}, **_axis(history, name))
    figure.update_yaxes(col=1, title={"text": _first(history)})
    return figure.update_layout(height=80 + 260 * rows)


def _pair(history: History) -> go.Figure | None:
    """The first objective over the two parameters of highest importance."""
    try:
        names = list(importances(history))[:2]
    except UsageError:
        return None
    trials = [trial for trial in _valued(history) if all(name in trial.params for name in names)]
    if len(names) < 2 or not trials:
        return None
    figure = go.Figure()
    figure.add_scatter(
        x=_on_axis(history, names[0], trials),
        y=_on_axis(history, names[1], trials),
        mode="markers",
        marker={
            "color": _values(trials),
            "colorscale": _SCALE,
            "size": 9,
            "colorbar": {"title": {"text": _first(history)}},
        },
        text=[_hover(history, trial) for trial in trials],
        hoverinfo="text",
    )
    first, second = (_axis(history, name) | {"title": {"text": _safe(name)}} for name in names)
    return figure.update_layout(xaxis=first, yaxis=second)


def _parallel(history: History) -> go.Figure | None:
    """A line for each trial over all parameters, each from its lowest to its highest; inactive ones leave a gap."""
    names = history.space.columns
    numbers = history.complete
    if len(numbers) < 2 or len(names) < 2:
        return None
    losses = history.losses[numbers, 0]
    order = numbers[np.argsort(-losses, kind="stable")][-_MOST_LINES:]  # the best last, on top
    tenth = max(1, len(order) // 10)
    groups = {"others": order[: -5 * tenth], "best half": order[-5 * tenth : -tenth], "best tenth": order[-tenth:]}
    figure = go.Figure()
    for (name, some), colour in zip(groups.items(), (_GREY, _BLUE, _RED), strict=True):
        x: list[int | None] = []
        y: list[float | None] = []
        for number in some:
            unit = history.unit[number]
            x += [*range(len(names)), None]
            y += [*(None if np.isnan(u) else round(float(u), 4) for u in unit), None]
        opacity = 0.35 if name == "others" else 0.8
        figure.add_scatter(x=x, y=y, mode="lines", name=name, line={"color": colour}, opacity=opacity, hoverinfo="skip")
    ticks = {
        "range": [-0.2, len(names) - 0.8],
        "tickvals": [*range(len(names))],
        "ticktext": [_ends(history, name) for name in names],
    }
    return figure.update_layout(xaxis=ticks, yaxis={"showticklabels": False, "title": {"text": "low to high"}})


def _ends(history: History, name: str) -> str:
    parameter = history.space[name]
    if isinstance(parameter, (Categorical, Ordinal)):
        shown = [str(choice) for choice in parameter.choices]
        ends = f"{shown[0]} to {shown[-1]}"
    else:
        ends = f"{_shown(parameter.from_unit(0.0))} to {_shown(parameter.from_unit(1.0))}"
    return f"<b>{_safe(name)}</b><br>{_safe(ends)}"
