"""Pictures of a study, as figures of plotly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hpt_report_html import course, matters

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from hpt_core import History

__all__ = ["figures"]

_HEIGHT = 380


def figures(history: History) -> dict[str, go.Figure]:
    """All pictures that a study gives, by title, in the order in which one looks at them.

    Args:
        history: The study, see `hpt_core.load_history`.

    Returns:
        Title -> figure of plotly; ``figures(history)["Optimisation history"].show()`` in a notebook.
    """
    made: dict[str, Callable[[History], go.Figure | None]] = {
        "Optimisation history": course.progress,
        "Pareto front": course.front,
        "Parameter importances": matters.importance,
        "Each parameter": matters.slices,
        "The two that matter most": matters.pair,
        "Parallel coordinates": matters.parallel,
        "Folds" if history.evidence == "folds" else "Learning curves": course.curves,
        "Timeline": course.timeline,
        "Predicted and found": course.calibration,
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
