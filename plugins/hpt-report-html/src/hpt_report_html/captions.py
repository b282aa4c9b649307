"""The captions of the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpt_report_html.progress_figures import coverage

if TYPE_CHECKING:
    from hpt_core import History

__all__ = ["caption"]

_SHOWS = {
    "Optimisation history": "The value of each trial, and the best so far.",
    "Pareto front": "What is on the front no other trial beats in every objective.",
    "Each parameter": "The value by each parameter on its own scale; the later a trial, the darker its point.",
    "The two that matter most": "The value over the two most important parameters that vary together.",
    "Parallel coordinates": "A line for each trial over all parameters, each from its lowest to its highest.",
    "Learning curves": "What the ten best trials reported, and in grey those that were stopped or are paused.",
    "Folds": "What the ten best trials reported, and in grey those that were stopped or are paused.",
    "Timeline": "Which process was at which trial, from the beginning of the first.",
}


def caption(history: History, title: str) -> str:
    """One sentence or two on a picture.

    Args:
        history: The study.
        title: The picture's, as `figures` has it.
    """
    said = _SHOWS.get(title, "")
    if title in ("Optimisation history", "Each parameter", "The two that matter most", "Parallel coordinates"):
        if len(history.objectives) > 1:
            said += f" Of several objectives it is {history.objectives[0]} that counts here."
        if history.constraints:
            said += " What breaks a constraint is grey."
    if title == "Predicted and found":
        count, one, two = coverage(history)
        said = "What the sampler's model had said of each trial before it ran, and what came: "
        said += (
            f"within one standard deviation {one} of {count} (of a normal distribution 68 %), within two {two} (95 %)."
        )
    return said
