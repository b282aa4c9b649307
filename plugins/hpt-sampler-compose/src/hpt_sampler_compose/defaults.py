"""The sampler ``defaults``: the baseline that a study should beat."""

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
    """Suggests the default point of the space once, and is exhausted then.

    The point has the declared defaults; a parameter without one has its middle value or first choice. Use it as the
    first part of a sequence, so that the study's results can be compared with those without tuning.
    """

    def suggest(self, history: History, rng: Generator) -> Params:  # noqa: ARG002 - nothing is random here
        """The default point.

        Args:
            history: Its space and tried points.
            rng: Not used.

        Raises:
            SpaceExhausted: If the point was tried, even if that trial failed.
        """
        params = history.space.default()
        if history.space.key(params) in history.keys:
            raise SpaceExhausted("the default point was tried")
        return params
