"""Hyperband: halving from several first rungs, in case early results mislead."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

import attrs

from hpt_core import option
from hpt_stopping_halving.climb import Climb, Group
from hpt_stopping_halving.competition import next_up
from hpt_stopping_halving.halving import next_of_group
from hpt_stopping_halving.ladder import bracket_sizes, draw_bracket

if TYPE_CHECKING:
    from hpt_core import History
    from hpt_stopping_halving.results import Rung

__all__ = ["Hyperband"]


@attrs.define(kw_only=True)
class Hyperband(Climb):
    """Hyperband: brackets of trials that are compared from their first, second, ... or only on the last rung on.

    Li et al. 2018, "Hyperband", JMLR 18. Bracket s is compared on the last s + 1 rungs of s_max + 1, and has n_s =
    ceil((s_max + 1) * eta**s / (s + 1)) trials. Where a whole trial is no power of eta times `min_resource`, the last
    rung is one more than the paper has, and so is s_max. With ``mode = "rounds"`` (the paper's algorithm 1) the first
    n_s_max trials are that bracket, the next ones the bracket below and so on, round after round, and each is played as
    by `halving`. With ``"stop"`` and ``"promote"`` a trial belongs to bracket s with a probability in proportion to
    n_s, drawn from the study's seed and its number, and each bracket is an ASHA of its own (Li et al. 2020).
    """

    mode: Literal["stop", "promote", "rounds"] = option(
        "stop", help="Stop trials that fall behind; pause all at each rung and resume the good ones; or in rounds."
    )

    def _pauses(self, history: History) -> bool:
        return self.mode != "stop" and history.resumable

    def _key(self, history: History, number: int) -> int:
        """The first trial of a round; else the brackets in the order of Hyperband, s_max is 0."""
        sizes = self._sizes(history)
        if self.mode == "rounds":
            return _round_of(sizes, number)[0]
        return len(sizes) - 1 - draw_bracket(history.seed, number, sizes)

    def _group(self, history: History, key: int) -> Group:
        sizes, known = self._sizes(history), history.next_number
        if self.mode == "rounds":
            _, end, first = _round_of(sizes, key)
            return Group(first, range(key, min(end, known)), whole=end <= known)
        bracket = len(sizes) - 1 - key
        return Group(key, [n for n in range(known) if draw_bracket(history.seed, n, sizes) == bracket])

    def _sizes(self, history: History) -> tuple[int, ...]:
        return bracket_sizes(self.eta, len(self._finite_ladder(history)))

    def _next(self, history: History, group: Group, rungs: list[Rung], idle: set[int]) -> tuple[int, int] | None:
        if self.mode == "rounds":
            return next_of_group(history, group, rungs, idle, self.eta)
        return next_up(rungs, idle, self.eta, group.first, len(rungs) - 1)


def _round_of(sizes: tuple[int, ...], number: int) -> tuple[int, int, int]:
    """The round of a trial where brackets follow each other s_max, ..., 1, 0, s_max, ...

    Returns:
        Its first trial, the one behind its last, and its first rung.
    """
    start = number - number % sum(sizes)
    ends = list(accumulate(reversed(sizes), initial=start))
    rung = bisect_right(ends, number) - 1
    return ends[rung], ends[rung + 1], rung
