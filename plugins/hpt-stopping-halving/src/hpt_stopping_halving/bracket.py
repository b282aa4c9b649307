"""A bracket: trials that compete with each other on rungs, and their results there."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import attrs

from hpt_core import State

if TYPE_CHECKING:
    from hpt_core import Trial

__all__ = ["Bracket", "BracketId", "Place", "Rung"]

Rung = list[tuple[float, int]]
"""(loss, trial number) of all trials that have reached a rung, best first; of equals the earlier trial first."""


class BracketId(NamedTuple):
    """Identifies a bracket of a study. Of promotions from the same rung, that of the lowest identifier comes first.

    Attributes:
        end: The number of the first trial after it, if it is a round; None: each further trial of the study may join.
        first: Index of its first rung on the ladder: the early-stopping rate s of Li et al. 2020.
    """

    end: int | None = None
    first: int = 0


class Place(NamedTuple):
    """A trial's place in the ranking of a rung.

    Attributes:
        rung: The step of the rung.
        loss: The trial's loss at the rung.
        rank: The trial's rank among all results of the rung, from 1.
        results: Number of results of the rung.
    """

    rung: int
    loss: float
    rank: int
    results: int


@attrs.define
class Bracket:
    """Trials that compete with each other: all of a study, those of a round, or those of a bracket of Hyperband.

    Attributes:
        end: As of its `BracketId`.
        ladder: The steps of its rungs, ascending.
        rungs: The results at each rung.
        paused: The results of the paused trials, each at the highest rung that it has reached.
        losses: Trial number -> the trial's losses at the rungs that it has reached; not for a trial that is in no rung.
        members: The numbers of all trials, failed ones included.
        awaited: The numbers of those that have not ended and are not in ``paused``.
        memo: Index of a rung -> trials, and what the rule has computed from their results there, which are final.
    """

    end: int | None
    ladder: tuple[int, ...]
    rungs: list[Rung] = attrs.field(init=False)
    paused: list[Rung] = attrs.field(init=False)
    losses: dict[int, tuple[float, ...]] = attrs.field(init=False, factory=dict)
    members: set[int] = attrs.field(init=False, factory=set)
    awaited: set[int] = attrs.field(init=False, factory=set)
    memo: dict[int, tuple[list[int], float]] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self.rungs, self.paused = [[] for _ in self.ladder], [[] for _ in self.ladder]

    def reached(self, number: int) -> int:
        """The step of the highest rung that a trial has reached."""
        return self.ladder[len(self.losses[number]) - 1]

    def place(self, index: int, number: int) -> Place:
        """The place of a trial at a rung that it has reached, by the index of the rung."""
        rung, loss = self.rungs[index], self.losses[number][index]
        return Place(self.ladder[index], loss, bisect_left(rung, (loss, number)) + 1, len(rung))

    def update(self, number: int, losses: tuple[float, ...], state: State | None) -> None:
        """Move a trial to the place that it has now. Without a state, it is no member."""
        before = self.losses.pop(number, ())
        if before:
            _discard(self.paused[len(before) - 1], (before[-1], number))
        if before != losses:
            for rung, loss in zip(self.rungs, before, strict=False):
                _discard(rung, (loss, number))
            for rung, loss in zip(self.rungs, losses, strict=False):
                insort(rung, (loss, number))
        if losses:
            self.losses[number] = losses
            if state is State.PAUSED:
                insort(self.paused[len(losses) - 1], (losses[-1], number))
        (self.members.discard if state is None else self.members.add)(number)
        awaited = state in (State.WAITING, State.RUNNING) or (state is State.PAUSED and not losses)
        (self.awaited.add if awaited else self.awaited.discard)(number)

    @contextmanager
    def pausing(self, trial: Trial) -> Iterator[None]:
        """While this lasts, a trial that is in a rung stands as if it had paused at its last report."""
        losses = self.losses[trial.number]
        self.update(trial.number, losses, State.PAUSED)
        try:
            yield
        finally:
            self.update(trial.number, losses, trial.state)


def _discard(rung: Rung, result: tuple[float, int]) -> None:
    place = bisect_left(rung, result)
    if place < len(rung) and rung[place] == result:
        del rung[place]
