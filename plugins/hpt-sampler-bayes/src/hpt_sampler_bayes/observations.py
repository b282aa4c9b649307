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
    from hpt_sampler_bayes.gp import IntArray

__all__ = ["Observations", "observe", "scalarise"]

_AUGMENTATION = 0.05  # rho of ParEGO


@attrs.frozen(eq=False)
class Observations:
    """Points and losses, in an order that does not depend on the trials' numbers.

    Attributes:
        rows: Snapped full rows of trials that have a loss. (n, d)
        y: Their losses. (n,)
        failed: Rows of the failed trials. (F, d)
        pending: Rows of the trials that have not ended and have no evidence. (P, d)
    """

    rows: FloatArray
    y: FloatArray
    failed: FloatArray
    pending: FloatArray


def observe(history: History, encoding: Encoding, rng: np.random.Generator) -> Observations:
    """Read ``history``; ``rng`` draws the weights of several objectives (and nothing for one)."""
    paused = np.array([i for i in history.pending if _has_evidence(history.trials[i])], dtype=np.intp)
    partial = np.concatenate([history.stopped, paused]).astype(np.intp)
    numbers = np.concatenate([history.complete, partial])
    losses = history.losses[numbers]
    if len(history.objectives) > 1:
        with_value = np.isfinite(losses).all(axis=1)
        numbers, losses = numbers[with_value], losses[with_value]
        y = scalarise(losses, rng.dirichlet(np.ones(losses.shape[1]))) if len(losses) else np.empty(0)
    else:
        y = np.concatenate([history.losses[history.complete, 0], _foreseen(history, partial)])
    rows = encoding.fill(history.unit[numbers])
    order = np.lexsort((*rows.T, y))
    idle = np.setdiff1d(history.pending, numbers)
    return Observations(
        rows=rows[order],
        y=y[order],
        failed=_sorted(encoding.fill(history.unit[history.failed])),
        pending=_sorted(encoding.fill(history.unit[idle])),
    )


def scalarise(losses: FloatArray, weights: FloatArray) -> FloatArray:
    """Augmented Tchebycheff value of ``losses`` (n, m) under ``weights`` (m,) that sum to 1. (n,)."""
    warped = np.column_stack([half_rank(column).t for column in losses.T])
    low, high = warped.min(axis=0), warped.max(axis=0)
    unit = (warped - low) / np.where(high > low, high - low, 1.0)
    weighted = unit * weights
    return np.asarray(weighted.max(axis=1) + _AUGMENTATION * weighted.sum(axis=1))


def _sorted(rows: FloatArray) -> FloatArray:
    return rows[np.lexsort(rows.T)] if rows.size else rows


def _has_evidence(trial: Trial) -> bool:
    return trial.state is State.PAUSED and bool(trial.reports)


def _curves(history: History, trials: IntArray) -> dict[int, tuple[FloatArray, FloatArray]]:
    """Steps and losses of each trial that reported; of folds, the mean of the folds so far."""
    curves = {}
    for number in trials:
        reports = history.curve(history.trials[number])
        if reports:
            steps, losses = (np.array(column, dtype=np.float64) for column in zip(*reports, strict=True))
            if history.evidence == "folds":
                losses = np.cumsum(losses) / np.arange(1, len(losses) + 1)
            curves[int(number)] = (steps, losses)
    return curves


def _foreseen(history: History, partial: IntArray) -> FloatArray:
    """The final loss that each trial with partial evidence is believed to have had. (len(partial),)."""
    if not len(partial):
        return np.empty(0)
    complete = history.complete
    curves = _curves(history, np.concatenate([complete, partial]))
    best = float(history.losses[complete, 0].min()) if len(complete) else -np.inf
    foreseen = np.empty(len(partial))
    shifts: dict[float, float] = {}
    for k, number in enumerate(partial):
        recorded = float(history.losses[number, 0])
        if int(number) not in curves:
            foreseen[k] = max(recorded, best)
            continue
        steps, losses = curves[int(number)]
        last = float(steps[-1])
        if last not in shifts:
            shifts[last] = _shift(curves, last)
        value = recorded if np.isfinite(recorded) else float(losses[-1])
        foreseen[k] = max(value + shifts[last], best)
    return foreseen


def _shift(curves: dict[int, tuple[FloatArray, FloatArray]], step: float) -> float:
    """The median change from ``step`` to the last report, over the trials that went on; 0 without any."""
    changes = []
    for steps, losses in curves.values():
        if steps[-1] > step >= steps[0]:
            changes.append(float(losses[-1] - losses[np.searchsorted(steps, step, side="right") - 1]))
    return float(np.median(changes)) if changes else 0.0
