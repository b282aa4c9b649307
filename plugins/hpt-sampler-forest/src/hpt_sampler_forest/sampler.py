"""The sampler: an initial design, then the point of highest expected improvement under a random forest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from scipy.stats import qmc

from hpt_core import History, Params, Space, Suggestion, option
from hpt_sampler_forest.branches import neglected
from hpt_sampler_forest.model import Encoder, FloatArray, Forest, log_improvement
from hpt_sampler_forest.observations import Observations, observe

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["ForestSampler"]

_ENUMERATED = 2000  # configurations up to which a finite space is scored whole
_SPREAD = 400  # random configurations that are scored
_STARTS = 5  # configurations from which the local search starts: the best ones known, and the best ones scored
_ROUNDS = 6  # of the local search, at most
_EXCHANGES = 500  # of one parameter for another value, at most: they are encoded with a column for each choice
_SCALES = (0.2, 0.05, 0.01)  # how far it moves continuous parameters, beside `Space.neighbours`
_BEHIND = 1e13  # by how much other branches score less than one that is due; more than scores differ by, less than inf
_STREAM = 0xF03E57  # keeps the draws of the design apart from others that start from the study's seed

Score = Callable[[list[Params]], FloatArray]


@attrs.define(kw_only=True)
class ForestSampler:
    """Bayesian optimisation with a random forest: for many categories and branches, and rough functions.

    The first suggestion is the space's default point, the next are scrambled Sobol points; from ``n_initial`` results
    on the forest chooses: random points are scored by log expected improvement, the best ones improved by local search.
    Running trials count as if they had given what the forest predicts, failed ones repel. Several objectives are
    scalarised with random weights.

    Every suggestion carries ``info``: ``model`` (``"initial"``, ``"forest"`` or ``"random"``), and of the forest
    ``acquisition`` (log expected improvement, on the scale it learns on) and ``results`` (how many it has learnt from).
    """

    n_initial: int = option(6, ge=1, help="Results to wait for before the forest chooses.")
    trees: int = option(30, ge=2, help="Trees of the forest.")
    random: float = option(0.1, ge=0, le=1, help="Fraction of the suggestions drawn at random, as SMAC does.")

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """Propose the next configuration; a pure function of ``history`` and ``rng``."""
        space, unseen = history.space, _unseen(history)
        seen = observe(history, rng)
        least = max(2, self.n_initial // 2)
        if seen.results < least or seen.results + len(seen.pending) < self.n_initial or not space.columns:
            return self._initial(history, unseen, rng)
        if rng.random() < self.random:  # a forest is sure of what it has hardly seen: a branch with an unlucky start
            return Suggestion(_any(space, unseen, rng), {"model": "random"})
        score = self._score(history, seen, rng)
        if unseen is None:
            known = sorted(range(seen.results), key=lambda i: (seen.y[i], i))[:_STARTS]
            best = [history.trials[int(seen.numbers[i])].params for i in known]
            found, values = _search(space, score, best, rng)
        else:
            found, values = unseen, score(unseen)
        for i in np.argsort(-values, kind="stable"):
            if unseen is not None or space.key(found[i]) not in history.keys:
                info = {"model": "forest", "acquisition": float(values[i]), "results": seen.results}
                return Suggestion(found[i], info)
        return Suggestion(space.sample(rng), {"model": "random"})

    def _initial(self, history: History, unseen: list[Params] | None, rng: Generator) -> Suggestion:
        """The first point of the design that nobody has taken, else a random one."""
        space, d = history.space, len(history.space.columns)
        design = [space.default()]
        if 0 < d <= qmc.Sobol.MAXDIM:
            sobol = qmc.Sobol(d, scramble=True, rng=np.random.default_rng([_STREAM, history.seed]))
            design += space.from_unit(sobol.random_base2(3 + int(np.log2(self.n_initial))))[: self.n_initial - 1]
        for index, params in enumerate(design):
            if space.key(params) not in history.keys:
                return Suggestion(params, {"model": "initial", "index": index})
        return Suggestion(_any(space, unseen, rng), {"model": "initial", "index": None})

    def _score(self, history: History, seen: Observations, rng: Generator) -> Score:
        """Log expected improvement of configurations below the best result so far."""
        encoder = Encoder.of(history.space)
        x, y = encoder.encode(history.unit[seen.numbers]), seen.y
        forest = Forest.fit(x, y, self.trees, rng)
        if len(seen.pending):
            running = encoder.encode(history.unit[seen.pending])
            believed = forest.predict(running)[0]
            forest = Forest.fit(np.vstack([x, running]), np.concatenate([y, believed]), self.trees, rng)
        target, owed = float(y[: seen.results].min()), neglected(history)

        def score(configurations: list[Params]) -> FloatArray:
            mean, variance = forest.predict(encoder.encode(history.space.to_unit(configurations)))
            values = log_improvement(target, mean, variance)
            other = [owed is not None and params.get(owed[0]) != owed[1] for params in configurations]
            return values - np.multiply(other, _BEHIND)

        return score


def _any(space: Space, unseen: list[Params] | None, rng: Generator) -> Params:
    return unseen[int(rng.integers(len(unseen)))] if unseen else space.sample(rng)


def _search(space: Space, score: Score, best: Sequence[Params], rng: Generator) -> tuple[list[Params], FloatArray]:
    """Score random configurations, and what a local search finds from the best of them and from ``best``.

    Returns:
        All configurations that were scored, and their scores.
    """
    found = list(space.from_unit(rng.random((_SPREAD, len(space.columns)))))
    values = score(found)
    starts = [*best, *(found[i] for i in np.argsort(-values, kind="stable")[:_STARTS])]
    reached = -np.inf
    for _ in range(_ROUNDS):
        near = [other for start in starts for other in (*_exchanged(space, start, rng), *_moved(space, start, rng))]
        scored = score(near)
        found, values = found + near, np.concatenate([values, scored])
        top = np.argsort(-scored, kind="stable")[:_STARTS]
        if scored[top[0]] <= reached:
            break
        reached, starts = float(scored[top[0]]), [near[i] for i in top]
    return found, values


def _exchanged(space: Space, params: Params, rng: Generator) -> list[Params]:
    """Configurations one exchange away, some of them where a parameter with very many choices has more."""
    near = space.neighbours(params)
    if len(near) <= _EXCHANGES:
        return near
    return [near[i] for i in rng.choice(len(near), _EXCHANGES, replace=False)]


def _moved(space: Space, params: Params, rng: Generator) -> list[Params]:
    """Configurations around one: each ordered parameter moved with a chance of a half, by each of the scales."""
    unit = space.to_unit(params)
    ordered = np.array([space[name].ordered for name in space.columns])
    row = np.nan_to_num(unit, nan=0.5)
    scales = np.repeat(_SCALES, 2)[:, None]
    step = rng.normal(size=(len(scales), len(row))) * scales * (rng.random((len(scales), len(row))) < 0.5) * ordered
    moved: list[Params] = space.from_unit(np.clip(row + step, 0.0, 1.0))
    return moved


def _unseen(history: History) -> list[Params] | None:
    """All configurations of a small finite space that no trial has taken; None for any other space.

    Where all were taken they are all there again: the study allows repeats, or has ended.
    """
    space: Any = history.space
    if space.size is None or space.size > _ENUMERATED:
        return None
    return [params for params in space.grid() if space.key(params) not in history.keys] or list(space.grid())
