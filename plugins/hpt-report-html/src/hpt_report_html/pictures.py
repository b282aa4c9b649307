"""All figures of a study, made with plotly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hpt_report_html import parameter_figures, progress_figures
from hpt_report_html.hypervolume import hypervolume
from hpt_report_html.importance import of_each_objective
from hpt_report_html.subject import history_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from hpt_core import History, Study
    from hpt_report_html.importance import Importance

__all__ = ["drawn", "figures"]

_HEIGHT = 380


def figures(study: Study | History) -> dict[str, go.Figure]:
    """All figures that a study has data for, by title, in reading order.

    Args:
        study: The study, or its history, see `hpt_core.load_history`.

    Returns:
        Title -> figure of plotly; ``figures(study)["Optimisation history"].show()`` in a notebook.

    Raises:
        UsageError: If it is neither a study nor a history.
    """
    history = history_of(study)
    return drawn(history, of_each_objective(history))


def drawn(history: History, shares: Mapping[str, Mapping[str, Importance]]) -> dict[str, go.Figure]:
    """The result of `figures`, with the importances given."""
    names = parameter_figures.most_important(history, shares)
    found = {
        "Optimisation history": progress_figures.progress(history),
        "Pareto front": progress_figures.front(history),
        "Hypervolume": hypervolume(history),
        "Parameter importances": parameter_figures.importance(shares, names),
        "Each parameter": parameter_figures.slices(history, names),
        "Two most important parameters": parameter_figures.pair(history, shares),
        "Parallel coordinates": parameter_figures.parallel(history, names),
        "Folds" if history.evidence == "folds" else "Learning curves": progress_figures.curves(history),
        "Timeline": progress_figures.timeline(history),
        "Predicted and observed": progress_figures.calibration(history),
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
