"""The sampler ``portfolio``: several samplers that share the budget by how well each has done."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from hpt_core import SpaceExhausted, option
from hpt_sampler_compose.credit import credit, shares
from hpt_sampler_compose.parts import Composed, owners

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History, Suggestion

__all__ = ["PortfolioSampler"]


@attrs.define(kw_only=True)
class PortfolioSampler(Composed):
    """Draws, for each trial, which of several samplers suggests: the better its results, the more often.

    Each gets ``start`` trials first. Then a trial whose result is among the best ``top`` of all results is credit for
    the sampler that it came from, and a sampler is drawn with a probability in proportion to its recent mean credit;
    the fraction ``least`` is dealt out alike. All of them see the whole history.
    """

    start: int = option(3, ge=0, help="Trials that each sampler gets first.")
    least: float = option(0.2, ge=0, le=1, help="Fraction of the budget that all share alike, whatever they found.")
    top: float = option(0.25, gt=0, le=1, help="Fraction of the results that bring credit, the best one most.")
    half_life: float = option(30.0, gt=0, help="A trial counts half as much for every so many later results.")

    def suggest_within(self, path: str, history: History, rng: Generator) -> Suggestion:
        """What the part suggests that has its turn.

        Args:
            path: The marks of the samplers around this one.
            history: Whose results tell how well each part has done.
            rng: Draws the part, and is what that part then draws from.

        Returns:
            The suggestion; ``info["shares"]`` has the probability of each part, by name.

        Raises:
            SpaceExhausted: When no part has anything left.
        """
        parts = self.placed(path)
        owner = owners(history, parts)
        counts = Counter(owner)
        left = [i for i, part in enumerate(parts) if part.limit is None or counts[i] < part.limit]
        means = credit(history, owner, len(parts), self.top, self.half_life)
        while left:
            share = dict(zip(left, shares([means[i] for i in left], self.least), strict=True))
            chosen = self._choose(left, counts, share, rng.random())
            noted = {parts[i].path: round(value, 6) for i, value in share.items()}
            try:
                return parts[chosen].suggest(history, rng, {"shares": noted})
            except SpaceExhausted:
                left.remove(chosen)
        raise SpaceExhausted("no sampler of the portfolio has anything left")

    def _choose(self, left: list[int], counts: Counter[int | None], share: dict[int, float], u: float) -> int:
        first = min(left, key=lambda i: counts[i])
        if counts[first] < self.start:
            return first
        for i in left:
            u -= share[i]
            if u < 0.0:
                return i
        return left[-1]
