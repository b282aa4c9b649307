"""The sampler ``auto``: a model-based sampler, or a cheap one if the results speak against the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Sampler, Space, Suggestion, UsageError, option
from hpt_sampler_compose.choice import Choice, choose
from hpt_sampler_compose.parts import Nesting, Placed, check_parts, label_of

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History

__all__ = ["AutoSampler"]


@attrs.define(kw_only=True)
class AutoSampler(Nesting):
    """Chooses a sampler by the results so far, and records the choice and its reason.

    By default ``model`` suggests. If the better results are mostly ties (accuracy on little data), or the model does
    not predict the order of the results, ``cheap`` suggests half of the trials. From a thousand results on, where the
    model would be slow, ``cheap`` suggests all trials.

    Every suggestion carries the ``info`` of the sampler that made it, and ``why`` that sampler was chosen.
    """

    model: Sampler | None = option({"use": "bayes"}, help="The model-based sampler; none: not available.")
    cheap: Sampler | None = option({"use": "tpe"}, help="The sampler with cheap suggestions; none: not available.")

    def __attrs_post_init__(self) -> None:
        for name, part in self._parts():
            if isinstance(part, Mapping):  # the default is a table, which only the core can turn into a component
                message = "Must be a sampler or None: AutoSampler(model=..., cheap=...), or name it: sampler='auto'."
                raise UsageError(Mistake(name, message))

    def suggest_within(self, path: str, history: History, rng: Generator) -> Suggestion:
        """The suggestion of the chosen sampler.

        Args:
            path: The source labels of the enclosing samplers.
            history: The history, by which the sampler is chosen.
            rng: The source of randomness.

        Raises:
            SpaceExhausted: If that sampler is exhausted.
        """
        choice = self._chosen(history)
        part = self.model if choice.model else self.cheap
        if part is None:
            return Suggestion(history.space.sample(rng), {"why": choice.why}, path.rstrip("/") or "sampler")
        return Placed(part, None, f"{path}{label_of(part)}").suggest(history, rng, {"why": choice.why})

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Check both samplers against a space and objectives.

        Raises:
            UsageError: Listing every mistake that they report.
        """
        check_parts([(f"sampler.{name}", part) for name, part in self._parts()], space, objectives)

    def _parts(self) -> tuple[tuple[str, Any], ...]:
        return ("model", self.model), ("cheap", self.cheap)

    def _chosen(self, history: History) -> Choice:
        if self.model is not None and self.cheap is not None:
            return choose(history)
        if self.model is None and self.cheap is None:
            return Choice(False, "no other sampler is available: points at random")
        return Choice(self.model is not None, "no other sampler is available")
