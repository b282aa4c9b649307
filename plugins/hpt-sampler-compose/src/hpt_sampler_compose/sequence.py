"""The sampler ``sequence``: one sampler after the other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from hpt_core import SpaceExhausted
from hpt_sampler_compose.parts import Composed, owners

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History, Suggestion

__all__ = ["SequenceSampler"]


@attrs.define(kw_only=True)
class SequenceSampler(Composed):
    """Asks one sampler after the other: each for its ``trials``, or until it has nothing left.

    All of them see the whole history. A list given as sampler is short for this one.
    """

    def suggest_within(self, path: str, history: History, rng: Generator) -> Suggestion:
        """What the first part suggests that is not through.

        A part is through when as many valid trials came from it as its ``trials`` says (failed and running ones count),
        or when it raises `SpaceExhausted`.

        Args:
            path: The marks of the samplers around this one.
            history: Whose trials tell which parts are through.
            rng: The only randomness, for whichever part suggests.

        Raises:
            SpaceExhausted: When all parts are through.
        """
        parts = self.placed(path)
        limited = any(part.limit is not None for part in parts)
        counts = Counter(owners(history, parts)) if limited else Counter()
        for i, part in enumerate(parts):
            if part.limit is None or counts[i] < part.limit:
                try:
                    return part.suggest(history, rng, {})
                except SpaceExhausted:
                    continue
        raise SpaceExhausted("every sampler of the sequence is through")
