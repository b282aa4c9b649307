"""A study's results as numbers for the model, and points of the space to ask the model about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import Space

    Array = NDArray[np.float64]

__all__ = ["categorical_columns", "encoded", "near", "pool", "reach", "softened"]

_MIDDLE, _NO_CATEGORY = 0.5, -1.0
_HIGHEST = 5.0  # yardsticks: a loss above that is just bad


def categorical_columns(space: Space) -> NDArray[np.bool_]:
    """Which columns hold categories without an order, (p,)."""
    return np.array([not space[name].ordered for name in space.columns], dtype=bool)


def encoded(unit: Array, categorical: NDArray[np.bool_]) -> Array:
    """Unit coordinates without NaN: what is inactive lies in the middle, or is a category of its own."""
    filled = np.where(categorical, _NO_CATEGORY, _MIDDLE)
    found: Array = np.where(np.isnan(unit), filled, unit)
    return found


def pool(space: Space, count: int, rng: np.random.Generator) -> Array:
    """Unit coordinates of valid points all over the space, (count, p)."""
    return _valid(space, rng.random((count, len(space.columns))))


def near(space: Space, centres: Array, count: int, scale: float, rng: np.random.Generator) -> Array:
    """Valid points around others: each changes about half of the columns, and at least one.

    Args:
        space: The space.
        centres: Unit coordinates, (k, p); NaN where inactive.
        count: Points per centre.
        scale: Standard deviation of the changes of ordered columns; categories are drawn anew.
        rng: Where the changes come from.

    Returns:
        Unit coordinates, (k * count, p).
    """
    base = np.repeat(np.where(np.isnan(centres), _MIDDLE, centres), count, axis=0)
    moved = base + scale * rng.standard_normal(base.shape)
    categorical = categorical_columns(space)
    moved[:, categorical] = rng.random((len(base), int(categorical.sum())))
    changed = rng.random(base.shape) < 0.5
    changed[np.arange(len(base)), rng.integers(base.shape[1], size=len(base))] = True
    return _valid(space, np.clip(np.where(changed, moved, base), 0.0, 1.0))


def _valid(space: Space, unit: Array) -> Array:
    params: list[Any] = space.from_unit(unit)
    found: Array = space.to_unit(params)
    return found


def softened(losses: Array, yardstick: float) -> Array:
    """The losses with the worse half compressed; the better half, and with it any regret, stays as it is.

    With m the median and s the yardstick: y -> m + s min(log(1 + (y - m) / s), 5) above m, which is monotone and, but
    for the bound, smooth. Without it one bad region (1e6 beside 0.1) would be all that the model sees. The yardstick
    must not be the spread of the better half itself: when most results lie at the optimum that is next to nothing, and
    the optimum would look like a needle in a plain.

    Args:
        losses: (n,).
        yardstick: See `reach`.
    """
    if yardstick <= 0:
        return losses
    median = float(np.median(losses))
    above = np.minimum(np.log1p(np.maximum(losses - median, 0.0) / yardstick), _HIGHEST)
    found: Array = np.where(losses > median, median + yardstick * above, losses)
    return found


def reach(losses: Array, best: float) -> float:
    """The distance from a best loss to the median of others, to their mean where half of them are as good (ties).

    Taken over the first results of a study it stays a yardstick: the median of all comes ever closer to the best while
    a good sampler piles up its results there.
    """
    return max(0.0, float(np.median(losses)) - best or float(np.mean(losses)) - best)
