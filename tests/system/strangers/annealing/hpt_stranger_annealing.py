"""A stranger's sampler: simulated annealing (Kirkpatrick et al. 1983), pure by replaying its walk from the history."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.random import Generator, default_rng

from hpt_core import Suggestion, hookimpl, option

if TYPE_CHECKING:
    from hpt_core import History


@attrs.define(kw_only=True)
class Annealing:
    """Walks to a neighbour, and to a worse one the more rarely the colder it gets."""

    temperature: float = option(1.0, gt=0, help="The temperature at the first step.")
    cooling: float = option(0.9, gt=0, lt=1, help="What it is multiplied by at each step.")

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """Replay which points were accepted, and step from the last one."""
        space, at = history.space, None
        for step, number in enumerate(history.complete):
            loss = history.losses[number, 0]
            coin = default_rng([history.seed, 1, int(number)]).random()
            heat = self.temperature * self.cooling**step
            if at is None or coin < math.exp(min(0.0, (history.losses[at, 0] - loss) / heat)):
                at = number
        if at is None:
            return Suggestion(space.sample(rng))
        unit = np.nan_to_num(history.unit[at], nan=0.5)
        moved = unit + rng.normal(0, 0.1, len(unit))
        return Suggestion(space.from_unit(np.abs((moved + 1) % 2 - 1)), {"from": int(at)})


@hookimpl
def hpt_samplers() -> dict[str, type]:
    """Offer the sampler."""
    return {"annealing": Annealing}
