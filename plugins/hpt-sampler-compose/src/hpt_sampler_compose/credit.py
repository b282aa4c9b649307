"""Credit assignment: the mean credit of each part, and its share of the budget.

Notation: n judged trials in order of number; r_i the number of results better than result i; c_i in [0, 1] the credit
of trial i; w_i its weight; q_k the mean credit of part k; p_k its share.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History

__all__ = ["credit", "rank_credit", "shares"]


def rank_credit(losses: NDArray[np.float64], top: float) -> NDArray[np.float64]:
    """The credit of each trial, by rank, so that only the order of results matters.

    This is comparison-based credit (Fialho, Schoenauer and Sebag 2010, "Toward comparison-based adaptive operator
    selection", GECCO), where only the best ranks earn credit. With several objectives the rank is the number of trials
    that dominate a trial (Fonseca and Fleming 1993).

    Args:
        losses: Losses (n, m); a row with NaN has no result.
        top: Fraction of the trials, in (0, 1], that earn credit.

    Returns:
        c = max(0, 1 - r / (top n)), in [0, 1]; 0 without a result. (n,).
    """
    n = len(losses)
    found = np.zeros(n)
    have = ~np.isnan(losses).any(axis=1)
    rank = _ranks(losses[have])
    found[have] = np.maximum(0.0, 1.0 - rank / (top * n))
    return found


def _ranks(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    if losses.shape[1] == 1:
        return np.searchsorted(np.sort(losses[:, 0]), losses[:, 0], side="left").astype(float)
    if losses.shape[1] == 2:
        return _ranks_of_pairs(losses)
    counts = ((losses <= row).all(axis=1) & (losses < row).any(axis=1) for row in losses)
    return np.array([better.sum() for better in counts], dtype=float)


def _ranks_of_pairs(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The number of rows that dominate each row, in O(n log n) comparisons. (n,).

    In order of the first loss, then the second, a row is dominated by exactly the earlier, different rows whose second
    loss is not greater.
    """
    ranks = np.zeros(len(losses))
    seconds: list[float] = []
    before, rank = (np.nan, np.nan), 0
    for i in np.lexsort((losses[:, 1], losses[:, 0])).tolist():
        row = tuple(losses[i].tolist())
        if row != before:  # equal rows do not dominate each other
            before, rank = row, bisect_right(seconds, row[1])
        ranks[i] = rank
        insort(seconds, row[1])
    return ranks


def credit(history: History, owner: Sequence[int | None], count: int, top: float, half_life: float) -> list[float]:
    """The mean credit of each part.

    A complete trial has the credit of its rank, where infeasible trials rank behind all feasible ones (Deb 2000, "An
    efficient constraint handling method for genetic algorithms", section 3). A trial that failed or was stopped early
    has no credit; running trials do not count. Older trials weigh less, as in the discounted means of Garivier and
    Moulines (2011, "On upper-confidence bound policies for switching bandit problems", ALT, section 2), since results
    improve over a study whichever part suggests.

    Args:
        history: The history.
        owner: The part of each trial, None if it came from no part.
        count: Number of parts.
        top: See `rank_credit`.
        half_life: Number of later results after which a trial weighs half as much.

    Returns:
        The weighted mean credit of each part, in [0, 1]. One trial of average credit is added to each part, so that the
        mean of a part without recent trials returns to the average.
    """
    judged = np.sort(np.concatenate([history.complete, history.stopped, history.failed]))
    if not len(judged):
        return [0.0] * count
    losses = _infeasible_last(history.losses[judged], history.violation[judged])
    losses[~np.isin(judged, history.complete)] = np.nan
    gained = rank_credit(losses, top)
    weight = 0.5 ** (np.arange(len(judged))[::-1] / half_life)
    average = float(weight @ gained / weight.sum())
    by = np.array([-1 if owner[i] is None else owner[i] for i in judged])
    means = []
    for part in range(count):
        mine = by == part
        means.append(float((weight[mine] @ gained[mine] + average) / (weight[mine].sum() + 1.0)))
    return means


def _dense_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dense ranks of values (n,): the number of distinct values below each. (n,)."""
    return np.unique(values, return_inverse=True)[1].astype(np.float64)


def _infeasible_last(losses: NDArray[np.float64], violation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dense ranks of the losses per objective, with infeasible trials last, by violation; NaN if unknown. (n, m)."""
    places = np.column_stack([_dense_ranks(column) for column in losses.T])
    breaks = violation > 0.0
    places[breaks] = len(losses) + _dense_ranks(violation)[breaks, None]
    places[np.isnan(losses).any(axis=1) | np.isnan(violation)] = np.nan
    return places


def shares(means: Sequence[float], least: float) -> list[float]:
    """Probabilities of the parts, matched to their credit.

    Probability matching as in Thierens (2005, "An adaptive pursuit strategy for allocating operator probabilities",
    GECCO, section 2).

    Args:
        means: Mean credit of each part, >= 0.
        least: Fraction of the budget, in [0, 1], that is divided evenly.

    Returns:
        p_k = least / K + (1 - least) q_k / sum q; equal shares if no part has credit.
    """
    total, count = sum(means), len(means)
    return [least / count + (1.0 - least) * (mean / total if total else 1.0 / count) for mean in means]
