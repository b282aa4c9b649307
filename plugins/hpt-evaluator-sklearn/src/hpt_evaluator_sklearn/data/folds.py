"""The folds of a study's data as arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import _safe_split

from hpt_evaluator_sklearn.data.data import Data, rows_of

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.data.routing import Routes

__all__ = ["FoldData", "Folds", "Split"]

Split = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Row numbers of the training part and of the test part."""

T = TypeVar("T")

_CACHE_BYTES = 2**26
"""Folds are kept as copies if all of them together take at most this; with larger data, fits take far longer than
copies."""


@attrs.frozen(eq=False)
class FoldData:
    """The data of one fold.

    Attributes:
        X_train, y_train: The training part.
        X_test, y_test: The test part.
        fit_params: Arguments of ``fit`` for the training rows.
        score_params: Arguments of the scorer for the test rows (metadata routing).
        train_score_params: Arguments of the scorer for the training rows.
        key: Identifies the training part within a study.
        fresh: Whether the arrays are copies that may be written to.
    """

    X_train: Any
    y_train: Any
    X_test: Any
    y_test: Any
    fit_params: Mapping[str, Any]
    score_params: Mapping[str, Any]
    train_score_params: Mapping[str, Any]
    key: tuple[Any, ...]
    fresh: bool

    def caused(self, error: Exception) -> bool:
        """Whether a fit on this data failed only because it is read-only."""
        message = str(error)
        return not self.fresh and isinstance(error, ValueError) and ("read-only" in message or "readonly" in message)


class Folds:
    """The folds of a study's data, extracted only once if they fit into little memory.

    Kept arrays are read-only, so that no estimator can change the data of another one.

    Args:
        data: The data.
        splits: Row numbers, see `make_folds`.
    """

    def __init__(self, data: Data, splits: Sequence[Split]) -> None:
        self.data = data
        self.splits = splits
        dense = type(data.X) is np.ndarray and (data.y is None or type(data.y) is np.ndarray)
        self._keeps = dense and data.X.nbytes * len(splits) <= _CACHE_BYTES
        self._kept: dict[tuple[Any, ...], tuple[Any, Any, Any, Any]] = {}

    def __len__(self) -> int:
        return len(self.splits)

    def take(self, i: int, estimator: Any, routes: Routes, *, fresh: bool = False) -> FoldData:
        """Extract a fold for an estimator.

        Args:
            i: Index of the fold, from 0.
            estimator: Its tags tell whether X is a kernel matrix, whose columns are split like its rows.
            routes: Arguments of fit and score.
            fresh: Whether to return copies that the estimator may write to.
        """
        (train, test), n = self.splits[i], self.data.rows
        key = (i, get_tags(estimator).input_tags.pairwise, len(train))
        parts = None if fresh else self._kept.get(key)
        if parts is None:
            X_train, y_train = _safe_split(estimator, self.data.X, self.data.y, train)
            X_test, y_test = _safe_split(estimator, self.data.X, self.data.y, test, train)
            parts = X_train, y_train, X_test, y_test
            if self._keeps and not fresh:
                for part in parts:
                    if part is not None:
                        part.flags.writeable = False
                self._kept[key] = parts
        return FoldData(
            *parts,
            fit_params=rows_of(routes.fit, train, n),
            score_params=rows_of(routes.score, test, n),
            train_score_params=rows_of(routes.score, train, n),
            key=key,
            fresh=fresh,
        )

    def fit(self, i: int, prototype: Any, routes: Routes, work: Callable[[Any, FoldData], T]) -> T:
        """Run ``work`` on a clone of an estimator and a fold; on copies of the data if it has to write to them.

        Args:
            i: Index of the fold, from 0.
            prototype: The estimator of the trial, unfitted.
            routes: Arguments of fit and score.
            work: Called as ``work(estimator, fold)``, and a second time if the first call fails on read-only data.

        Returns:
            The return value of ``work``.
        """
        fold = self.take(i, prototype, routes)
        try:
            return work(clone(prototype), fold)
        except ValueError as err:
            if not fold.caused(err):
                raise
        return work(clone(prototype), self.take(i, prototype, routes, fresh=True))
