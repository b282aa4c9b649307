"""Growing training subsets: the same ones for all trials, each within the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import TimeSeriesSplit

from hpt_evaluator_sklearn.splits import Folds, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_evaluator_sklearn.data import Data

__all__ = ["nested_order", "subset_folds"]


def nested_order(
    n: int, labels: NDArray[Any] | None, rng: np.random.Generator, *, latest: bool = False
) -> NDArray[np.intp]:
    """An order of n rows whose every beginning is a fair sample of them.

    Args:
        n: How many rows.
        labels: Their classes, to be represented by share in each beginning, one row of each class first; or
            None for any order.
        rng: Decides the order.
        latest: From the last row backwards instead: a time series.

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
        # evenly over the order, shifted at random, so that classes of one size do not march in step
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
    """The folds with a part of their training rows; the test rows stay.

    Args:
        data: All rows.
        splits: The folds in full.
        fraction: (a, b) for a/b of the training rows, rounded up; a = b gives the folds as they are.
        labels: Classes of all rows, whose shares are kept; None where there are none.
        splitter: A `TimeSeriesSplit` takes the latest training rows.
        seed: Decides the rows; the same seed gives nested subsets for growing fractions.
    """
    latest = isinstance(splitter, TimeSeriesSplit)
    parts = []
    for i, (train, test) in enumerate(splits):
        rows = np.flatnonzero(train) if train.dtype == bool else train
        classes = None if labels is None else labels[rows]
        order = nested_order(len(rows), classes, np.random.default_rng([seed, i]), latest=latest)
        size = -(-len(rows) * fraction[0] // fraction[1])
        parts.append((rows[np.sort(order[:size])], test))
    return Folds(data, parts)
