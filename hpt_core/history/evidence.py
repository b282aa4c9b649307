"""Aggregates a trial's reports: the last one of a *curve*, the mean of *folds*."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpt_core.history.trial import Report

__all__ = ["estimate", "measured"]


def estimate(kind: str, reports: Sequence[Report], others: Sequence[str]) -> tuple[float, ...] | None:
    """Estimate a trial's values from its reports.

    Args:
        kind: ``curve`` or ``folds``.
        reports: The reports.
        others: The objectives after the first, which are among the metrics.

    Returns:
        One value per objective; None if the reports lack one of them.
    """
    if not reports:
        return None
    found = measured(kind, reports, others)
    if len(found) < len(others):
        return None
    return (_aggregate(kind, [report.value for report in reports]), *(found[name] for name in others))


def measured(kind: str, reports: Sequence[Report], names: Collection[str]) -> dict[str, float]:
    """Aggregate those of the metrics ``names`` that every report has."""
    columns = {name: [report.metrics[name] for report in reports if name in report.metrics] for name in names}
    return {name: _aggregate(kind, column) for name, column in columns.items() if len(column) == len(reports)}


def _aggregate(kind: str, column: Sequence[float]) -> float:
    return sum(column) / len(column) if kind == "folds" else column[-1]
