"""Which of two samplers is to suggest the next trial, by what the log says of the study so far.

Nothing here looks at the clock: how long a suggestion takes depends on how many results there are, so the choice does,
and a study with the same seed has the same trials on any machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History

__all__ = ["Choice", "choose", "concordance", "distinct"]

_MANY = 1000  # results from which on a model of all of them takes longer than it is worth
_FEW = 12  # results before which there is no evidence
_TIED = 0.5  # share of distinct values in the better half below which it is ties that decide
_LATEST = 30  # predictions that are compared with what came of them
_SKILL = 0.55  # pairs of them in the right order, of all pairs: a coin has 0.5


@attrs.frozen
class Choice:
    """Who suggests, and why, in words."""

    model: bool
    why: str


def choose(history: History) -> Choice:
    """Choose between a model and a sampler that costs next to nothing."""
    results = len(history.complete) + len(history.stopped)
    if results >= _MANY:
        return Choice(False, f"{_MANY} results or more: a model of them is slow")
    if len(history.objectives) > 1 or len(history.complete) < _FEW:
        return Choice(True, "the model is the better one unless results speak against it")
    doubt = _doubt(history)
    if not doubt:
        return Choice(True, "its predictions hold")
    return Choice(history.next_number % 4 < 2, f"in turn: {doubt}")  # two and two: the model may take turns itself


def _doubt(history: History) -> str:
    """What speaks against the model; empty where nothing does."""
    share = distinct(history.losses[history.complete, 0])
    if share < _TIED:
        return f"of the better half of the results {share:.0%} are distinct"
    right = concordance(history)
    if right is not None and right < _SKILL:
        return f"{right:.0%} of the latest results came in the order predicted"
    return ""


def distinct(losses: NDArray[np.float64]) -> float:
    """The share of distinct values in the better half of ``losses`` (n,), n >= 1."""
    better = np.sort(losses)[: (len(losses) + 1) // 2]
    return len(np.unique(better)) / len(better)


def concordance(history: History) -> float | None:
    """Which part of the pairs of the latest results came in the order that was predicted before (Kendall 1938).

    The prediction of a trial is ``info["mean"]``, which is in the log since it was suggested. Ties do not count.

    Returns:
        In [0, 1]; None with fewer than twelve predictions.
    """
    told = [(n, history.trials[n].info.get("mean")) for n in history.complete]
    pairs = [(float(mean), n) for n, mean in told if isinstance(mean, (int, float))][-_LATEST:]
    if len(pairs) < _FEW:
        return None
    predicted = np.array([history.loss_of(mean) for mean, _ in pairs])
    losses = history.losses[[n for _, n in pairs], 0]
    order = np.sign(predicted[:, None] - predicted) * np.sign(losses[:, None] - losses)
    right, wrong = int((order > 0).sum()), int((order < 0).sum())
    return right / (right + wrong) if right + wrong else None
