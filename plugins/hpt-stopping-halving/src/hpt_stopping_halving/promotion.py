"""Which trials are stopped and which are promoted, given the results at the rungs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from hpt_stopping_halving.results import Rung, Standing

__all__ = ["Place", "cut_at", "leader", "next_asynchronous", "next_synchronous"]


@attrs.frozen
class Place:
    """A trial's place in the ranking of a rung.

    Attributes:
        rung: The rung's index.
        loss: The trial's loss at the rung.
        rank: The trial's rank among all results of the rung, from 1.
        results: Number of results of the rung.
    """

    rung: int
    loss: float
    rank: int
    results: int

    @classmethod
    def of(cls, standing: Standing, index: int, number: int) -> Place:
        """The place of a trial at a rung that it has reached."""
        rung, loss = standing.rungs[index], standing.losses[number][index]
        return cls(index, loss, bisect_left(rung, (loss, number)) + 1, len(rung))


def cut_at(standing: Standing, crossed: Sequence[int], number: int, eta: int) -> Place | None:
    """The place at which the stopping type of ASHA stops a trial; None if the trial continues.

    A trial continues from a rung with m results (its own included) if m < eta, which is too few to judge, or if it is
    no worse than the result of rank floor(m / eta). A tie never stops a trial.
    """
    for index in crossed:
        place = Place.of(standing, index, number)
        if place.results >= eta and place.loss > standing.rungs[index][place.results // eta - 1][0]:
            return place
    return None


def next_asynchronous(standing: Standing, top: int, eta: int, first: int) -> tuple[int, int] | None:
    """The next promotion of ASHA (Li et al. 2020, algorithm 2, ``get_job``).

    Rungs are searched from the one below the top downwards. Of the best floor(m / eta) of *all* m results of a rung,
    the best trial that is not in the next rung yet is promoted.

    Args:
        standing: The results, and which trials may be promoted.
        top: The highest rung to promote to.
        eta: The reduction factor.
        first: The lowest rung to promote from.

    Returns:
        (rung, number) of the trial; None if no trial can be promoted.
    """
    for index in range(top - 1, first - 1, -1):
        rung, paused = standing.rungs[index], standing.paused[index]
        if paused and len(rung) >= eta and paused[0] <= rung[len(rung) // eta - 1]:
            return index, paused[0][1]
    return None


def next_synchronous(standing: Standing, awaited: AbstractSet[int], eta: int, first: int) -> tuple[int, int] | None:
    """The next promotion of successive halving (Jamieson and Talwalkar 2016, algorithm 1).

    Of the n trials of a round, the best max(1, floor(n / eta**i)) continue from its i-th rung, once all trials that are
    due there have a result. If a trial fails, the next best takes its place.

    Args:
        standing: The results, and which trials may be promoted.
        awaited: Numbers of the trials whose results the round waits for, where they are due.
        eta: The reduction factor.
        first: The rung on which the round begins.

    Returns:
        (rung, number) of the trial; None if no trial can be promoted now.
    """
    if any(standing.paused[:first]):
        return None  # another rule keeps a trial below the rung where it is due
    field, places = standing.members, len(standing.members)
    for index in range(first, len(standing.rungs) - 1):
        if any(len(standing.losses.get(number, ())) <= index for number in field & awaited):
            return None
        places = max(1, places // eta)
        field = set(islice((number for _, number in standing.rungs[index] if number in field), places))
        for _, number in standing.paused[index]:
            if number in field:
                return index, number
    return None


def leader(rungs: Sequence[Rung], out: AbstractSet[int]) -> tuple[int, int] | None:
    """(rung, number) of the best trial on the highest rung that a trial has reached, ignoring the trials in ``out``."""
    for index in range(len(rungs) - 1, -1, -1):
        for _, number in rungs[index]:
            if number not in out:
                return index, number
    return None
