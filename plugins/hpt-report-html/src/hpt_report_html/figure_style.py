"""Colours, labels and trials, as all figures use them."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from hpt_report_html.downsample import thinned

if TYPE_CHECKING:
    from hpt_core import Failure, History, Trial

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "OF_STATE",
    "ORANGE",
    "PURPLE",
    "RED",
    "SCALE",
    "failed",
    "first_name",
    "hover",
    "label",
    "safe",
    "shown",
    "valued",
    "whole_ticks",
]

# Okabe & Ito, Color Universal Design: distinguishable with any kind of colour vision
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#999999"
OF_STATE = {
    "complete": BLUE, "stopped": ORANGE, "failed": RED, "paused": PURPLE, "running": GREEN, "waiting": GREY,
}  # fmt: skip
SCALE = "Cividis"
_LABEL = 24  # characters of a name beside an axis
_FACT = 80  # characters of a parameter in a text that appears; a choice may be a whole prompt
_FACTS = 30  # parameters in that text
_FEW = 10  # whole numbers on an axis, each of which gets a tick


def safe(text: object) -> str:
    """A name for plotly, which reads text as a kind of HTML but does not decode ``&quot;``."""
    return html.escape(str(text), quote=False)


def label(text: object, most: int = _LABEL) -> str:
    """A name beside an axis, shortened in the middle: a long one would leave no room for the figure.

    Both ends are kept, as names of nested parameters and import paths differ in either.
    """
    full, head = str(text), (most - 1) // 2
    return safe(full if len(full) <= most else f"{full[:head]}\u2026{full[head + 1 - most :]}")


def whole_ticks(distance: float) -> dict[str, Any]:
    """Settings of an axis of whole numbers over this distance: with few of them, plotly would put ticks in between."""
    return {"dtick": 1} if distance <= _FEW else {}


def hover(history: History, trial: Trial) -> str:
    """The text that appears when the pointer rests on a trial."""
    values = () if trial.values is None else zip(history.objectives, trial.values, strict=True)
    facts = [f"trial {trial.number}: {trial.state}"]
    facts += [safe(f"{name} = {value:.6g}") for name, value in values]
    params = [label(f"{name} = {shown(value)}", _FACT) for name, value in trial.params.items()]
    facts += params if len(params) <= _FACTS else [*params[:_FACTS], f"and {len(params) - _FACTS} more parameters"]
    return "<br>".join(facts)


def shown(value: object) -> str:
    """A value as text."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def failed(history: History) -> list[tuple[Trial, Failure]]:
    """The valid failed trials, and why they failed."""
    return [(trial, trial.failure) for trial in history.trials if trial.failure is not None and trial.invalid is None]


def valued(history: History) -> list[Trial]:
    """The valid complete trials, thinned."""
    numbers = [int(number) for number in history.complete]
    return [history.trials[number] for number in thinned(numbers, history.losses[numbers, 0])]


def first_name(history: History, cut: object = None) -> str:
    """The first objective's name, with a remark if the axis leaves values out."""
    return label(history.objectives[0]) + ("<br>(far-off values cut)" if cut else "")
