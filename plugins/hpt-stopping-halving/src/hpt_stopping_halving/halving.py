"""The rule `halving`: synchronous successive halving."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from hpt_core import option
from hpt_stopping_halving.bracket import BracketId
from hpt_stopping_halving.rung_rule import RungRule

if TYPE_CHECKING:
    from hpt_core import History

__all__ = ["Halving"]


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

    def _bracket_of(self, history: History, number: int) -> BracketId:
        size = self.trials or self.eta ** (len(self._ladder(history)) - 1)
        return BracketId(end=number - number % size + size)
