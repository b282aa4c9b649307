"""Which trials satisfy the constraints, and which values the axis of a figure shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Trial

__all__ = ["is_feasible", "span", "span_of_curves"]

_FENCE = 10.0  # beyond the third quartile, in interquartile ranges
_FENCE_OF_CURVES = 3.0  # the same; the range is about that between the best and the worst report of a curve


def is_feasible(history: History) -> NDArray[np.bool_]:
    """Whether each trial is known to satisfy every constraint, (n,)."""
    return np.asarray((history.excess <= 0.0).all(axis=1))


def span(history: History, trials: Iterable[Trial]) -> list[float] | None:
    """The range of an axis of the first objective, such that a diverged trial does not flatten the others.

    Complete trials decide what is far off: the values of stopped trials are those of an early step.

    Args:
        history: The study.
        trials: Those in the figure; those without a value are ignored.

    Returns:
        Two values, the lower first; None where no value lies far off on the bad side: the axis may show all.
    """
    known = [trial for trial in trials if trial.value is not None]
    losses = np.array([history.loss_of(trial.value or 0.0) for trial in known])
    complete = np.array([trial.state == "complete" for trial in known], dtype=bool)
    return _range(history, losses, losses[complete], _FENCE)


def span_of_curves(history: History, best: Sequence[Trial], others: Sequence[Trial]) -> list[float] | None:
    """The result of `span` for the reports of trials. The best trials, if there are any, decide what is far off.

    They do so by the best and the worst report of each: most reports of a curve that levels off are alike, and far from
    its beginning.
    """
    own, more = (
        [[history.loss_of(report.value) for report in trial.reports] for trial in trials] for trials in (best, others)
    )
    extremes = [loss for curve in own or more for loss in (min(curve), max(curve))]
    losses = np.array([loss for curve in own + more for loss in curve])
    return _range(history, losses, np.array(extremes), _FENCE_OF_CURVES)


def _range(
    history: History, losses: NDArray[np.float64], typical: NDArray[np.float64], ranges: float
) -> list[float] | None:
    """The range of an axis for all losses but those far beyond the typical ones; if these are none, all are typical."""
    if not len(losses):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        first, third = np.quantile(typical if len(typical) else losses, (0.25, 0.75))
        fence = third + ranges * (third - first)
    if first == third or not losses.max() > fence:
        return None
    low, high = float(losses.min()), float(losses[losses <= fence].max())
    pad = 0.05 * (high - low)
    return sorted([history.value_of(low - pad), history.value_of(high + pad)])
