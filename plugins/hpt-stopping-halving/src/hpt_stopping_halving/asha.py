"""ASHA: successive halving without waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from hpt_core import option
from hpt_stopping_halving.climb import Climb, Group
from hpt_stopping_halving.competition import next_up

if TYPE_CHECKING:
    from hpt_core import History
    from hpt_stopping_halving.results import Rung

__all__ = ["Asha"]


@attrs.define(kw_only=True)
class Asha(Climb):
    """ASHA: at each rung the better 1/eta of the trials that got there goes on, and nobody waits for anybody.

    Li et al. 2020, "A system for massively parallel hyperparameter tuning". With ``mode = "stop"`` a trial goes on if
    it is no worse than the best floor(m / eta) of the m results at the rung when it gets there, itself included, and
    always while m < eta; else it is stopped and keeps its last value. With ``mode = "promote"`` (the paper's
    algorithm 2) it pauses at each rung and goes on once it is among the best floor(m / eta) of all; this needs an
    evaluator that can resume, without one the rule stops. Where no new trial will come and nobody is to be promoted,
    the best on the highest rung goes on, to the end.
    """

    mode: Literal["stop", "promote"] = option(
        "stop", help="Stop trials that fall behind, or pause all at each rung and resume the good ones."
    )

    def _pauses(self, history: History) -> bool:
        return self.mode == "promote" and history.resumable

    def _key(self, history: History, number: int) -> int:  # noqa: ARG002 - one group for all
        return 0

    def _group(self, history: History, key: int) -> Group:  # noqa: ARG002
        return Group(0, range(history.next_number))

    def _next(self, history: History, group: Group, rungs: list[Rung], idle: set[int]) -> tuple[int, int] | None:  # noqa: ARG002 - as any kind
        return next_up(rungs, idle, self.eta, group.first, len(rungs) - 1)
