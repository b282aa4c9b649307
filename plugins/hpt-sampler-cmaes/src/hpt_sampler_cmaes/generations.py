"""The individuals of each generation, read from a history while it grows.

Feasible complete trials rank first, then trials stopped early (later steps first), then infeasible ones (least
violation first; Deb 2000, An efficient constraint handling method for genetic algorithms, section 3), then failures.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hpt_core import State
from hpt_sampler_cmaes.encoding import Encoding, FloatArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Space, Trial

__all__ = ["FAILED", "Generations", "Individual"]

FAILED = (3.0,)
"""The rank of a trial without any value."""


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


class Generations(threading.local):  # studies in several threads may share a sampler
    """Reads the individuals from a history and keeps them in order while it grows.

    This is a cache, which never changes a result: it looks again at the trials that have changed since the last call,
    and is cleared when the study or its definition changes. A trial keeps its `Individual` while its rank is the same.
    """

    def __init__(self) -> None:
        self._space: Space | None = None
        self._clear()

    def __reduce__(self) -> tuple[type[Generations], tuple[()]]:
        return Generations, ()  # a copy starts with an empty cache

    def _clear(self) -> None:
        self._position = 0  # that of the history at the last call
        self._count = 0  # the number of its trials then
        self._running: set[int] = set()
        self._individuals: dict[int, Individual] = {}
        self._places: dict[int, tuple[tuple[int, int], tuple[float, int]]] = {}
        self._found: dict[tuple[int, int], list[tuple[tuple[float, int], Individual]]] = {}
        self._starts: dict[int, tuple[int, dict[str, Any]]] = {}
        self._scanned = 0

    def follow(self, history: History, encoding: Encoding) -> None:
        """Take note of what has changed since the last call."""
        # a different space object means another study or an amended one; comparing the contents would be slow
        if history.space is not self._space or history.position < self._position:
            self._clear()
        self._space = None  # an interrupted call begins anew
        known = history.next_number
        changed = {*history.changed_since(self._position).tolist(), *self._running}
        changed.update(range(min(known, self._count), max(known, self._count)))
        self._running = {n for n in changed if n < known and history.trials[n].state is State.RUNNING}
        usable = _among(changed, history.complete, history.stopped, history.failed, history.pending)
        dead = _among(changed, history.failed)
        violation = history.violation if history.constraints and usable else None
        timeless = history.definition.get("reproducible", 0) > 1
        for number in changed:
            self._remove(number)
            if number in usable:
                beyond = 0.0 if violation is None else float(violation[number])
                rank = _rank(history, history.trials[number], beyond, failed=number in dead)
                if rank is not None:
                    self._add(history.trials[number], rank, encoding, timeless=timeless)
        self._space, self._position, self._count = history.space, history.position, known

    def of(self, evolution: int, generation: int, count: int) -> list[Individual]:
        """The first individuals of a generation, at most ``count``, in the order in which they count."""
        return [individual for _, individual in self._found.get((evolution, generation), ())[:count]]

    def starts(self, history: History, encoding: Encoding) -> dict[int, dict[str, Any]]:
        """Number of each evolution -> its start, as recorded by its first trial."""
        for trial in history.trials[self._scanned :]:
            start = trial.info.get("start") if trial.info.get("model") == "cmaes" else None
            if isinstance(start, dict) and len(start.get("mean", ())) == encoding.n_normal:
                self._starts.setdefault(int(start["evolution"]), (trial.number, start))
        self._scanned = max(self._scanned, history.next_number)
        return {evolution: start for evolution, (number, start) in self._starts.items() if number < history.next_number}

    def _remove(self, number: int) -> None:
        if number in self._places:
            key, when = self._places.pop(number)
            group = self._found[key]
            del group[bisect_left(group, when, key=_when)]

    def _add(self, trial: Trial, rank: tuple[float, ...], encoding: Encoding, *, timeless: bool) -> None:
        individual = self._individuals.get(trial.number)
        if individual is None or individual.rank != rank:
            drawn = _recorded_draw(trial.info, encoding)
            if drawn is None:
                return
            individual = Individual(*drawn, rank[1] if rank[0] == 0.0 else math.inf, rank)
            self._individuals[trial.number] = individual
        key = trial.info["evolution"], trial.info["generation"]
        when = (math.inf if trial.ended is None else 0.0 if timeless else trial.ended, trial.number)
        self._places[trial.number] = key, when
        insort(self._found.setdefault(key, []), (when, individual), key=_when)


def _when(entry: tuple[tuple[float, int], Individual]) -> tuple[float, int]:
    return entry[0]


def _among(numbers: set[int], *columns: NDArray[np.intp]) -> set[int]:
    """Those of some numbers that are in any of some columns."""
    every = np.concatenate(columns)
    return set(every[np.isin(every, list(numbers))].tolist())


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
        return FAILED
    if trial.state is State.COMPLETE:
        loss = float(history.losses[trial.number, 0])
        return (2.0, beyond, loss) if beyond > 0.0 else (0.0, loss)
    if trial.reports and trial.state in (State.STOPPED, State.PAUSED):
        losses = [loss for _, loss in history.curve(trial)]
        loss = sum(losses) / len(losses) if history.evidence == "folds" else losses[-1]
        return (1.0, float(-trial.reports[-1].step), loss)
    return FAILED if trial.state is State.STOPPED else None
