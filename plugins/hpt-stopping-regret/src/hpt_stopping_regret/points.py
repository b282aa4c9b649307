"""Encoding of a study's results for the model, and candidate points of the space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import Space

    Array = NDArray[np.float64]

__all__ = ["categorical_columns", "encoded", "near", "pool", "reach", "softened"]

_MIDDLE, _NO_CATEGORY = 0.5, -1.0
_HIGHEST = 5.0  # largest loss above the median after compression, in yardsticks


def categorical_columns(space: Space) -> NDArray[np.bool_]:
    """Which columns hold unordered categories, (p,)."""
    return np.array([not space[name].ordered for name in space.columns], dtype=bool)


def encoded(unit: Array, categorical: NDArray[np.bool_]) -> Array:
    """Unit coordinates without NaN: an inactive parameter is put in the middle, or is a category of its own."""
    filled = np.where(categorical, _NO_CATEGORY, _MIDDLE)
    found: Array = np.where(np.isnan(unit), filled, unit)
    return found


def pool(space: Space, count: int, rng: np.random.Generator) -> Array:
    """Draw valid points all over the space, as unit coordinates (count, p)."""
    return _valid(space, rng.random((count, len(space.columns))))


def near(space: Space, centres: Array, count: int, scale: float, rng: np.random.Generator) -> Array:
    """Draw valid points around others; each differs in about half of the columns, and in at least one.

    Args:
        space: The space.
        centres: Unit coordinates, (k, p); NaN where inactive.
        count: Points per centre.
        scale: Standard deviation of the changes of ordered columns; categories are redrawn.
        rng: The source of randomness.

    Returns:
        Unit coordinates, (k * count, p).
    """
    base = np.repeat(np.where(np.isnan(centres), _MIDDLE, centres), count, axis=0)
    moved = base + scale * rng.standard_normal(base.shape)
    categorical = categorical_columns(space)
    moved[:, categorical] = rng.random((len(base), int(categorical.sum())))
    changed = rng.random(base.shape) < 0.5
    changed[np.arange(len(base)), rng.integers(base.shape[1], size=len(base))] = True
    return _valid(space, np.where(changed, moved, base))


def _valid(space: Space, unit: Array) -> Array:
    """The valid points next to others; of these, the ones that satisfy the requirements, unless none does."""
    params: list[Any] = space.from_unit(unit)
    found: Array = space.to_unit(list(filter(space.allows, params)) or params)
    return found


def softened(losses: Array, yardstick: float) -> Array:
    """Compress the worse half of the losses; the better half, and so every regret, is unchanged.

    With m the median and s the yardstick, y -> m + s min(log(1 + (y - m) / s), 5) above m, which is monotone and smooth
    except at the bound. Otherwise, one bad region (1e6 beside 0.1) would dominate the model. The yardstick must not be
    the spread of the better half itself: when most results are at the optimum, that spread is almost 0, and the optimum
    would look like a needle in a plain.

    Args:
        losses: (n,).
        yardstick: What `reach` returns.
    """
    if yardstick <= 0:
        return losses
    median = float(np.median(losses))
    above = np.minimum(np.log1p(np.maximum(losses - median, 0.0) / yardstick), _HIGHEST)
    found: Array = np.where(losses > median, median + yardstick * above, losses)
    return found


def reach(losses: Array, best: float) -> float:
    """The distance from the best loss to the median of other losses, or their mean if half of them tie with the best.

    It is taken over the first results of a study: the median of all results would approach the best, as a good sampler
    accumulates results there.
    """
    return max(0.0, float(np.median(losses)) - best or float(np.mean(losses)) - best)
