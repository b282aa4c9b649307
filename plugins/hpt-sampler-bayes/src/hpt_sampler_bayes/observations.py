"""The training data of the model: one loss per point, from results, early-stopped trials and failures.

- A trial that was stopped early, or is paused, has a loss based on part of the evidence. It is extrapolated by the
  median change of the other trials from that step to their last one, but never to a new best.
- A failed trial repels: its loss is the worst one plus half the range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core import History, State, Trial
from hpt_sampler_bayes.kernel import FloatArray

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.gp import BoolArray, IntArray

__all__ = ["Observations", "observe"]

_LARGEST = 1e300  # losses and excesses are clipped to it, as larger ones could overflow in sums
_SAME = 1e-12  # relative tolerance within which a recorded value is the last one of its curve
_MAX_CURVES = 200  # trials whose curves are used to extrapolate


@attrs.frozen(eq=False)
class Observations:
    """Points and losses, in an order that does not depend on the trial numbers.

    Attributes:
        rows: Snapped full rows of trials that have a loss. (n, d)
        y: Their losses in the first objective. (n,)
        failed: Rows of the failed trials. (F, d)
        pending: Rows of the trials that have not ended and have no evidence. (P, d)
        excess: How far each of ``rows`` is beyond each of the study's constraints, NaN if not known. (n, c)
        violation: Total violation of the constraints, 0 if all are met. (n,)
        losses: Losses of ``rows`` in each objective. (n, m)
    """

    rows: FloatArray
    y: FloatArray
    failed: FloatArray
    pending: FloatArray
    excess: FloatArray
    violation: FloatArray
    losses: FloatArray

    @property
    def feasible(self) -> BoolArray:
        """Which results meet all constraints; all of them if no violation is known. (n,)."""
        return np.asarray((self.violation == 0.0) | np.isnan(self.violation).all())


def observe(history: History, encoding: Encoding) -> Observations:
    """Extract the observations."""
    several = len(history.objectives) > 1  # a paused trial then has no values
    paused = [] if several else [i for i in history.pending if _has_evidence(history.trials[i])]
    partial = np.concatenate([history.stopped, paused]).astype(np.intp)
    numbers = np.concatenate([history.complete, partial])
    losses = _clipped(history.losses[numbers])
    y = losses[:, 0].copy()
    if not several:
        y[len(history.complete) :] = _clipped(_extrapolated(history, partial))
    rows = encoding.fill(history.unit[numbers])
    order = np.lexsort((*losses.T[1:], *rows.T, y))
    idle = np.setdiff1d(history.pending, numbers)
    return Observations(
        rows=rows[order],
        y=y[order],
        failed=_sorted(encoding.fill(history.unit[history.failed])),
        pending=_sorted(encoding.fill(history.unit[idle])),
        excess=_clipped(history.excess[numbers][order]),
        violation=history.violation[numbers][order],
        losses=losses[order],
    )


def _clipped(losses: FloatArray) -> FloatArray:
    return np.clip(losses, -_LARGEST, _LARGEST)


def _sorted(rows: FloatArray) -> FloatArray:
    return rows[np.lexsort(rows.T)] if rows.size else rows


def _has_evidence(trial: Trial) -> bool:
    return trial.state is State.PAUSED and bool(trial.reports)


def _curve(history: History, number: int) -> tuple[FloatArray, FloatArray]:
    """Steps and losses that a trial reported, (k,) each; for folds, the running means."""
    reports = np.array(history.curve(history.trials[number]), dtype=np.float64).reshape(-1, 2)
    steps, losses = reports[:, 0], _clipped(reports[:, 1])
    if history.evidence == "folds":
        losses = np.cumsum(losses) / np.arange(1, len(losses) + 1)
    return steps, losses


def _extrapolated(history: History, partial: IntArray) -> FloatArray:
    """Extrapolated final losses of the trials with partial evidence. (len(partial),)."""
    complete = history.complete
    if not len(partial):
        return np.empty(0)
    best = float(history.losses[complete, 0].min()) if len(complete) else -np.inf
    others = _subsample(np.concatenate([complete, partial]), history.losses[:, 0])
    compared = [_curve(history, number) for number in others]
    curves = [_curve(history, number) for number in partial]
    changes = {last: _median_change(compared, last) for last in {steps[-1] for steps, _ in curves if len(steps)}}
    extrapolated = np.empty(len(partial))
    for k, (number, (steps, losses)) in enumerate(zip(partial, curves, strict=True)):
        recorded = history.losses[number, 0]
        if len(steps) and (np.isnan(recorded) or abs(recorded - losses[-1]) <= _SAME * np.abs(losses).max()):
            recorded = losses[-1] + changes[steps[-1]]
        extrapolated[k] = max(recorded, best)  # a value set by a stopping rule is already an extrapolation
    return extrapolated


def _subsample(numbers: IntArray, losses: FloatArray) -> IntArray:
    """At most `_MAX_CURVES` of the trials, evenly spread from the best to the worst."""
    ranked = numbers[np.lexsort((numbers, losses[numbers]))]
    if len(ranked) <= _MAX_CURVES:
        return ranked
    return ranked[np.linspace(0, len(ranked) - 1, _MAX_CURVES).astype(np.intp)]


def _median_change(curves: list[tuple[FloatArray, FloatArray]], step: float) -> float:
    """The median change from ``step`` to the last report, over the trials that went further; 0 if none did."""
    changes = [
        float(losses[-1] - losses[np.searchsorted(steps, step, side="right") - 1])
        for steps, losses in curves
        if len(steps) and steps[-1] > step >= steps[0]
    ]
    return float(np.median(changes)) if changes else 0.0
