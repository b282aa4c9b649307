"""Pictures of a study, as figures of plotly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hpt_report_html import course, matters
from hpt_report_html.importance import of_each_objective

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from hpt_core import History
    from hpt_report_html.importance import Importance

__all__ = ["drawn", "figures"]

_HEIGHT = 380


def figures(history: History) -> dict[str, go.Figure]:
    """All pictures that a study gives, by title, in the order in which one looks at them.

    Args:
        history: The study, see `hpt_core.load_history`.

    Returns:
        Title -> figure of plotly; ``figures(history)["Optimisation history"].show()`` in a notebook.
    """
    return drawn(history, of_each_objective(history))


def drawn(history: History, shares: Mapping[str, Mapping[str, Importance]]) -> dict[str, go.Figure]:
    """What `figures` gives, the importances being known."""
    found = {
        "Optimisation history": course.progress(history),
        "Pareto front": course.front(history),
        "Parameter importances": matters.importance(shares),
        "Each parameter": matters.slices(history),
        "The two that matter most": matters.pair(history, shares),
        "Parallel coordinates": matters.parallel(history),
        "Folds" if history.evidence == "folds" else "Learning curves": course.curves(history),
        "Timeline": course.timeline(history),
        "Predicted and found": course.calibration(history),
    }
    return {title: _finished(figure) for title, figure in found.items() if figure is not None}


def _finished(figure: go.Figure) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        height=figure.layout.height or _HEIGHT,
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    return figure
