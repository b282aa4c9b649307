"""Synchronous successive halving."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from hpt_core import State, option
from hpt_stopping_halving.climb import Climb, Group, contenders
from hpt_stopping_halving.competition import next_in_round

if TYPE_CHECKING:
    from hpt_core import History
    from hpt_stopping_halving.results import Rung

__all__ = ["Halving", "next_of_group"]

_ENDED = frozenset({State.COMPLETE, State.STOPPED, State.FAILED})


def next_of_group(
    history: History, group: Group, rungs: list[Rung], idle: set[int], eta: int
) -> tuple[int, int] | None:
    """(rung, number) of the trial of a round to go on with; None while the round is not whole or a rung not done."""
    if not group.whole and not history.closing:
        return None
    # a trial that waits while nothing new is started was enqueued beyond the budget
    out = _ENDED | {State.WAITING} if history.closing else _ENDED
    rivals = contenders(history, group)
    busy = {trial.number for trial in rivals if trial.state not in out}
    return next_in_round(rungs, [trial.number for trial in rivals], idle, busy, eta, group.first)


@attrs.define(kw_only=True)
class Halving(Climb):
    """Successive halving in rounds: all trials of a round get to a rung, then the best 1/eta of them go on together.

    Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization", algorithm 1,
    with the rungs of Hyperband. Trials pause at each rung. The first n trials are a round, the next n another; a worker
    that has nothing to promote begins the next round. Where no new trial will come a round is played with the trials it
    has. Needs an evaluator that can resume; without one a trial is stopped at a rung where it falls behind those of its
    round that got there before it.
    """

    trials: int | None = option(
        None, ge=2, help="Trials in a round; default so many that one of them gets to the end: eta ** (rungs - 1)."
    )

    def _pauses(self, history: History) -> bool:
        return history.resumable

    def _key(self, history: History, number: int) -> int:
        return number - number % self._size(history)

    def _group(self, history: History, key: int) -> Group:
        end = key + self._size(history)
        return Group(0, range(key, min(end, history.next_number)), whole=end <= history.next_number)

    def _size(self, history: History) -> int:
        return self.trials or self.eta ** (len(self._finite_ladder(history)) - 1)

    def _next(self, history: History, group: Group, rungs: list[Rung], idle: set[int]) -> tuple[int, int] | None:
        return next_of_group(history, group, rungs, idle, self.eta)
