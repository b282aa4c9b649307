"""Evolutions: the states of CMA-ES, each one replayed from what the log says of its generations.

A trial notes from which generation of which evolution it was drawn, and what the draw was. The first ``population``
results of a generation, in the order in which they ended, make the next one; what ends later is too late, and while
workers wait for none of them, more are drawn from the same distribution. So the state is a function of the log alone.

Complete results are the better ones, then come those stopped early (the further the better), those that break the
study's constraints (the less the better; Deb 2000, An efficient constraint handling method for genetic algorithms,
section 3), then failures. CMA-ES looks at ranks, and for the borders of the space at quartiles of the losses: one
diverged trial changes next to nothing.

The distribution is that of Hamano et al., CatCMA with Margin, arXiv 2504.07884; restarts with a doubled population are
those of Auger and Hansen, A Restart CMA Evolution Strategy With Increasing Population Size, CEC 2005.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from cmaes import CatCMAwM

from hpt_core import History, State, Trial
from hpt_sampler_cmaes.coding import Coding, FloatArray

__all__ = ["Evolution", "Member", "generations", "next_population"]

_DOUBLINGS = 6
_FLAT = 1e-12  # relative difference below which losses are the same


@attrs.frozen(eq=False)
class Member:
    """A trial that has a rank in its generation.

    Attributes:
        raw: What was drawn: the normal vector,
        places: and the categories.
        loss: The loss, infinite if the trial failed, was stopped early or breaks a constraint.
        rank: What it is ranked by.
    """

    raw: FloatArray
    places: list[int]
    loss: float
    rank: tuple[float, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for members that say the same."""
        return (self.raw.tobytes(), *self.places, self.rank)


def generations(history: History, coding: Coding) -> dict[tuple[int, int], list[Member]]:
    """(evolution, generation) -> its members with evidence, in the order in which they ended."""
    found: dict[tuple[int, int], list[tuple[tuple[float, int], Member]]] = {}
    dead = {int(n) for n in history.failed}
    beyond = history.violation if history.constraints else np.zeros(len(history.trials))
    usable = [*history.complete, *history.stopped, *history.failed, *history.pending]
    for number in sorted(int(n) for n in usable):
        trial = history.trials[number]
        drawn = _drawn(trial.info, coding)
        rank = _rank(history, trial, float(beyond[number]), failed=number in dead)
        if drawn is not None and rank is not None:
            member = Member(*drawn, rank[1] if rank[0] == 0.0 else math.inf, rank)
            when = (math.inf if trial.ended is None else trial.ended, number)
            found.setdefault((trial.info["evolution"], trial.info["generation"]), []).append((when, member))
    return {key: [member for _, member in sorted(each, key=lambda e: e[0])] for key, each in found.items()}


def _drawn(info: Mapping[str, Any], coding: Coding) -> tuple[FloatArray, list[int]] | None:
    """The draw that a trial notes; None if it is none of this space."""
    raw, places = info.get("raw"), info.get("places")
    if info.get("model") != "cmaes" or not isinstance(raw, list) or not isinstance(places, list):
        return None
    fits = len(raw) == coding.normal and len(places) == len(coding.categorical)
    fits = fits and all(0 <= place < len(units) for place, units in zip(places, coding.categories, strict=True))
    return (np.array(raw, dtype=np.float64), places) if fits else None


def _rank(history: History, trial: Trial, beyond: float, *, failed: bool) -> tuple[float, ...] | None:
    """What a trial is ranked by, the smaller the better; None without evidence."""
    if failed:
        return (3.0,)
    if trial.state is State.COMPLETE:
        loss = float(history.losses[trial.number, 0])
        return (2.0, beyond, loss) if beyond > 0.0 else (0.0, loss)
    if trial.reports and trial.state in (State.STOPPED, State.PAUSED):
        losses = [loss for _, loss in history.curve(trial)]
        loss = sum(losses) / len(losses) if history.evidence == "folds" else losses[-1]
        return (1.0, float(-trial.reports[-1].step), loss)
    return (3.0,) if trial.state is State.STOPPED else None


class Evolution:
    """One run of CMA-ES, from its start to where the log has brought it.

    Attributes:
        number: Its number; each restart has the next.
        generation: The generation that is being drawn now.
        population: How many results a generation needs.
        finished: Whether it has converged, or does not get any further.
    """

    def __init__(self, coding: Coding, start: Mapping[str, Any]) -> None:
        self.number = int(start["evolution"])
        self.generation = 0
        self.population = int(start["population"])
        self.finished = False
        self._coding = coding
        self._best: list[float] = []
        given: dict[str, Any] = {}
        if coding.normal:
            given = {"mean": np.array(start["mean"], dtype=np.float64), "sigma": float(start["sigma"])}
            given["cov"] = np.eye(coding.normal)
        self._cma = CatCMAwM(**coding.spaces(), population_size=self.population, seed=0, **given)

    def advance(self, members: Sequence[Member]) -> None:
        """Go on to the next generation.

        Args:
            members: ``population`` members of this one.
        """
        ranked = sorted(members, key=lambda member: member.rank)
        told = list(zip(map(self._solution, ranked), _losses(ranked), strict=True))
        with np.errstate(all="ignore"):
            self._cma.tell(told)
        self.generation += 1
        self._best.append(ranked[0].loss)
        self.finished = self._stuck() or self._narrow(ranked)

    def draw(self, rng: np.random.Generator, count: int) -> Iterator[tuple[FloatArray, list[int]]]:
        """``count`` draws from the present distribution, each made when it is asked for."""
        self._cma.reseed_rng(int(rng.integers(2**32)))
        for _ in range(count):
            solution = self._cma.ask()
            raw = solution._v_raw if self._coding.normal else np.empty(0)  # noqa: SLF001 - tell() needs the draw itself
            places = [] if solution.c is None else [int(row.argmax()) for row in solution.c]
            yield np.asarray(raw), places

    def _solution(self, member: Member) -> CatCMAwM.Solution:
        """What `CatCMAwM.ask` gave when the member was drawn."""
        c = None
        if member.places:
            widest = max(len(units) for units in self._coding.categories)
            c = np.zeros((len(member.places), widest), dtype=bool)
            c[np.arange(len(member.places)), member.places] = True
        return CatCMAwM.Solution(None, None, c, member.raw)

    def _stuck(self) -> bool:
        """Whether the best of each of the latest generations was the same (the tolfun rule of CMA-ES)."""
        window = 10 + math.ceil(30 * self._coding.size / self.population)
        latest = self._best[-window:]
        if len(latest) < window or not math.isfinite(max(latest)):
            return False
        return max(latest) - min(latest) <= _FLAT * max(1e-300, abs(max(latest)))

    def _narrow(self, members: Sequence[Member]) -> bool:
        """Whether a generation is as good as one point: nothing can be learnt from what follows."""
        raw = np.array([member.raw for member in members])
        if not np.isfinite(raw).all():
            return True
        continuous = len(self._coding.continuous)
        if continuous == 0:
            return False
        return bool((raw[:, :continuous].std(axis=0) < 1e-9).all())  # two lattice steps are 2e-12


def _losses(ranked: Sequence[Member]) -> list[float]:
    """Losses to tell for members in order of rank: those without one come behind the worst, in steps of the range.

    Where the quartiles are equal, which `cmaes` cannot take in a first generation, the places are told.
    """
    known = [member.loss for member in ranked if math.isfinite(member.loss)]
    worst = known[-1] if known else 0.0
    step = max(worst - known[0] if known else 0.0, abs(worst) * _FLAT, 1e-300)
    order = {rank: k for k, rank in enumerate(dict.fromkeys(m.rank for m in ranked[len(known) :]), start=1)}
    found = known + [worst + step * order[member.rank] for member in ranked[len(known) :]]
    if not found[len(found) // 4] < found[3 * len(found) // 4] < math.inf:
        return [float(place) for place in range(len(found))]
    return found


def next_population(before: int, default: int) -> int:
    """The population of a restart: twice the one before, up to 64 times the default."""
    return min(2 * before, default << _DOUBLINGS)
