"""The captions of the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpt_report_html.figure_style import failed
from hpt_report_html.parameter_figures import MOST_PARAMETERS
from hpt_report_html.progress_figures import MOST_BARS, coverage

if TYPE_CHECKING:
    from hpt_core import History

__all__ = ["caption"]

_SHOWS = {
    "Optimisation history": "The value of each trial, and the best so far.",
    "Pareto front": "Trials that no other trial dominates (as good in every objective and better in one).",
    "Hypervolume": "The share of a box that the front so far dominates. The box spans each objective from its best "
    "value to the value that 90 % of the trials reach.",
    "Each parameter": "The value against each parameter, on the parameter's scale. Earlier trials are fainter.",
    "Two most important parameters": "The value over the two most important parameters that vary together.",
    "Parallel coordinates": "One line per trial over the parameters; each axis spans the parameter's values.",
    "Learning curves": "The reports of the ten best trials; those of stopped and paused trials are grey.",
    "Folds": "The reports of the ten best trials; those of stopped and paused trials are grey.",
    "Timeline": "When each process evaluated which trial, from the start of the first one drawn.",
}


def caption(history: History, title: str) -> str:
    """One or two sentences about a figure.

    Args:
        history: The study.
        title: The figure's title, as `figures` returns it.
    """
    said = _SHOWS.get(title, "")
    if title in ("Optimisation history", "Each parameter", "Two most important parameters", "Parallel coordinates"):
        if len(history.objectives) > 1:
            said += f" The value is that of the first objective, {history.objectives[0]}."
        if history.constraints:
            said += " Trials that violate a constraint are grey."
    if title == "Optimisation history" and failed(history):
        said += " The crosses at the lower edge are trials that failed, which have no value."
    parameters = len(history.space.columns)
    if title in ("Parameter importances", "Each parameter", "Parallel coordinates") and parameters > MOST_PARAMETERS:
        said += f" Only {MOST_PARAMETERS} of {parameters} parameters are drawn, the most important ones if there are "
        said += "enough trials to tell; hpt importance lists all, and hpt export has their values."
    if title == "Timeline" and sum(len(trial.work) for trial in history.trials) > MOST_BARS:
        said += f" Only the last {MOST_BARS} bars are drawn."
    if title == "Predicted and observed":
        count, one, two = coverage(history)
        said = "The value that the sampler's model predicted for each trial before it ran, and the observed value: "
        said += f"{one} of {count} lie within one standard deviation (68 % if calibrated), {two} within two (95 %)."
    return said
