"""The sampler: replays the evolutions of a study and draws from where the last one has got to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hpt_core import History, Mistake, Params, Space, Suggestion, UsageError, option
from hpt_sampler_cmaes.coding import Coding
from hpt_sampler_cmaes.evolution import Evolution, Member, generations, next_population

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["CmaesSampler"]

Generations = dict[tuple[int, int], list[Member]]

_DRAWS = 50  # until one is found that no trial has taken


@attrs.define(kw_only=True)
class CmaesSampler:
    """CMA-ES: a normal distribution that learns shape and step size, for numeric spaces and hundreds of trials.

    Integers, ordinals and categories are kept alive by a margin (CatCMA with Margin). A generation needs ``population``
    results, in whatever order workers deliver them. When nothing more can be gained it starts again elsewhere with
    twice the population. It starts at the best point that is known, else at the default point. One objective only.

    Every suggestion carries ``info``: ``evolution`` (how many restarts there were), ``generation``, and the draw
    itself, ``raw`` and ``places``, from which the state is worked out again.
    """

    population: int | None = option(None, ge=4, help="Results per generation; none: 4 + 3 ln(number of parameters).")
    sigma: float = option(0.25, gt=0, le=1, help="First standard deviation, as a fraction of each range.")

    _cache: dict[tuple[str, str], tuple[list[Any], Evolution]] = attrs.field(
        init=False, factory=dict, repr=False, eq=False
    )

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Refuse several objectives.

        Raises:
            UsageError: If there are several.
        """
        del space
        if len(objectives) > 1:
            message = f"The sampler 'cmaes' takes one objective. Got {', '.join(objectives)}. Use 'bayes' or 'tpe'."
            raise UsageError(Mistake("", message))

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """Propose the next configuration; a pure function of ``history`` and ``rng``."""
        coding = Coding.of(history.space)
        if not coding.size:
            return Suggestion(history.space.default(), {"model": "cmaes"})
        start, evolution = self._replayed(history, coding, rng)
        first = not any(t.info.get("model") == "cmaes" for t in history.trials)
        centre = [coding.encode(_centre(history))] if first else []
        for raw, places in chain(centre, evolution.draw(rng, _DRAWS)):
            params = coding.decode(raw, places)
            if history.space.key(params) not in history.keys:
                break
        info = {"model": "cmaes", "evolution": evolution.number, "generation": evolution.generation}
        return Suggestion(params, {**info, "raw": raw.tolist(), "places": places, "start": start})

    def _replayed(self, history: History, coding: Coding, rng: Generator) -> tuple[dict[str, Any], Evolution]:
        """The start of the last evolution, and where it has got to."""
        members = generations(history, coding)
        starts = _starts(history, coding)
        population = self.population or 4 + math.floor(3 * math.log(coding.size))
        start = starts.get(0) or self._start(0, population, coding.encode(_centre(history))[0].tolist())
        while True:
            evolution = self._evolved(coding, start, members)
            if not evolution.finished:
                return start, evolution
            number = evolution.number + 1
            again = next_population(evolution.population, population)
            start = starts.get(number) or self._start(number, again, rng.random(coding.normal).tolist())

    def _start(self, number: int, population: int, mean: list[float]) -> dict[str, Any]:
        return {"evolution": number, "population": population, "mean": mean, "sigma": self.sigma}

    def _evolved(self, coding: Coding, start: dict[str, Any], members: Generations) -> Evolution:
        """The evolution from ``start`` through all generations that are complete.

        What was worked out before is gone on with, if the log still says the same of it.
        """
        number, population, ready = start["evolution"], start["population"], list[list[Member]]()
        while len(found := members.get((number, len(ready)), [])) >= population:
            ready.append(found[:population])
        keys = [tuple(member.key for member in generation) for generation in ready]
        place = (coding.space.hash, repr(start))
        told, evolution = self._cache.get(place) or ([], Evolution(coding, start))
        if told != keys[: len(told)]:  # what was told is no longer what is known
            evolution = Evolution(coding, start)
        for generation in ready[evolution.generation :]:
            if not evolution.finished:
                evolution.advance(generation)
        same_space = {key: value for key, value in self._cache.items() if key[0] == place[0]}
        self._cache = {**same_space, place: (keys[: evolution.generation], evolution)}
        return evolution


def _centre(history: History) -> Params:
    """Where to start: the best configuration that is known, else what breaks constraints least, else the default."""
    kept, complete = history.feasible, history.complete
    if not len(complete):
        default: Params = history.space.default()
        return default
    if len(kept):
        return history.trials[int(kept[np.argmin(history.losses[kept, 0])])].params
    violation = np.nan_to_num(history.violation[complete], nan=np.inf)  # not known: a constraint came later
    return history.trials[int(complete[violation.argmin()])].params


def _starts(history: History, coding: Coding) -> dict[int, dict[str, Any]]:
    """Number of each evolution -> how it started, as its first trial notes."""
    found: dict[int, dict[str, Any]] = {}
    for trial in history.trials:
        start = trial.info.get("start") if trial.info.get("model") == "cmaes" else None
        if isinstance(start, dict) and len(start.get("mean", ())) == coding.normal:
            found.setdefault(int(start["evolution"]), start)
    return found
