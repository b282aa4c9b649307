"""What a trial's reports add up to: the last one of a *curve*, the mean of *folds*."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpt_core.trial import Report

__all__ = ["estimate", "measured"]


def estimate(kind: str, reports: Sequence[Report], others: Sequence[str]) -> tuple[float, ...] | None:
    """A trial's values by its reports.

    Args:
        kind: ``curve`` or ``folds``.
        reports: The reports.
        others: The objectives behind the first; they are among the metrics.

    Returns:
        One per objective; None where the reports do not tell all of them.
    """
    if not reports:
        return None
    found = measured(kind, reports, others)
    if len(found) < len(others):
        return None
    return (_summed_up(kind, [report.value for report in reports]), *(found[name] for name in others))


def measured(kind: str, reports: Sequence[Report], names: Collection[str]) -> dict[str, float]:
    """Those of ``names`` that each report has among its metrics, summed up likewise."""
    columns = {name: [report.metrics[name] for report in reports if name in report.metrics] for name in names}
    return {name: _summed_up(kind, column) for name, column in columns.items() if len(column) == len(reports)}


def _summed_up(kind: str, column: Sequence[float]) -> float:
    return sum(column) / len(column) if kind == "folds" else column[-1]
