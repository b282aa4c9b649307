"""The sampler ``auto``: a model as long as the results speak for it, else a cheaper sampler, or both in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Sampler, Space, Suggestion, UsageError, option
from hpt_sampler_compose.evidence import Choice, choose
from hpt_sampler_compose.parts import Nesting, Placed, called, inside

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History

__all__ = ["AutoSampler"]


@attrs.define(kw_only=True)
class AutoSampler(Nesting):
    """Chooses a sampler by what the study has shown so far, and says which and why.

    ``model`` suggests. Where the better results are mostly ties (accuracy on little data), or its predictions do not
    even get the order of results right, ``cheap`` suggests every second trial; beyond a thousand results, with which a
    model would be slow, it suggests all.

    Every suggestion carries ``info``: that of the sampler that made it, and ``why`` it was that one.
    """

    model: Sampler | None = option({"use": "bayes"}, help="Learns a model of the results; none: not installed.")
    cheap: Sampler | None = option({"use": "tpe"}, help="Suggests at next to no cost; none: not installed.")

    def __attrs_post_init__(self) -> None:
        for name, part in self._parts():
            if isinstance(part, Mapping):  # the default, which only who makes components by name can make
                message = "Must be a sampler or None: AutoSampler(model=..., cheap=...), or name it: sampler='auto'."
                raise UsageError(Mistake(name, message))

    def suggest_within(self, path: str, history: History, rng: Generator) -> Suggestion:
        """What the chosen sampler suggests.

        Args:
            path: The marks of the samplers around this one.
            history: What the choice rests on.
            rng: The only randomness.

        Raises:
            SpaceExhausted: When that sampler has nothing left.
        """
        choice = self._chosen(history)
        part = self.model if choice.model else self.cheap
        if part is None:
            return Suggestion(history.space.sample(rng), {"why": choice.why}, path.rstrip("/") or "sampler")
        return Placed(part, None, f"{path}{called(part)}").suggest(history, rng, {"why": choice.why})

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Let both samplers object to what can never work.

        Raises:
            UsageError: With every mistake that one of them found.
        """
        mistakes: list[Mistake] = []
        for name, part in self._parts():
            if hasattr(part, "check"):
                try:
                    part.check(space, objectives)
                except UsageError as err:
                    mistakes += (inside(mistake, f"sampler.{name}") for mistake in err.mistakes)
        if mistakes:
            raise UsageError(*mistakes)

    def _parts(self) -> tuple[tuple[str, Any], ...]:
        return ("model", self.model), ("cheap", self.cheap)

    def _chosen(self, history: History) -> Choice:
        if self.model is not None and self.cheap is not None:
            return choose(history)
        if self.model is None and self.cheap is None:
            return Choice(False, "no other sampler is installed: points at random")
        return Choice(self.model is not None, "no other sampler is installed")
