"""Figures of a study's progress, a function for each; it returns None if there is nothing to show."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpt_report_html.downsample import MOST, thinned
from hpt_report_html.figure_style import (
    BLUE,
    GREY,
    OF_STATE,
    RED,
    failed,
    first_name,
    hover,
    label,
    valued,
    whole_ticks,
)
from hpt_report_html.limits import is_feasible, span, span_of_curves

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["MOST_BARS", "calibration", "coverage", "curves", "front", "progress", "timeline"]

_MOST_CURVES = 60
_BEST_CURVES = 10
_MOST_STEPS = 200  # of a curve
MOST_BARS = 2000  # of the timeline
_MOST_PAIRS = 6  # of objectives


def progress(history: History) -> go.Figure | None:
    """Values by trial, and the best so far; of the first objective if there are several."""
    known = [trial for trial in history.trials if _so_far(history, trial) is not None and trial.invalid is None]
    if not known:
        return None
    figure = go.Figure()
    kept, limits = is_feasible(history), span(history, known)
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in thinned(known, [history.loss_of(_so_far(history, trial) or 0.0) for trial in known]):
        breaks = trial.state == "complete" and not kept[trial.number]
        kind = ("violates a constraint", GREY) if breaks else (str(trial.state), OF_STATE[trial.state])
        groups.setdefault(kind, []).append(trial)
    for (name, colour), trials in groups.items():
        marker = {"color": colour, "size": 6, "symbol": "circle" if name == "complete" else "diamond-open"}
        x = [trial.number for trial in trials]
        text = [hover(history, trial) for trial in trials]
        figure.add_scatter(
            x=x,
            y=[_so_far(history, trial) for trial in trials],
            text=text,
            name=name,
            mode="markers",
            marker=marker,
            hoverinfo="text",
        )
    _add_best(history, figure)
    _add_failed(history, figure)
    return figure.update_layout(
        xaxis={"title": {"text": "trial"}, **whole_ticks(len(history.trials))},
        yaxis={"title": {"text": first_name(history, limits)}, "range": limits},
    )


def _so_far(history: History, trial: Trial) -> float | None:
    """The value of a trial, or the last reported value of a paused one."""
    paused = trial.state == "paused" and trial.reports and history.evidence == "curve"
    return trial.reports[-1].value if paused else trial.value


def _add_best(history: History, figure: go.Figure) -> None:
    """The best value so far: a step at each trial that was better than all before it, up to the last trial."""
    kept = is_feasible(history)
    done = [trial.number for trial in history.trials if trial.state == "complete" and trial.invalid is None]
    numbers = np.array([number for number in done if kept[number]], dtype=np.intp)
    if len(numbers):
        best = np.minimum.accumulate(history.losses[numbers, 0])
        at = [0, *np.flatnonzero(best[1:] < best[:-1]) + 1, -1]
        y = [history.value_of(loss) for loss in best[at].tolist()]
        line = {"color": "black", "shape": "hv"}
        figure.add_scatter(x=numbers[at].tolist(), y=y, mode="lines", name="best so far", line=line)


def _add_failed(history: History, figure: go.Figure) -> None:
    """Crosses at the lower edge of the figure for failed trials, on an axis of their own, as they have no value."""
    found = failed(history)
    found = found[:: -(-len(found) // MOST) or 1]
    if found:
        figure.add_scatter(
            x=[trial.number for trial, _ in found],
            y=[0] * len(found),
            yaxis="y2",
            mode="markers",
            name="failed",
            marker={"color": RED, "symbol": "x"},
            text=[f"trial {trial.number}: {failure.kind}" for trial, failure in found],
            hoverinfo="text",
        )
        # a little room below, or the crosses would cover the numbers of trials
        figure.update_layout(yaxis2={"overlaying": "y", "range": [-0.03, 1], "fixedrange": True, "visible": False})


def front(history: History) -> go.Figure | None:
    """Each pair of objectives, of all trials and of the front; trials that violate a constraint are hollow."""
    trials = [trial for trial in valued(history) if trial.values]
    if len(history.objectives) < 2 or not trials:
        return None
    kept, best = is_feasible(history), history.front
    best = thinned(best, [history.loss_of(trial.value or 0.0) for trial in best])
    groups = {
        "violates a constraint": ([t for t in trials if not kept[t.number]], {"color": GREY, "symbol": "diamond-open"}),
        "trials": ([t for t in trials if kept[t.number]], {"color": GREY}),
        "front": (best, {"color": RED}),
    }
    pairs = [*combinations(range(len(history.objectives)), 2)][:_MOST_PAIRS]
    columns = min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    figure = make_subplots(rows, columns, horizontal_spacing=0.08, vertical_spacing=0.35 / rows)
    for index, (first, second) in enumerate(pairs):
        at = {"row": index // columns + 1, "col": index % columns + 1}
        for name, (some, marker) in groups.items():
            if some:
                points = sorted((t.values[first], t.values[second], hover(history, t)) for t in some if t.values)
                x, y, text = zip(*points, strict=True)
                shape = {"mode": "markers", "marker": marker, "name": name, "legendgroup": name}
                figure.add_scatter(x=x, y=y, text=text, hoverinfo="text", showlegend=index == 0, **shape, **at)
        figure.update_xaxes(title={"text": label(history.objectives[first])}, **at)
        figure.update_yaxes(title={"text": label(history.objectives[second])}, **at)
    return figure.update_layout(height=100 + 280 * rows)


def timeline(history: History) -> go.Figure | None:
    """A timeline of each worker's work on trials."""
    work = [(trial, *stretch) for trial in history.trials for stretch in trial.work][-MOST_BARS:]
    if not work:
        return None
    begin = min(start for _, _, start, _ in work)
    short = (max(end for *_, end in work) - begin) / 100
    names = {worker: f"worker {index}" for index, worker in enumerate(dict.fromkeys(worker for _, worker, *_ in work))}
    figure = go.Figure()
    for state, colour in OF_STATE.items():
        bars = [(t, names[worker], start - begin, end - start) for t, worker, start, end in work if t.state == state]
        if bars:
            figure.add_bar(
                orientation="h",
                y=[name for _, name, _, _ in bars],
                base=[start for _, _, start, _ in bars],
                x=[length for *_, length in bars],
                name=state,
                # a white edge separates consecutive trials; it would hide a short one
                marker={
                    "color": colour,
                    "line": {"color": ["white" if length > short else colour for *_, length in bars], "width": 1},
                },
                text=[hover(history, trial) for trial, *_ in bars],
                textposition="none",
                hoverinfo="text",
            )
    height = 160 + 26 * len(names)
    return figure.update_layout(xaxis_title="seconds", barmode="overlay", height=height, showlegend=True)


def curves(history: History) -> go.Figure | None:
    """Reports of the best trials, and of some that were stopped or are paused."""
    several = [trial for trial in history.trials if len(trial.reports) > 1 and trial.invalid is None]
    kept = is_feasible(history)
    done = [trial for trial in several if trial.state == "complete" and kept[trial.number]]
    best = sorted(done, key=lambda trial: history.loss_of(trial.value or 0.0))[:_BEST_CURVES]
    stopped = [trial for trial in several if trial.state in ("stopped", "paused")][-_MOST_CURVES:]
    if not best and not stopped:
        return None
    figure = go.Figure()
    for trial in [*stopped, *reversed(best)]:
        is_best = trial.state == "complete"
        every = -(-len(trial.reports) // _MOST_STEPS)
        reports = trial.reports[::-every][::-1]  # always includes the last one
        figure.add_scatter(
            x=[report.step for report in reports],
            y=[report.value for report in reports],
            mode="markers+lines" if history.evidence == "folds" else "lines",
            line={"color": BLUE if is_best else GREY, "width": 2 if is_best else 1},
            opacity=0.9 if is_best else 0.5,
            name=f"the best {len(best)}" if is_best else "stopped or paused",
            legendgroup=str(is_best),
            showlegend=trial in (best[:1] + stopped[-1:]),
            text=hover(history, trial),
            hoverinfo="text+y",
        )
    last = max(trial.reports[-1].step for trial in [*stopped, *best])
    title = "fold" if history.evidence == "folds" else "step"
    limits = span_of_curves(history, best, stopped)
    return figure.update_layout(
        xaxis={"title": {"text": title}, **whole_ticks(last)},
        yaxis={"title": {"text": first_name(history, limits)}, "range": limits},
    )


def _predicted(trial: Trial) -> bool:
    return all(isinstance(trial.info.get(key), (int, float)) for key in ("mean", "sd"))


def coverage(history: History) -> tuple[int, int, int]:
    """How many complete trials had a prediction, and were within one and within two standard deviations of it."""
    trials = [history.trials[n] for n in history.complete if _predicted(history.trials[n])]
    off = np.array([abs((trial.value or 0.0) - trial.info["mean"]) for trial in trials])
    sd = np.array([trial.info["sd"] for trial in trials])
    return len(trials), int((off <= sd).sum()), int((off <= 2 * sd).sum())


def calibration(history: History) -> go.Figure | None:
    """The predictions of the sampler's model, with one standard deviation, and the results."""
    predicted = [trial for trial in valued(history) if _predicted(trial)]
    if not predicted:
        return None
    figure = go.Figure()
    mean = [float(trial.info["mean"]) for trial in predicted]
    figure.add_scatter(
        x=mean,
        y=[trial.value for trial in predicted],
        error_x={"array": [float(trial.info["sd"]) for trial in predicted], "color": GREY, "thickness": 1},
        mode="markers",
        marker={"color": BLUE},
        name="trials",
        text=[hover(history, trial) for trial in predicted],
        hoverinfo="text",
    )
    ends = [min(mean), max(mean)]
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": "black", "dash": "dot"}, name="as predicted")
    limits = span(history, predicted)
    return figure.update_layout(
        xaxis_title=f"predicted {first_name(history)}, with its sd",
        yaxis={"title": {"text": "observed" + ("<br>(far-off values cut)" if limits else "")}, "range": limits},
    )
