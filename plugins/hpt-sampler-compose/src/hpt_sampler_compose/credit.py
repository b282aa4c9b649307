"""How well each part has done, and the share of the budget that it gets for it.

Notation: n judged trials in order of number; r_i the count of results better than result i; c_i in [0, 1] the credit of
trial i; w_i its weight; q_k the mean credit of part k; p_k its share.
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

    As in comparison-based credit (Fialho, Schoenauer and Sebag 2010, "Toward comparison-based adaptive operator
    selection", GECCO), where the best ranks count and the others get nothing. With several objectives the rank is
    the count of trials that dominate (Fonseca and Fleming 1993).

    Args:
        losses: (n, m); NaN rows have no result.
        top: Fraction of the trials, in (0, 1], that get credit.

    Returns:
        (n,), in [0, 1]: c = max(0, 1 - r / (top n)); 0 without a result.
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
    """How many rows dominate each, (n,), without comparing all with all.

    In the order of the first loss, then the second, who dominates a row stands before it, with no greater second one.
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

    A complete trial has the credit of its rank, where one that breaks the study's constraints comes behind all that
    keep them (Deb 2000, "An efficient constraint handling method for genetic algorithms", section 3); one that failed
    or was stopped early has none, running ones do not count. Older trials weigh less, as in the discounted means of
    Garivier and Moulines (2011, "On upper-confidence bound policies for switching bandit problems", ALT, section 2):
    results get better as a study goes on, whoever is at work.

    Args:
        history: The history.
        owner: Per trial its part, None for a trial of nobody.
        count: How many parts there are.
        top: See `rank_credit`.
        half_life: A trial weighs half as much for every so many later results.

    Returns:
        Per part, in [0, 1]: its weighted mean, where one trial of average credit is added, so that a part that was not
        asked for long is believed average again.
    """
    judged = np.sort(np.concatenate([history.complete, history.stopped, history.failed]))
    if not len(judged):
        return [0.0] * count
    losses = _behind(history.losses[judged], history.violation[judged])
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


def _place(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many distinct values are below each: the order alone. (n,)."""
    return np.unique(values, return_inverse=True)[1].astype(np.float64)


def _behind(losses: NDArray[np.float64], violation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Losses by which those that break constraints rank behind the others, the least violated of them first."""
    places = np.column_stack([_place(column) for column in losses.T])
    breaks = violation > 0.0
    places[breaks] = len(losses) + _place(violation)[breaks, None]
    places[np.isnan(losses).any(axis=1) | np.isnan(violation)] = np.nan
    return places


def shares(means: Sequence[float], least: float) -> list[float]:
    """Match probabilities to credit.

    Probability matching as in Thierens (2005, "An adaptive pursuit strategy for allocating operator probabilities",
    GECCO, section 2).

    Args:
        means: Mean credit of each part, >= 0.
        least: The part of the budget, in [0, 1], that all share alike.

    Returns:
        p_k = least / K + (1 - least) q_k / sum q; all alike where nobody has credit.
    """
    total, count = sum(means), len(means)
    return [least / count + (1.0 - least) * (mean / total if total else 1.0 / count) for mean in means]
