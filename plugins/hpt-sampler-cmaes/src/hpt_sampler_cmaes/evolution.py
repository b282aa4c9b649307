"""Evolutions: the states of CMA-ES, each replayed from its logged generations.

Each trial records the evolution and generation that it was drawn from, and the draw itself. The first ``population``
results of a generation, in the order in which they ended, make the next generation; later ones are ignored. Until then
further trials are drawn from the same distribution, so no worker waits. The state is thus a function of the log alone.
In a reproducible study with several workers, the results count in order of trial number, as when they ended is a matter
of timing.

CMA-ES uses ranks, and quartiles of the losses for the bounds of the space, so one diverged trial has almost no effect.

The distribution is that of Hamano et al., CatCMA with Margin, arXiv 2504.07884. Restarts with a doubled population
follow Auger and Hansen, A Restart CMA Evolution Strategy With Increasing Population Size, CEC 2005.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from cmaes import CatCMAwM

from hpt_sampler_cmaes.generations import FAILED, Individual

if TYPE_CHECKING:
    from hpt_sampler_cmaes.encoding import Encoding, FloatArray

__all__ = ["Evolution", "next_population"]

_DOUBLINGS = 6  # largest number of doublings of the population
_FLAT = 1e-12  # relative difference below which losses are equal


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
        failed = ranked[0].rank == FAILED
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
