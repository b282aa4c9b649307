"""What may still be gained, by joint draws of the model at the incumbent and at promising candidates."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped] # ships no types

from hpt_stopping_regret import gp
from hpt_stopping_regret.points import categorical_columns, encoded, near, pool, softened

if TYPE_CHECKING:
    from hpt_core import Space

__all__ = ["Outlook", "look"]

Array = NDArray[np.float64]

_FITTED = 90  # points to fit the hyperparameters to
_POINTS = 220  # points to condition the model on
_AROUND, _THETAS, _DRAWS = 400, 4, 64  # points all over the space; hyperparameter vectors; draws under each
_ROUNDS = ((0.15, 40), (0.04, 40), (0.01, 40))  # rounds of the search for candidates: width, points per centre
_CENTRES, _CANDIDATES, _OBSERVED = 6, 110, 20
_CONFIDENCE = 0.95  # of the lower bound on the probability of a small regret
_SALT = 20240527  # arbitrary: the draws are a fixed part of the rule, like the nodes of a quadrature


@attrs.frozen(eq=False)
class Outlook:
    """What a study may still gain, in the objective's unit.

    Attributes:
        improvement: The largest expected improvement by one more trial.
        regrets: Joint posterior draws of f(incumbent) - min f, ascending, each >= 0.
    """

    improvement: float
    regrets: Array

    @property
    def gain(self) -> float:
        """The expected remaining gain: how much better the best of all points is expected to be."""
        return float(self.regrets.mean())

    def chance(self, epsilon: float) -> float:
        """The share of draws in which the regret is at most ``epsilon``."""
        return float(np.searchsorted(self.regrets, epsilon, "right")) / len(self.regrets)

    def surely(self, epsilon: float) -> float:
        """A lower confidence bound (95 %, Clopper and Pearson) on the probability that `chance` estimates."""
        hits = int(np.searchsorted(self.regrets, epsilon, "right"))
        return float(betaincinv(hits, len(self.regrets) - hits + 1, 1 - _CONFIDENCE)) if hits else 0.0


def look(space: Space, unit: Array, losses: Array, yardstick: float) -> Outlook:
    """Estimate what is left to gain.

    A pure function of the set of results, whatever their order. The latest outlooks are cached, so both rules of a
    study share one, and a judgement of the same results reuses it.

    Args:
        space: The space.
        unit: Unit coordinates of the results, (n, d); NaN where inactive.
        losses: Finite, (n,).
        yardstick: A typical distance of losses from the best, see `points.reach`; 0 if all losses are equal.
    """
    return _looked(space, unit.tobytes(), losses.tobytes(), yardstick)


@lru_cache(maxsize=32)
def _looked(space: Space, unit: bytes, losses: bytes, yardstick: float) -> Outlook:
    """`look`, by the bytes of the arrays: an array is no key of a cache."""
    y = np.frombuffer(losses)
    with _controller().limit(limits=1, user_api="blas"):  # for matrices this small, threads only cost time
        return _judged(space, np.frombuffer(unit).reshape(len(y), len(space.columns)), y, yardstick)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _judged(space: Space, unit: Array, losses: Array, yardstick: float) -> Outlook:
    order = np.lexsort((*np.nan_to_num(unit, nan=-1.0).T, losses))
    unit, gentle = unit[order], softened(losses[order], yardstick)
    centre, scale = float(gentle.mean()), float(gentle.std())
    if not unit.shape[1] or scale <= 1e-12 * max(abs(centre), 1e-300):
        return Outlook(0.0, np.zeros(_THETAS * _DRAWS))  # there are no parameters, or all losses are equal
    categorical = categorical_columns(space)
    points, y = encoded(unit, categorical), (gentle - centre) / scale
    rng = np.random.default_rng([_SALT, unit.shape[1]])
    kept, fitted = _spread(len(y), _POINTS), _spread(len(y), _FITTED)
    thetas = gp.fit(points[fitted], y[fitted], categorical, rng.standard_normal((_THETAS - 1, unit.shape[1] + 2)))
    models = [gp.GP.conditioned(theta, points[kept], y[kept], categorical) for theta in thetas]
    candidates, improvement = _candidates(space, models, categorical, unit[kept], float(y[0]), rng)
    at = np.vstack([points[kept][:_OBSERVED], candidates])  # the incumbent is row 0
    drawn = [model.draws(at, rng.standard_normal((len(at), _DRAWS))) for model in models]
    regrets = np.concatenate([draw[0] - draw.min(axis=0) for draw in drawn])
    return Outlook(improvement * scale, np.sort(regrets) * scale)


def _spread(count: int, limit: int) -> NDArray[np.intp]:
    """Choose at most ``limit`` of ``count`` results in order of loss: half of them the best, the rest evenly spaced."""
    if count <= limit:
        return np.arange(count)
    head = limit // 2
    return np.concatenate([np.arange(head), np.linspace(head, count - 1, limit - head).round().astype(np.intp)])


def _candidates(
    space: Space,
    models: list[gp.GP],
    categorical: NDArray[np.bool_],
    unit: Array,
    incumbent: float,
    rng: np.random.Generator,
) -> tuple[Array, float]:
    """Search for the points of highest expected improvement and of lowest confidence bound.

    The search proceeds in rounds around the best points so far. With points all over the space alone, the minimum would
    be overestimated, and so the regret underestimated.

    Returns:
        Encoded points (m, p), and the highest expected improvement.
    """
    found = np.vstack([pool(space, _AROUND, rng), near(space, unit[:3], 20, 0.02, rng)])
    gains, bounds = _scores(models, encoded(found, categorical), incumbent)
    for scale, count in _ROUNDS:
        best = np.unique(np.concatenate([np.argsort(-gains)[: _CENTRES // 2], np.argsort(bounds)[: _CENTRES // 2]]))
        more = near(space, found[best], count, scale, rng)
        scores = _scores(models, encoded(more, categorical), incumbent)
        found = np.vstack([found, more])
        gains, bounds = np.concatenate([gains, scores[0]]), np.concatenate([bounds, scores[1]])
    half = _CANDIDATES // 2
    chosen = np.unique(np.concatenate([np.argsort(-gains)[:half], np.argsort(bounds)[:half]]))
    return encoded(found[chosen], categorical), float(gains.max())


def _scores(models: list[gp.GP], at: Array, incumbent: float) -> tuple[Array, Array]:
    """The expected improvement, averaged over the models, and their lowest confidence bound, both (m,)."""
    gains, bounds = np.zeros(len(at)), np.full(len(at), math.inf)
    for model in models:
        mean, sd = model.marginal(at)
        z = (incumbent - mean) / sd
        gains += sd * (z * ndtr(z) + np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)) / len(models)
        bounds = np.minimum(bounds, mean - 2.0 * sd)
    return np.maximum(gains, 0.0), bounds
