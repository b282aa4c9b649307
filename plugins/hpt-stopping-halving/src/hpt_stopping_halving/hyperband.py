"""The rule `hyperband`: successive halving in brackets, as early results may mislead."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

import attrs

from hpt_core import option
from hpt_stopping_halving.bracket import BracketId
from hpt_stopping_halving.ladder import bracket_sizes, draw_bracket
from hpt_stopping_halving.rung_rule import RungRule

if TYPE_CHECKING:
    from hpt_core import History

__all__ = ["Hyperband"]


@attrs.define(kw_only=True)
class Hyperband(RungRule):
    """Hyperband: brackets of trials whose first comparison is on the first, the second, ... or only the last rung.

    Li et al. 2018, "Hyperband", JMLR 18. The trials of bracket s are compared on the last s + 1 of s_max + 1 rungs, and
    the bracket has n_s = ceil((s_max + 1) * eta**s / (s + 1)) trials. If a whole trial is not a power of eta times
    `min_resource`, there is one rung more than in the paper, and s_max is larger by one. With ``mode = "rounds"``
    (algorithm 1 of the paper), the first trials of the study form bracket s_max, the next ones bracket s_max - 1 and so
    on, round after round; each bracket proceeds as by `halving`. With ``"stop"`` and ``"promote"``, a trial belongs to
    bracket s with probability proportional to n_s, drawn from the study's seed and the trial's number, and each bracket
    is an ASHA of its own (Li et al. 2020).
    """

    mode: Literal["stop", "promote", "rounds"] = option(
        "stop", help="Stop trials that fall behind; pause all at each rung and promote the best; or promote in rounds."
    )

    @property
    def _needs_last_rung(self) -> bool:
        return True

    def _pauses(self, history: History) -> bool:
        return self.mode != "stop" and history.resumable

    def _bracket_of(self, history: History, number: int) -> BracketId:
        sizes = bracket_sizes(self.eta, len(self._ladder(history)))
        if self.mode != "rounds":
            return BracketId(first=len(sizes) - 1 - draw_bracket(history.seed, number, sizes))
        ends = list(accumulate(reversed(sizes), initial=number - number % sum(sizes)))
        after = bisect_right(ends, number)  # the brackets follow each other in the order s_max, ..., 1, 0, s_max, ...
        return BracketId(end=ends[after], first=after - 1)
