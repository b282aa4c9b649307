"""Which trials of a bracket are stopped and which are promoted."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpt_stopping_halving.bracket import Bracket, Place

__all__ = ["cut_at", "next_asynchronous", "next_synchronous"]


def cut_at(bracket: Bracket, crossed: Sequence[int], number: int, eta: int) -> Place | None:
    """The place at which the stopping type of ASHA stops a trial; None if the trial continues.

    A trial continues from a rung with m results (its own included) if m < eta, which is too few to judge, or if it is
    no worse than the result of rank floor(m / eta). A tie never stops a trial.
    """
    for index in crossed:
        place = bracket.place(index, number)
        if place.results >= eta and place.loss > bracket.rungs[index][place.results // eta - 1][0]:
            return place
    return None


def next_asynchronous(bracket: Bracket, top: int, eta: int) -> int | None:
    """The next promotion of ASHA (Li et al. 2020, algorithm 2, ``get_job``).

    Rungs are searched from the one below the top downwards. Of the best floor(m / eta) of *all* m results of a rung,
    the best trial that is not in the next rung yet is promoted.

    Args:
        bracket: The results, and which trials may be promoted.
        top: Index of the highest rung to promote to.
        eta: The reduction factor.

    Returns:
        The number of the trial; None if no trial can be promoted.
    """
    for rung, paused in zip(reversed(bracket.rungs[:top]), reversed(bracket.paused[:top]), strict=True):
        if paused and len(rung) >= eta and paused[0] <= rung[len(rung) // eta - 1]:
            return paused[0][1]
    return None


def next_synchronous(bracket: Bracket, awaited: AbstractSet[int], eta: int) -> int | None:
    """The next promotion of successive halving (Jamieson and Talwalkar 2016, algorithm 1).

    Of the n trials of a round, the best max(1, floor(n / eta**i)) continue from its i-th rung, once all trials that are
    due there have a result. If a trial fails, the next best takes its place.

    Args:
        bracket: The results, and which trials may be promoted.
        awaited: Numbers of the trials whose results the round waits for, where they are due.
        eta: The reduction factor.

    Returns:
        The number of the trial; None if no trial can be promoted now.
    """
    field, places = bracket.members, len(bracket.members)
    for index, rung in enumerate(bracket.rungs[:-1]):
        if any(len(bracket.losses.get(number, ())) <= index for number in field & awaited):
            return None
        places = max(1, places // eta)
        field = set(islice((number for _, number in rung if number in field), places))
        for _, number in bracket.paused[index]:
            if number in field:
                return number
    return None
