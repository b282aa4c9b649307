"""The rule `halving`: synchronous successive halving."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from hpt_core import State, option
from hpt_stopping_halving.promotion import next_synchronous
from hpt_stopping_halving.rung_rule import Group, RungRule

if TYPE_CHECKING:
    from hpt_core import History
    from hpt_stopping_halving.results import Standing

__all__ = ["Halving", "next_of_group"]


def next_of_group(history: History, group: Group, standing: Standing, eta: int) -> tuple[int, int] | None:
    """(rung, number) of the trial of a round to promote; None while the round or its current rung is incomplete."""
    if not group.whole and not history.closing:
        return None
    awaited = standing.awaited
    if history.closing:  # while no new trial is started, a waiting trial was enqueued beyond the budget
        awaited = {number for number in awaited if history.trials[number].state is not State.WAITING}
    return next_synchronous(standing, awaited, eta, group.first)


@attrs.define(kw_only=True)
class Halving(RungRule):
    """Successive halving in rounds: once all trials of a round have reached a rung, the best 1/eta continue.

    Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization", algorithm 1,
    with the rungs of Hyperband. Trials pause at each rung. The first n trials form a round, the next n another one; a
    worker with nothing to promote begins the next round. When no new trial will start, an incomplete round continues
    with the trials it has. The rule needs an evaluator that can resume; without one, a trial is stopped at a rung if it
    is behind the trials of its round that reached the rung before it.
    """

    trials: int | None = option(
        None, ge=2, help="Trials per round; default eta ** (rungs - 1), so that one of them gets to the end."
    )

    @property
    def _needs_last_rung(self) -> bool:
        return self.trials is None

    def _pauses(self, history: History) -> bool:
        return history.resumable

    def _key(self, history: History, number: int) -> int:
        return number - number % self._size(history)

    def _group(self, history: History, key: int) -> Group:
        return Group(0, whole=key + self._size(history) <= history.next_number)

    def _size(self, history: History) -> int:
        return self.trials or self.eta ** (len(self._ladder(history)) - 1)

    def _next(self, history: History, group: Group, standing: Standing) -> tuple[int, int] | None:
        return next_of_group(history, group, standing, self.eta)
