"""What the model learns from: one loss per point, made of results, early stops and failures.

- A trial that was stopped early, or is paused, has a value on a part of the evidence. It is moved by the
  median change that other trials saw from that step to their last one, and never believed to be a new best.
- A failed trial repels: it counts as the worst loss plus half the range.
- Several objectives become one by a random augmented Tchebycheff scalarisation (ParEGO: Knowles, IEEE Trans.
  Evol. Comp. 2006, eq. 2), over objectives that are warped and scaled to [0, 1] first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core import History, State, Trial
from hpt_sampler_bayes.kernel import FloatArray
from hpt_sampler_bayes.warp import half_rank

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.gp import BoolArray, IntArray

__all__ = ["Observations", "observe", "scalarise"]

_AUGMENTATION = 0.05  # rho of ParEGO
_LARGEST = 1e300  # losses and excesses beyond it would overflow when they are added or subtracted
_SAME = 1e-12  # of the largest loss of a curve: a recorded value so near to its end is its end
_COMPARED = 200  # trials whose curves say how losses change towards the end


@attrs.frozen(eq=False)
class Observations:
    """Points and losses, in an order that does not depend on the trials' numbers.

    Attributes:
        rows: Snapped full rows of trials that have a loss. (n, d)
        y: Their losses; of several objectives a scalarisation. (n,)
        failed: Rows of the failed trials. (F, d)
        pending: Rows of the trials that have not ended and have no evidence. (P, d)
        excess: How far each of ``rows`` is beyond each of the study's constraints, NaN where not known. (n, c)
        violation: What that adds up to: 0 where all are kept. (n,)
        losses: The losses of ``rows`` in each objective. (n, m)
    """

    rows: FloatArray
    y: FloatArray
    failed: FloatArray
    pending: FloatArray
    excess: FloatArray
    violation: FloatArray
    losses: FloatArray

    @property
    def keeping(self) -> BoolArray:
        """Which results keep all constraints; all, while it is not known of any. (n,)."""
        return np.asarray((self.violation == 0.0) | np.isnan(self.violation).all())


def observe(history: History, encoding: Encoding, rng: np.random.Generator) -> Observations:
    """Read ``history``; ``rng`` draws the weights of several objectives (and nothing for one)."""
    paused = np.array([i for i in history.pending if _has_evidence(history.trials[i])], dtype=np.intp)
    partial = np.concatenate([history.stopped, paused]).astype(np.intp)
    numbers = np.concatenate([history.complete, partial])
    losses = _bounded(history.losses[numbers])
    if len(history.objectives) > 1:
        with_value = np.isfinite(losses).all(axis=1)
        numbers, losses = numbers[with_value], losses[with_value]
        y = scalarise(losses, rng.dirichlet(np.ones(losses.shape[1]))) if len(losses) else np.empty(0)
    else:
        y = _bounded(np.concatenate([history.losses[history.complete, 0], _foreseen(history, partial)]))
    rows = encoding.fill(history.unit[numbers])
    order = np.lexsort((*rows.T, y))
    idle = np.setdiff1d(history.pending, numbers)
    return Observations(
        rows=rows[order],
        y=y[order],
        failed=_sorted(encoding.fill(history.unit[history.failed])),
        pending=_sorted(encoding.fill(history.unit[idle])),
        excess=_bounded(history.excess[numbers][order]),
        violation=history.violation[numbers][order],
        losses=losses[order],
    )


def scalarise(losses: FloatArray, weights: FloatArray) -> FloatArray:
    """Augmented Tchebycheff value of ``losses`` (n, m) under ``weights`` (m,) that sum to 1. (n,)."""
    warped = np.column_stack([half_rank(column).t for column in losses.T])
    low, high = warped.min(axis=0), warped.max(axis=0)
    unit = (warped - low) / np.where(high > low, high - low, 1.0)
    weighted = unit * weights
    return np.asarray(weighted.max(axis=1) + _AUGMENTATION * weighted.sum(axis=1))


def _bounded(losses: FloatArray) -> FloatArray:
    return np.clip(losses, -_LARGEST, _LARGEST)


def _sorted(rows: FloatArray) -> FloatArray:
    return rows[np.lexsort(rows.T)] if rows.size else rows


def _has_evidence(trial: Trial) -> bool:
    return trial.state is State.PAUSED and bool(trial.reports)


def _curve(history: History, number: int) -> tuple[FloatArray, FloatArray]:
    """Steps and losses that a trial reported, (k,) each; of folds, the means of the folds so far."""
    reports = np.array(history.curve(history.trials[number]), dtype=np.float64).reshape(-1, 2)
    steps, losses = reports[:, 0], _bounded(reports[:, 1])
    if history.evidence == "folds":
        losses = np.cumsum(losses) / np.arange(1, len(losses) + 1)
    return steps, losses


def _foreseen(history: History, partial: IntArray) -> FloatArray:
    """The final loss that each trial with partial evidence is believed to have had. (len(partial),)."""
    complete = history.complete
    if not len(partial):
        return np.empty(0)
    best = float(history.losses[complete, 0].min()) if len(complete) else -np.inf
    others = _spread_out(np.concatenate([complete, partial]), history.losses[:, 0])
    compared = [_curve(history, number) for number in others]
    curves = [_curve(history, number) for number in partial]
    shifts = {last: _shift(compared, last) for last in {steps[-1] for steps, _ in curves if len(steps)}}
    foreseen = np.empty(len(partial))
    for k, (number, (steps, losses)) in enumerate(zip(partial, curves, strict=True)):
        recorded = history.losses[number, 0]
        if len(steps) and (np.isnan(recorded) or abs(recorded - losses[-1]) <= _SAME * np.abs(losses).max()):
            recorded = losses[-1] + shifts[steps[-1]]
        foreseen[k] = max(recorded, best)  # a rule that gave a value of its own has foreseen it already
    return foreseen


def _spread_out(numbers: IntArray, losses: FloatArray) -> IntArray:
    """At most so many of the trials that comparing with them stays cheap, from the best to the worst."""
    ranked = numbers[np.lexsort((numbers, losses[numbers]))]
    if len(ranked) <= _COMPARED:
        return ranked
    return ranked[np.linspace(0, len(ranked) - 1, _COMPARED).astype(np.intp)]


def _shift(curves: list[tuple[FloatArray, FloatArray]], step: float) -> float:
    """The median change from ``step`` to the last report, over the trials that went on; 0 without any."""
    changes = [
        float(losses[-1] - losses[np.searchsorted(steps, step, side="right") - 1])
        for steps, losses in curves
        if len(steps) and steps[-1] > step >= steps[0]
    ]
    return float(np.median(changes)) if changes else 0.0
