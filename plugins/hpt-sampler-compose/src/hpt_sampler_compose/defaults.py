"""The sampler ``defaults``: the point that a study should beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from hpt_core import SpaceExhausted

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History, Params

__all__ = ["DefaultsSampler"]


@attrs.define(kw_only=True)
class DefaultsSampler:
    """Suggests the default point of the space, once, and has nothing left then.

    It is made of the declared defaults; a parameter without one has its middle value or first choice. Use it as the
    first part of a sequence: what a study finds can then be compared with what one has without tuning.
    """

    def suggest(self, history: History, rng: Generator) -> Params:  # noqa: ARG002 - nothing is random here
        """The default point.

        Args:
            history: Its space, and whether the point was tried.
            rng: Not used.

        Raises:
            SpaceExhausted: When a trial has taken the point, a failed one included.
        """
        params = history.space.default()
        if history.space.key(params) in history.keys:
            raise SpaceExhausted("the default point was taken")
        return params
