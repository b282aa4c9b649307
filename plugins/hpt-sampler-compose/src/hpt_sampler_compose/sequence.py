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
    """Uses one sampler after the other: each for its ``trials``, or until it is exhausted.

    All of them see the whole history. A list of samplers is shorthand for this sampler.
    """

    def suggest_within(self, path: str, history: History, rng: Generator) -> Suggestion:
        """The suggestion of the first part that is not finished.

        A part is finished when it has suggested ``trials`` valid trials (failed and running ones count), or when it
        raises `SpaceExhausted`.

        Args:
            path: The source labels of the enclosing samplers.
            history: The history, whose trials show which parts are finished.
            rng: The source of randomness of the part that suggests.

        Raises:
            SpaceExhausted: If all parts are finished.
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
        raise SpaceExhausted("every sampler of the sequence is finished")
