"""The folds of a study's data as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import _safe_split

from hpt_evaluator_sklearn.data.data import Data, rows_of

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.data.routing import Routes

__all__ = ["FoldData", "Folds", "Split"]

Split = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Row numbers of the training part and of the test part."""

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
        key: Identifies the fold within a study.
        fresh: Whether the arrays are copies that may be written to.
    """

    X_train: Any
    y_train: Any
    X_test: Any
    y_test: Any
    fit_params: Mapping[str, Any] = attrs.field(factory=dict)
    score_params: Mapping[str, Any] = attrs.field(factory=dict)
    train_score_params: Mapping[str, Any] = attrs.field(factory=dict)
    key: tuple[Any, ...] = ()
    fresh: bool = False


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
        self._extracted: dict[tuple[int, bool, int], FoldData] = {}

    def __len__(self) -> int:
        return len(self.splits)

    def take(self, i: int, estimator: Any, routes: Routes | None = None, *, fresh: bool = False) -> FoldData:
        """Extract a fold for an estimator.

        Args:
            i: Index of the fold, from 0.
            estimator: Its tags tell whether X is a kernel matrix, whose columns are split like its rows.
            routes: Arguments of fit and score from metadata routing. If None, fit receives the arguments of the data.
            fresh: Whether to return copies that the estimator may write to.
        """
        key = (i, get_tags(estimator).input_tags.pairwise, len(self.splits[i][0]))
        found = None if fresh else self._extracted.get(key)
        if found is None:
            found = self._extract(i, estimator, key, fresh=fresh)
            if self._keeps and not fresh:
                for part in (found.X_train, found.y_train, found.X_test, found.y_test):
                    if part is not None:
                        part.flags.writeable = False
                self._extracted[key] = found
        return found if routes is None else self._routed(found, i, routes)

    def _extract(self, i: int, estimator: Any, key: tuple[Any, ...], *, fresh: bool) -> FoldData:
        data, (train, test) = self.data, self.splits[i]
        X_train, y_train = _safe_split(estimator, data.X, data.y, train)
        X_test, y_test = _safe_split(estimator, data.X, data.y, test, train)
        fit_params = rows_of(data.fit_params, train, data.rows)
        return FoldData(X_train, y_train, X_test, y_test, fit_params, key=key, fresh=fresh)

    def _routed(self, fold: FoldData, i: int, routes: Routes) -> FoldData:
        train, test = self.splits[i]
        n = self.data.rows
        return attrs.evolve(
            fold,
            fit_params=rows_of(routes.fit, train, n),
            score_params=rows_of(routes.score, test, n),
            train_score_params=rows_of(routes.score, train, n),
        )
