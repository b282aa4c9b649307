"""The sampler ``portfolio``: several samplers that share the budget in proportion to their success."""

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
    """Draws one of several samplers for each trial, the better its results the more often.

    Each sampler first gets ``start`` trials. Then a trial whose result is among the best fraction ``top`` of all
    results earns credit for the sampler that it came from, and a sampler is drawn with probability proportional to its
    recent mean credit; the fraction ``least`` of the budget is divided evenly. All of them see the whole history.
    """

    start: int = option(3, ge=0, help="Number of initial trials of each sampler.")
    least: float = option(0.2, ge=0, le=1, help="Fraction of the budget that is divided evenly, whatever the results.")
    top: float = option(0.25, gt=0, le=1, help="Fraction of the results, from the best one down, that earn credit.")
    half_life: float = option(30.0, gt=0, help="Number of later results after which a trial counts half as much.")

    def suggest_within(self, path: str, history: History, rng: Generator) -> Suggestion:
        """The suggestion of the part that is drawn.

        Args:
            path: The source labels of the enclosing samplers.
            history: The history, by whose results the parts earn credit.
            rng: Draws the part, and is then passed to that part.

        Returns:
            The suggestion; ``info["shares"]`` has the probability of each part, by name.

        Raises:
            SpaceExhausted: If all parts are exhausted.
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
        raise SpaceExhausted("every sampler of the portfolio is exhausted")

    def _choose(self, left: list[int], counts: Counter[int | None], share: dict[int, float], u: float) -> int:
        first = min(left, key=lambda i: counts[i])
        if counts[first] < self.start:
            return first
        for i in left:
            u -= share[i]
            if u < 0.0:
                return i
        return left[-1]
