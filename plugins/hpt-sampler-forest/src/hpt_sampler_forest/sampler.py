"""The sampler ``forest``: an initial design, then expected improvement under a random forest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from scipy.stats import qmc

from hpt_core import History, Params, Space, Suggestion, option
from hpt_sampler_forest.branches import neglected
from hpt_sampler_forest.model import Encoder, FloatArray, Forest, log_expected_improvement
from hpt_sampler_forest.observations import Observations, observe

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["ForestSampler"]

_ENUMERATED = 2000  # finite spaces of up to this many configurations are scored completely
_RANDOM_CANDIDATES = 400  # random configurations scored
_STARTS = 5  # starts of the local search, once from the best trials and once from the best random configurations
_ROUNDS = 6  # most rounds of the local search
_MAX_EXCHANGES = 500  # most one-exchange neighbours per start, to bound memory: the encoding has a column per choice
_SCALES = (0.2, 0.05, 0.01)  # standard deviations of moves of ordered parameters, besides `Space.neighbours`
_PENALTY = 1e13  # subtracted where a requirement is broken or another branch is due; exceeds any score difference
_STREAM = 0xF03E57  # separates the draws of the design from others that use the study's seed

Score = Callable[[list[Params]], FloatArray]


@attrs.define(kw_only=True)
class ForestSampler:
    """Bayesian optimisation with a random forest: for many categories and branches, and for rough functions.

    The first suggestion is the space's default point, the next ones are scrambled Sobol points. Once there are
    ``n_initial`` results, the forest takes over: random points are scored by log expected improvement, and the best
    ones are improved by local search. Running trials are assumed to have the loss that the forest predicts (kriging
    believer), and failed ones repel. Several objectives are scalarised with random weights.

    Every suggestion carries ``info`` with ``model`` (``"initial"``, ``"forest"`` or ``"random"``). With ``"forest"`` it
    also has ``acquisition`` (log expected improvement of the transformed losses) and ``results`` (number of results
    learnt from).
    """

    n_initial: int = option(
        6, ge=1, le=100_000, help="Number of results before the forest takes over from the initial design."
    )
    trees: int = option(30, ge=2, le=10_000, help="Number of trees in the forest.")
    random: float = option(0.1, ge=0, le=1, help="Fraction of suggestions drawn at random, as in SMAC.")

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """Propose the next configuration; a pure function of ``history`` and ``rng``."""
        space, unseen = history.space, _unseen(history)
        seen = observe(history, rng)
        least = max(2, self.n_initial // 2)
        if seen.results < least or seen.results + len(seen.pending) < self.n_initial or not space.columns:
            return self._initial(history, unseen, rng)
        if rng.random() < self.random:  # a forest is overconfident about branches with few trials
            return Suggestion(_random_unseen(space, unseen, rng), {"model": "random"})
        score = self._score(history, seen, rng)
        if unseen is None:
            known = sorted(range(seen.results), key=lambda i: (seen.y[i], i))[:_STARTS]
            best = [history.trials[int(seen.numbers[i])].params for i in known]
            found, values = _search(space, score, best, rng)
        else:
            found, values = unseen, score(unseen)
        for i in np.argsort(-values, kind="stable"):
            if unseen is not None or history.untried(found[i]):
                info = {"model": "forest", "acquisition": float(values[i]), "results": seen.results}
                return Suggestion(found[i], info)
        return Suggestion(space.sample(rng), {"model": "random"})

    def _initial(self, history: History, unseen: list[Params] | None, rng: Generator) -> Suggestion:
        """The first untried point of the initial design, else a random one."""
        space, d = history.space, len(history.space.columns)
        design = [space.default()]
        if 0 < d <= qmc.Sobol.MAXDIM:
            sobol = qmc.Sobol(d, scramble=True, rng=np.random.default_rng([_STREAM, history.seed]))
            design += space.from_unit(sobol.random_base2(3 + int(np.log2(self.n_initial))))[: self.n_initial - 1]
        for index, params in enumerate(design):
            if history.untried(params):
                return Suggestion(params, {"model": "initial", "index": index})
        return Suggestion(_random_unseen(space, unseen, rng), {"model": "initial", "index": None})

    def _score(self, history: History, seen: Observations, rng: Generator) -> Score:
        """A function that scores configurations by log expected improvement over the best result so far."""
        encoder = Encoder.of(history.space)
        x, y = encoder.encode(history.unit[seen.numbers]), seen.y
        forest = Forest.fit(x, y, self.trees, rng)
        if len(seen.pending):
            running = encoder.encode(history.unit[seen.pending])
            believed = forest.predict(running)[0]
            forest = Forest.fit(np.vstack([x, running]), np.concatenate([y, believed]), self.trees, rng)
        target, due = float(y[: seen.results].min()), neglected(history)

        def score(configurations: list[Params]) -> FloatArray:
            mean, variance = forest.predict(encoder.encode(history.space.to_unit(configurations)))
            values = log_expected_improvement(target, mean, variance)
            barred = [
                not history.space.allows(params) or (due is not None and params.get(due[0]) != due[1])
                for params in configurations
            ]
            return values - np.multiply(barred, _PENALTY)

        return score


def _random_unseen(space: Space, unseen: list[Params] | None, rng: Generator) -> Params:
    return unseen[int(rng.integers(len(unseen)))] if unseen else space.sample(rng)


def _search(space: Space, score: Score, best: Sequence[Params], rng: Generator) -> tuple[list[Params], FloatArray]:
    """Score random configurations, and those of a local search from the best of them and from ``best``.

    Returns:
        All configurations that were scored, and their scores.
    """
    found = list(space.from_unit(rng.random((_RANDOM_CANDIDATES, len(space.columns)))))
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
    """Configurations one exchange away; a random subset if there are more than `_MAX_EXCHANGES`."""
    near = space.neighbours(params)
    if len(near) <= _MAX_EXCHANGES:
        return near
    return [near[i] for i in rng.choice(len(near), _MAX_EXCHANGES, replace=False)]


def _moved(space: Space, params: Params, rng: Generator) -> list[Params]:
    """Configurations around one, two per scale: each ordered parameter is moved with probability 0.5."""
    unit = space.to_unit(params)
    ordered = np.array([space[name].ordered for name in space.columns])
    row = np.nan_to_num(unit, nan=0.5)
    scales = np.repeat(_SCALES, 2)[:, None]
    step = rng.normal(size=(len(scales), len(row))) * scales * (rng.random((len(scales), len(row))) < 0.5) * ordered
    moved: list[Params] = space.from_unit(np.clip(row + step, 0.0, 1.0))
    return moved


def _unseen(history: History) -> list[Params] | None:
    """All untried configurations of a small finite space; None for any other space.

    If all were tried, the study allows repeats or has ended, so all configurations are returned.
    """
    space: Any = history.space
    if space.size is None or space.size > _ENUMERATED:
        return None
    return [params for params in space.grid() if history.untried(params)] or list(space.grid())
