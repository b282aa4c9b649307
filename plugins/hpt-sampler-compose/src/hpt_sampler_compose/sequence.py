"""The sampler ``sequence``: one sampler after the other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import attrs

from hpt_core import Mistake, SpaceExhausted, UsageError
from hpt_sampler_compose.auto import AutoSampler
from hpt_sampler_compose.parts import Composed, owners

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.random import Generator

    from hpt_core import History, Space, Suggestion

__all__ = ["SequenceSampler"]

_NEVER_EXHAUSTED = frozenset(f"hpt_sampler_{name}" for name in ("bayes", "cmaes", "forest", "random", "tpe"))
"""Packages whose samplers suggest a point as long as the space has any. Of other samplers this is not known."""


@attrs.define(kw_only=True)
class SequenceSampler(Composed):
    """Uses one sampler after the other: each for its ``trials``, or until it is exhausted.

    All of them see the whole history. A list of samplers is shorthand for this sampler.
    """

    _key: ClassVar[str] = "sampler"  # of the shorthand

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Check each part against a space and objectives, and that each part can get its turn.

        Raises:
            UsageError: Listing every mistake that the parts report; or if a part would never suggest anything.
        """
        super().check(space, objectives)
        for i, part in enumerate(self.samplers[:-1]):
            if part.trials is None and _never_exhausted(part.sampler):
                message = (
                    f"Must be an int >= 1: {self._labels[i]!r} never ends by itself, so the samplers after it in the "
                    "list would not be used. Got none."
                )
                raise UsageError(Mistake(f"{self._key}[{i}].trials", message))

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


def _never_exhausted(sampler: object) -> bool:
    if isinstance(sampler, Composed):
        return any(part.trials is None and _never_exhausted(part.sampler) for part in sampler.samplers)
    if isinstance(sampler, AutoSampler):
        return all(part is None or _never_exhausted(part) for part in (sampler.model, sampler.cheap))
    return type(sampler).__module__.partition(".")[0] in _NEVER_EXHAUSTED
