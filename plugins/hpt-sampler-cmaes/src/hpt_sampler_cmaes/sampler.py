"""The sampler ``cmaes``: replays the evolutions of a study and draws from the current one."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hpt_core import History, Mistake, Params, Space, Suggestion, UsageError, option
from hpt_sampler_cmaes.encoding import Encoding
from hpt_sampler_cmaes.evolution import Evolution, next_population
from hpt_sampler_cmaes.generations import Generations, Individual

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["CmaesSampler"]

_DRAWS = 50  # largest number of draws in search of an untried point


class Evolutions(threading.local):  # as `Generations`
    """The evolutions of a space, each with the generations that it was told."""

    def __init__(self) -> None:
        self.cache: dict[tuple[str, str], tuple[list[list[Individual]], Evolution]] = {}

    def __reduce__(self) -> tuple[type[Evolutions], tuple[()]]:
        return Evolutions, ()


@attrs.define(kw_only=True)
class CmaesSampler:
    """CMA-ES: a normal distribution that adapts shape and step size, for numeric spaces and hundreds of trials.

    A margin keeps every integer, ordinal and category possible (CatCMA with Margin). A generation needs ``population``
    results, in whatever order they end. After convergence or stagnation the search restarts at a random point with
    twice the population. It begins at the best known point, else at the default point. One objective only.

    Every suggestion carries ``info`` with ``evolution`` (number of restarts so far), ``generation``, ``start`` (how the
    evolution began) and the draw itself, ``raw`` and ``places``, from which the state is replayed.
    """

    population: int | None = option(
        None, ge=4, le=100_000, help="Results per generation; none: 4 + 3 ln(number of parameters)."
    )
    sigma: float = option(0.25, gt=0, le=1, help="Initial standard deviation, as a fraction of each range.")

    _generations: Generations = attrs.field(init=False, factory=Generations, repr=False, eq=False)
    _evolutions: Evolutions = attrs.field(init=False, factory=Evolutions, repr=False, eq=False)

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Reject several objectives.

        Raises:
            UsageError: If there are several.
        """
        del space
        if len(objectives) > 1:
            message = f"The sampler 'cmaes' supports one objective. Got {', '.join(objectives)}. Use 'bayes' or 'tpe'."
            raise UsageError(Mistake("", message))

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """Propose the next configuration; a pure function of ``history`` and ``rng``."""
        encoding = Encoding.of(history.space)
        if not encoding.n_columns:
            return Suggestion(history.space.default(), {"model": "cmaes"})
        start, evolution = self._replayed(history, encoding, rng)
        first = not any(t.info.get("model") == "cmaes" for t in history.trials)
        centre = [encoding.encode(_initial_point(history))] if first else []
        for raw, places in chain(centre, evolution.draw(rng, _DRAWS)):
            params = encoding.decode(raw, places)
            if history.untried(params):
                break
        info = {"model": "cmaes", "evolution": evolution.number, "generation": evolution.generation}
        return Suggestion(params, {**info, "raw": raw.tolist(), "places": places, "start": start})

    def _replayed(self, history: History, encoding: Encoding, rng: Generator) -> tuple[dict[str, Any], Evolution]:
        """The start and the state of the current evolution."""
        self._generations.follow(history, encoding)
        starts = self._generations.starts(history, encoding)
        population = self.population or 4 + math.floor(3 * math.log(encoding.n_columns))
        start = starts.get(0) or self._start(0, population, encoding.encode(_initial_point(history))[0].tolist())
        while True:
            evolution = self._evolution(encoding, start)
            if not evolution.finished:
                return start, evolution
            number = evolution.number + 1
            again = evolution.population if evolution.lost else next_population(evolution.population, population)
            start = starts.get(number) or self._start(number, again, rng.random(encoding.n_normal).tolist())

    def _start(self, number: int, population: int, mean: list[float]) -> dict[str, Any]:
        return {"evolution": number, "population": population, "mean": mean, "sigma": self.sigma}

    def _evolution(self, encoding: Encoding, start: dict[str, Any]) -> Evolution:
        """The evolution from ``start`` through all complete generations.

        A cached evolution is continued if it is consistent with the log.
        """
        number, population, ready = start["evolution"], start["population"], list[list[Individual]]()
        while len(found := self._generations.of(number, len(ready), population)) == population:
            ready.append(found)
        place = (encoding.space.hash, repr(start))
        told, evolution = self._evolutions.cache.get(place) or ([], Evolution(encoding, start))
        if told != ready[: len(told)]:  # the log no longer agrees with the cached generations
            evolution = Evolution(encoding, start)
        for generation in ready[evolution.generation :]:
            if not evolution.finished:
                evolution.advance(generation)
        same_space = {key: value for key, value in self._evolutions.cache.items() if key[0] == place[0]}
        self._evolutions.cache = {**same_space, place: (ready[: evolution.generation], evolution)}
        return evolution


def _initial_point(history: History) -> Params:
    """The best feasible configuration, else that of the least violation, else the default."""
    kept, complete = history.feasible, history.complete
    if not len(complete):
        default: Params = history.space.default()
        return default
    if len(kept):
        return history.trials[int(kept[np.argmin(history.losses[kept, 0])])].params
    violation = np.nan_to_num(history.violation[complete], nan=np.inf)  # unknown if the constraint was added later
    return history.trials[int(complete[violation.argmin()])].params
