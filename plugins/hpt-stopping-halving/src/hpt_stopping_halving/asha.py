"""The rule `asha`: asynchronous successive halving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from hpt_core import option
from hpt_stopping_halving.rung_rule import RungRule

if TYPE_CHECKING:
    from hpt_core import History

__all__ = ["Asha"]


@attrs.define(kw_only=True)
class Asha(RungRule):
    """ASHA: asynchronous successive halving. At each rung, the best 1/eta of the trials that have reached it continue.

    Li et al. 2020, "A system for massively parallel hyperparameter tuning". With ``mode = "stop"``, a trial that
    reaches a rung with m results (its own included) continues if m < eta or if it is no worse than the best
    floor(m / eta) of them; else it is stopped and keeps its last value. With ``mode = "promote"`` (algorithm 2 of the
    paper), a trial pauses at each rung and is promoted once it is among the best floor(m / eta). This mode needs an
    evaluator that can resume; without one, trials are stopped as in the other mode. When no new trial will start and
    none can be promoted, the best trial on the highest rung is run to the end.
    """

    mode: Literal["stop", "promote"] = option(
        "stop", help="Stop trials that fall behind, or pause all trials at each rung and resume the best."
    )

    def _pauses(self, history: History) -> bool:
        return self.mode == "promote" and history.resumable
