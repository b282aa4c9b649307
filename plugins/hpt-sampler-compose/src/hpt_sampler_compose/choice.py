"""The choice between two samplers for the next trial, by the results so far.

The choice does not depend on the clock. The cost of a suggestion is judged by the number of results, so a study with
the same seed has the same trials on any machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History

__all__ = ["Choice", "choose", "concordance", "distinct"]

_MANY = 1000  # results from which on the model costs more time than it is worth
_FEW = 12  # results below which there is too little evidence
_TIED = 0.5  # share of distinct values in the better half below which there are too many ties
_LATEST = 30  # number of predictions that are compared with their results
_SKILL = 0.55  # share of pairs predicted in the right order below which the model has no skill; chance is 0.5


@attrs.frozen
class Choice:
    """Whether the model suggests, and the reason in words."""

    model: bool
    why: str


def choose(history: History) -> Choice:
    """Choose between the model and the cheap sampler."""
    results = len(history.complete) + len(history.stopped)
    if results >= _MANY:
        return Choice(False, f"with {_MANY} results or more the model is slow")
    if len(history.objectives) > 1 or len(history.complete) < _FEW:
        return Choice(True, "no evidence against the model")
    doubt = _doubt(history)
    if not doubt:
        return Choice(True, "its predictions agree with the results")
    return Choice(history.next_number % 4 < 2, f"in turn: {doubt}")  # two each, as the model may alternate itself


def _doubt(history: History) -> str:
    """The evidence against the model, in words; empty if there is none."""
    share = distinct(history.losses[history.complete, 0])
    if share < _TIED:
        return f"only {share:.0%} of the better half of the results are distinct"
    right = concordance(history)
    if right is not None and right < _SKILL:
        return f"only {right:.0%} of the pairs of latest results came in the predicted order"
    return ""


def distinct(losses: NDArray[np.float64]) -> float:
    """The share of distinct values in the better half of ``losses`` (n,), n >= 1."""
    better = np.sort(losses)[: (len(losses) + 1) // 2]
    return len(np.unique(better)) / len(better)


def concordance(history: History) -> float | None:
    """The share of the pairs of latest results that came in the predicted order (Kendall 1938).

    The prediction of a trial is ``info["mean"]``, which was logged with the suggestion. Ties do not count.

    Returns:
        A share in [0, 1]; None with fewer than twelve predictions.
    """
    recorded = [(n, history.trials[n].info.get("mean")) for n in history.complete]
    pairs = [(float(mean), n) for n, mean in recorded if isinstance(mean, (int, float))][-_LATEST:]
    if len(pairs) < _FEW:
        return None
    predicted = np.array([history.loss_of(mean) for mean, _ in pairs])
    losses = history.losses[[n for _, n in pairs], 0]
    order = np.sign(predicted[:, None] - predicted) * np.sign(losses[:, None] - losses)
    right, wrong = int((order > 0).sum()), int((order < 0).sum())
    return right / (right + wrong) if right + wrong else None
