"""Growing training subsets: nested, and the same for all trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import TimeSeriesSplit

from hpt_evaluator_sklearn.data.folds import Folds, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_evaluator_sklearn.data.data import Data

__all__ = ["nested_order", "subset_folds"]


def nested_order(
    n: int, labels: NDArray[Any] | None, rng: np.random.Generator, *, latest: bool = False
) -> NDArray[np.intp]:
    """Order n rows such that every prefix is a fair sample of them.

    Args:
        n: Number of rows.
        labels: Class of each row. Every prefix has the classes in proportion, and the order starts with one row of
            each class. If None, the order is a random permutation.
        rng: Source of randomness.
        latest: Order from the last row backwards instead, for time series.

    Returns:
        A permutation of 0..n-1.
    """
    if latest:
        return np.arange(n - 1, -1, -1)
    if labels is None:
        return rng.permutation(n)
    place = np.empty(n)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        # spread evenly with a random shift, so that classes of equal size do not alternate regularly
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
        place[rows[0]] -= 2
    return np.argsort(place, kind="stable")


def subset_folds(
    data: Data,
    splits: Sequence[Split],
    fraction: tuple[int, int],
    *,
    labels: NDArray[Any] | None,
    splitter: Any,
    seed: int,
) -> Folds:
    """Reduce each fold to a fraction of its training rows; the test rows stay.

    Args:
        data: All rows.
        splits: The complete folds.
        fraction: (a, b) for a/b of the training rows, rounded up. a = b returns the complete folds.
        labels: Class of each row, to be kept in proportion; None if there are no classes.
        splitter: With a `TimeSeriesSplit`, the latest training rows are taken.
        seed: Determines the rows; the same seed gives nested subsets for growing fractions.
    """
    latest = isinstance(splitter, TimeSeriesSplit)
    parts = []
    for i, (rows, test) in enumerate(splits):
        classes = None if labels is None else labels[rows]
        order = nested_order(len(rows), classes, np.random.default_rng([seed, i]), latest=latest)
        size = -(-len(rows) * fraction[0] // fraction[1])
        parts.append((rows[np.sort(order[:size])], test))
    return Folds(data, parts)
