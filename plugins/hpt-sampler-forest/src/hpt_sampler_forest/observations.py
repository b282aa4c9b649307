"""The training data of the forest: one value per trial, robust against scale and outliers.

- In the worse half, losses become normal scores of their ranks; in the better half, they keep their proportions.
- Infeasible trials are worse than all feasible ones, by up to half the range of these, in order of violation.
- A failed trial is worse than the worst result by half the range.
- A trial that was stopped early, or is paused, has its last loss (for folds, the running mean), but is no better than
  the median result.
- Several objectives become one by a random augmented Tchebycheff scalarisation of their ranks (Knowles, ParEGO, IEEE
  Trans. Evol. Comp. 2006).
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from hpt_core import History, State
from hpt_sampler_forest.model import FloatArray

__all__ = ["Observations", "half_rank", "observe"]

_AUGMENTATION = 0.05  # rho of ParEGO
_LARGEST = 1e150  # losses are clipped to it, as sums and squares of larger ones overflow


@attrs.frozen(eq=False)
class Observations:
    """Trials to learn from.

    Attributes:
        numbers: Numbers of the trials with evidence, followed by failed ones. (n,)
        y: Their values. (n,)
        results: Number of trials with evidence.
        pending: Numbers of the trials that have no evidence yet. (P,)
    """

    numbers: NDArray[np.intp]
    y: FloatArray
    results: int
    pending: NDArray[np.intp]


def observe(history: History, rng: np.random.Generator) -> Observations:
    """Extract the observations; ``rng`` draws the weights of several objectives."""
    complete, losses = history.complete, history.losses
    paused = [n for n in history.pending if history.trials[n].state is State.PAUSED and history.trials[n].reports]
    partial = np.array([*history.stopped, *paused], dtype=np.intp)
    if len(history.objectives) > 1:
        partial = partial[:0]
        order = (rankdata(losses[complete], axis=0) - 1.0) / max(len(complete) - 1, 1)  # ties share a rank
        weighted = order * rng.dirichlet(np.ones(losses.shape[1]))
        raw = weighted.max(axis=1, initial=0.0) + _AUGMENTATION * weighted.sum(axis=1)
    else:
        values = _clipped(losses[complete, 0])
        middle = float(np.median(values)) if len(values) else -_LARGEST
        last = [max(middle, _last_loss(history, int(n))) for n in partial]
        raw = np.concatenate([values, last])
    numbers = np.concatenate([complete, partial])
    y = _rank_infeasible_last(raw, history.violation[numbers] if history.constraints else np.zeros(len(numbers)))
    worst = y.max() + 0.5 * (y.max() - y.min()) if len(y) else 0.0
    failed = history.failed
    return Observations(
        np.concatenate([numbers, failed]),
        np.concatenate([y, np.full(len(failed), worst)]),
        len(numbers),
        np.setdiff1d(history.pending, numbers),
    )


def _rank_infeasible_last(losses: FloatArray, violation: FloatArray) -> FloatArray:
    """Half-rank losses of feasible trials, followed by infeasible ones in order of violation. (n,)."""
    breaks = violation > 0.0  # an unknown violation, as of a stopped trial, counts as none
    y = np.empty(len(losses))
    y[~breaks] = half_rank(losses[~breaks])
    if breaks.any():
        kept = y[~breaks] if not breaks.all() else np.zeros(1)
        place = np.unique(violation[breaks], return_inverse=True)[1] + 1
        y[breaks] = kept.max() + 0.5 * (np.ptp(kept) or 1.0) * place / place.max()
    return y


def half_rank(losses: FloatArray) -> FloatArray:
    """The half-rank warp of losses (n,): the better half in proportion, the worse half without outliers. (n,).

    The worse half becomes half-normal scores of its ranks, scaled by the better half (Vizier: Song et al., arXiv
    2408.11527).
    """
    if not len(losses):
        return losses
    median = np.median(losses)
    better = losses <= median
    scale = float(np.sqrt(np.mean((losses[better] - median) ** 2))) or 1.0
    unique, place = np.unique(losses, return_inverse=True)
    quantile = 0.5 + 0.5 * (place - place[better].max()) / (len(unique) - place[better].max())
    return np.asarray(np.where(better, (losses - median) / scale, ndtri(np.clip(quantile, 0.5, 1.0 - 1e-12))))


def _last_loss(history: History, number: int) -> float:
    """The last loss that a trial reported (for folds, the running mean); its value if it reported none."""
    losses = _clipped([loss for _, loss in history.curve(history.trials[number])] or history.losses[number, :1])
    return float(np.mean(losses) if history.evidence == "folds" else losses[-1])


def _clipped(losses: ArrayLike) -> FloatArray:
    return np.clip(losses, -_LARGEST, _LARGEST)
