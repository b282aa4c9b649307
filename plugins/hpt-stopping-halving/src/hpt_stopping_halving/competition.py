"""Who is cut and who goes on, from the results at the rungs alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from hpt_stopping_halving.results import Rung

__all__ = ["Place", "cut_at", "leader", "next_in_round", "next_up"]


@attrs.frozen
class Place:
    """Where a trial stands in a rung.

    Attributes:
        rung: The rung's index.
        loss: The trial's loss there.
        rank: From 1, among all results there.
        results: How many there are.
    """

    rung: int
    loss: float
    rank: int
    results: int

    @classmethod
    def of(cls, rungs: Sequence[Rung], index: int, number: int) -> Place:
        """The place of a trial that is in the rung."""
        rung = rungs[index]
        rank = next(i for i, (_, other) in enumerate(rung) if other == number)
        return cls(index, rung[rank][0], rank + 1, len(rung))


def cut_at(rungs: Sequence[Rung], crossed: Sequence[int], number: int, eta: int) -> Place | None:
    """Where a trial falls behind in the stopping type of ASHA; None where it goes on.

    It goes on from a rung of m results (its own included) if m < eta, when nothing can be told yet, or it is no worse
    than the one at place floor(m / eta): equal evidence ends nothing.
    """
    for index in crossed:
        place = Place.of(rungs, index, number)
        if place.results >= eta and place.loss > rungs[index][place.results // eta - 1][0]:
            return place
    return None


def next_up(rungs: Sequence[Rung], idle: AbstractSet[int], eta: int, first: int, last: int) -> tuple[int, int] | None:
    """The promotion that ASHA makes now (Li et al. 2020, algorithm 2, ``get_job``).

    From the rung below the top down: the best of those among the best floor(m / eta) of *all* m results of a rung that
    are not in the next rung yet.

    Args:
        rungs: The results.
        idle: Numbers of the trials that may be promoted.
        eta: The reduction factor.
        first: The lowest rung to promote from.
        last: The highest rung to promote to.

    Returns:
        (the rung it stands on, its number); None where nobody can be promoted.
    """
    for index in range(last - 1, first - 1, -1):
        rung = rungs[index]
        above = {number for _, number in rungs[index + 1]}
        for _, number in rung[: len(rung) // eta]:
            if number in idle and number not in above:
                return index, number
    return None


def next_in_round(
    rungs: Sequence[Rung],
    members: Collection[int],
    idle: AbstractSet[int],
    busy: AbstractSet[int],
    eta: int,
    first: int,
) -> tuple[int, int] | None:
    """The promotion that successive halving makes now (Jamieson and Talwalkar 2016, algorithm 1).

    Of the n trials of a round the best max(1, floor(n / eta**i)) go on from its i-th rung, once all that got there have
    their result. The place of one that failed goes to the next best.

    Args:
        rungs: The results.
        members: All trials of the round, failed ones too.
        idle: Numbers of the trials that may be promoted.
        busy: Numbers of the trials that may still come to a result: idle ones too.
        eta: The reduction factor.
        first: The rung on which the round begins.

    Returns:
        (the rung it stands on, its number); None where nobody can be promoted now.
    """
    field, places = set(members), len(members)
    for index in range(first, len(rungs) - 1):
        there = [number for _, number in rungs[index] if number in field]
        if not field & busy <= set(there):
            return None
        places = max(1, places // eta)
        field = set(there[:places])
        above = {number for _, number in rungs[index + 1]}
        for number in there[:places]:
            if number in idle and number not in above:
                return index, number
    return None


def leader(rungs: Sequence[Rung], out: AbstractSet[int]) -> tuple[int, int] | None:
    """(rung, number) of the best trial on the highest rung that anybody reached, those that are out left aside."""
    for index in range(len(rungs) - 1, -1, -1):
        for _, number in rungs[index]:
            if number not in out:
                return index, number
    return None
