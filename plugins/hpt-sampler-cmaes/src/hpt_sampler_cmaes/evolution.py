"""Evolutions: the states of CMA-ES, each replayed from its logged generations.

Each trial records the evolution and generation that it was drawn from, and the draw itself. The first ``population``
results of a generation, in the order in which they ended, make the next generation; later ones are ignored. Until then
further trials are drawn from the same distribution, so no worker waits. The state is thus a function of the log alone.
In a reproducible study with several workers, the results count in order of trial number, as when they ended is a matter
of timing.

Feasible complete trials rank first, then trials stopped early (later steps first), then infeasible ones (least
violation first; Deb 2000, An efficient constraint handling method for genetic algorithms, section 3), then failures.
CMA-ES uses ranks, and quartiles of the losses for the bounds of the space, so one diverged trial has almost no effect.

The distribution is that of Hamano et al., CatCMA with Margin, arXiv 2504.07884. Restarts with a doubled population
follow Auger and Hansen, A Restart CMA Evolution Strategy With Increasing Population Size, CEC 2005.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from cmaes import CatCMAwM

from hpt_core import History, State, Trial
from hpt_sampler_cmaes.encoding import Encoding, FloatArray

__all__ = ["Evolution", "Individual", "generations", "next_population"]

_DOUBLINGS = 6  # largest number of doublings of the population
_FAILED = (3.0,)  # the rank of a trial without any value
_FLAT = 1e-12  # relative difference below which losses are equal


@attrs.frozen(eq=False)
class Individual:
    """A trial that has a rank in its generation.

    Attributes:
        raw: The normal vector drawn.
        places: The categories drawn.
        loss: The loss, infinite if the trial failed, was stopped early or is infeasible.
        rank: The sort key, smaller is better.
    """

    raw: FloatArray
    places: list[int]
    loss: float
    rank: tuple[float, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for individuals with the same draw and rank."""
        return (self.raw.tobytes(), *self.places, self.rank)


def generations(history: History, encoding: Encoding) -> dict[tuple[int, int], list[Individual]]:
    """(evolution, generation) -> its individuals, in the order in which they count."""
    timeless = history.definition.get("reproducible", 0) > 1
    found: dict[tuple[int, int], list[tuple[tuple[float, int], Individual]]] = {}
    dead = {int(n) for n in history.failed}
    beyond = history.violation if history.constraints else np.zeros(len(history.trials))
    usable = [*history.complete, *history.stopped, *history.failed, *history.pending]
    for number in sorted(int(n) for n in usable):
        trial = history.trials[number]
        drawn = _recorded_draw(trial.info, encoding)
        rank = _rank(history, trial, float(beyond[number]), failed=number in dead)
        if drawn is not None and rank is not None:
            individual = Individual(*drawn, rank[1] if rank[0] == 0.0 else math.inf, rank)
            when = (math.inf if trial.ended is None else 0.0 if timeless else trial.ended, number)
            found.setdefault((trial.info["evolution"], trial.info["generation"]), []).append((when, individual))
    return {key: [individual for _, individual in sorted(each, key=lambda e: e[0])] for key, each in found.items()}


def _recorded_draw(info: Mapping[str, Any], encoding: Encoding) -> tuple[FloatArray, list[int]] | None:
    """The draw that a trial recorded; None if there is none or it does not fit this space."""
    raw, places = info.get("raw"), info.get("places")
    if info.get("model") != "cmaes" or not isinstance(raw, list) or not isinstance(places, list):
        return None
    fits = len(raw) == encoding.n_normal and len(places) == len(encoding.categorical)
    fits = fits and all(0 <= place < len(units) for place, units in zip(places, encoding.categories, strict=True))
    return (np.array(raw, dtype=np.float64), places) if fits else None


def _rank(history: History, trial: Trial, beyond: float, *, failed: bool) -> tuple[float, ...] | None:
    """The sort key of a trial, smaller is better; None if it has no evidence."""
    if failed:
        return _FAILED
    if trial.state is State.COMPLETE:
        loss = float(history.losses[trial.number, 0])
        return (2.0, beyond, loss) if beyond > 0.0 else (0.0, loss)
    if trial.reports and trial.state in (State.STOPPED, State.PAUSED):
        losses = [loss for _, loss in history.curve(trial)]
        loss = sum(losses) / len(losses) if history.evidence == "folds" else losses[-1]
        return (1.0, float(-trial.reports[-1].step), loss)
    return _FAILED if trial.state is State.STOPPED else None


class Evolution:
    """One run of CMA-ES, from its start to the state that the log implies.

    Attributes:
        number: Its number, counting restarts from 0.
        generation: The generation that is drawn now.
        population: Number of results that a generation needs.
        finished: Whether it has converged or stagnated, or is `lost`.
        lost: Whether all trials of the first generation failed, so that there is no direction.
    """

    def __init__(self, encoding: Encoding, start: Mapping[str, Any]) -> None:
        self.number = int(start["evolution"])
        self.generation = 0
        self.population = int(start["population"])
        self.finished = self.lost = False
        self._encoding = encoding
        self._best: list[float] = []
        given: dict[str, Any] = {}
        if encoding.n_normal:
            given = {"mean": np.array(start["mean"], dtype=np.float64), "sigma": float(start["sigma"])}
            given["cov"] = np.eye(encoding.n_normal)
        self._cma = CatCMAwM(**encoding.spaces(), population_size=self.population, seed=0, **given)

    def advance(self, individuals: Sequence[Individual]) -> None:
        """Update the distribution to the next generation, unless all failed: then it is drawn from again.

        Args:
            individuals: ``population`` individuals of the current generation.
        """
        ranked = sorted(individuals, key=lambda individual: individual.rank)
        failed = ranked[0].rank == _FAILED
        self.lost = failed and not self.generation
        if not failed:
            solutions = list(zip(map(self._solution, ranked), _losses(ranked), strict=True))
            with np.errstate(all="ignore"):
                self._cma.tell(solutions)
        self.generation += 1
        self._best.append(self._best[-1] if failed and self._best else ranked[0].loss)
        self.finished = self.lost or self._stagnated() or self._collapsed(ranked)

    def draw(self, rng: np.random.Generator, count: int) -> Iterator[tuple[FloatArray, list[int]]]:
        """Lazily make ``count`` draws from the current distribution."""
        self._cma.reseed_rng(int(rng.integers(2**32)))
        for _ in range(count):
            solution = self._cma.ask()
            raw = solution._v_raw if self._encoding.n_normal else np.empty(0)  # noqa: SLF001 - tell() needs the draw itself
            places = [] if solution.c is None else [int(row.argmax()) for row in solution.c]
            yield np.asarray(raw), places

    def _solution(self, individual: Individual) -> CatCMAwM.Solution:
        """The solution that `CatCMAwM.ask` returned for the individual."""
        c = None
        if individual.places:
            widest = max(len(units) for units in self._encoding.categories)
            c = np.zeros((len(individual.places), widest), dtype=bool)
            c[np.arange(len(individual.places)), individual.places] = True
        return CatCMAwM.Solution(None, None, c, individual.raw)

    def _stagnated(self) -> bool:
        """Whether the best loss was the same in each of the latest generations (the tolfun rule of CMA-ES)."""
        window = 10 + math.ceil(30 * self._encoding.n_columns / self.population)
        latest = self._best[-window:]
        if len(latest) < window or not math.isfinite(max(latest)):
            return False
        return max(latest) - min(latest) <= _FLAT * max(1e-300, abs(max(latest)))

    def _collapsed(self, individuals: Sequence[Individual]) -> bool:
        """Whether a generation is a single point up to rounding, so that further ones would teach nothing."""
        raw = np.array([individual.raw for individual in individuals])
        if not np.isfinite(raw).all():
            return True
        continuous = len(self._encoding.continuous)
        if continuous == 0:
            return False
        return bool((raw[:, :continuous].std(axis=0) < 1e-9).all())  # two lattice steps are 2e-12


def _losses(ranked: Sequence[Individual]) -> list[float]:
    """Losses for `CatCMAwM.tell`, in order of rank: those without a loss follow the worst one, in steps of the range.

    If the quartiles are equal, which `cmaes` cannot handle in a first generation, the ranks are used instead.
    """
    known = [individual.loss for individual in ranked if math.isfinite(individual.loss)]
    worst = known[-1] if known else 0.0
    step = max(worst - known[0] if known else 0.0, abs(worst) * _FLAT, 1e-300)
    order = {rank: k for k, rank in enumerate(dict.fromkeys(m.rank for m in ranked[len(known) :]), start=1)}
    found = known + [worst + step * order[individual.rank] for individual in ranked[len(known) :]]
    if not found[len(found) // 4] < found[3 * len(found) // 4] < math.inf:
        return [float(place) for place in range(len(found))]
    return found


def next_population(before: int, default: int) -> int:
    """The population of a restart: twice the previous one, up to 64 times the default."""
    return min(2 * before, default << _DOUBLINGS)
