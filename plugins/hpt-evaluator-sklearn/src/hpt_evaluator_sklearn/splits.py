"""The folds of a study: computed once per process, and the same for every trial and worker."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, PredefinedSplit, TimeSeriesSplit, check_cv, train_test_split
from sklearn.model_selection._split import _CVIterableWrapper
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.multiclass import type_of_target

from hpt_core import Mistake, UsageError
from hpt_evaluator_sklearn.data import Data, rows_of
from hpt_evaluator_sklearn.estimators import build
from hpt_evaluator_sklearn.routing import Routes, split_params

__all__ = [
    "FoldData",
    "Folds",
    "Split",
    "kernel_columns",
    "make_folds",
    "refuse_row_numbers",
    "resolve_cv",
    "split_holdout",
]

Split = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Row numbers of the training part and of the test part."""

_CACHE_BYTES = 2**26
"""Folds are kept as copies if all of them together take at most this; with larger data, fits take far longer than
copies."""


def resolve_cv(cv: Any, y: Any, *, classifier: bool, seed: int = 0) -> Any:
    """Make the splitter that an option describes, by the rules of `sklearn.model_selection.check_cv`.

    Args:
        cv: An int, None (5), a splitter, ``"module:Class"``, a table ``{"use": "module:Class", ...}``, or
            (train, test) pairs of row numbers.
        y: The targets, which determine whether an int means stratified folds.
        classifier: Whether the estimator is a classifier.
        seed: ``random_state`` of a shuffling splitter that has none.

    Raises:
        UsageError: If it is none of these.
    """
    if isinstance(cv, (str, Mapping)):
        cv = build(cv, "evaluator.cv")
    if isinstance(cv, (list, tuple)):
        cv = [_pair(pair, i) for i, pair in enumerate(cv)]
    try:
        splitter = check_cv(cv, y, classifier=classifier)
    except ValueError as err:
        raise UsageError(Mistake("evaluator.cv", f"{err}")) from err
    if getattr(splitter, "random_state", 0) is None and getattr(splitter, "shuffle", True):
        splitter = copy.copy(splitter)
        splitter.random_state = seed
    return splitter


def _pair(pair: Any, i: int) -> Split:
    try:
        train, test = (np.asarray(rows) for rows in pair)
    except (TypeError, ValueError) as err:
        msg = f"Must be a pair of row numbers [train, test]. Got {pair!r:.80}."
        raise UsageError(Mistake(f"evaluator.cv[{i}]", msg)) from err
    return train, test


def make_folds(splitter: Any, data: Data) -> list[Split]:
    """Compute the folds.

    Args:
        splitter: See `resolve_cv`.
        data: The data to split.

    Returns:
        A list of (train, test) arrays of row numbers.

    Raises:
        UsageError: If the data cannot be split in this way, with scikit-learn's message.
    """
    params = split_params(splitter, data.metadata)
    try:
        folds = [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(data.X, data.y, **params)]
    except (TypeError, ValueError, IndexError) as err:
        message = str(err)
        if data.groups is None and "groups" in message:
            message += " Give the `groups` option: labels by row, or the name of a column"
        raise UsageError(Mistake("evaluator.cv", f"{_shown(splitter)}: {message.rstrip('.')}.")) from err
    if not folds:
        raise UsageError(Mistake("evaluator.cv", f"{_shown(splitter)} made no folds."))
    for i, fold in enumerate(folds):
        _check_rows(fold, i, data.rows)
    return folds


def row_total(rows: NDArray[Any]) -> int:
    """Number of rows of a part of a fold, given as row numbers or as a mask."""
    return int(np.count_nonzero(rows)) if rows.dtype == bool else len(rows)


def class_labels(data: Data, *, classifier: bool) -> NDArray[Any] | None:
    """The targets if rows can be stratified by them, otherwise None."""
    stratified = classifier and data.y is not None and type_of_target(data.y) in ("binary", "multiclass")
    return np.asarray(data.y) if stratified else None


def _shown(splitter: Any) -> str:
    """A splitter for a message: its repr, or only its type if the repr is long."""
    shown = repr(splitter)
    return type(splitter).__name__ if len(shown) > 80 else shown


def _check_rows(fold: Split, i: int, n: int) -> None:
    for what, rows in zip(("train", "test"), fold, strict=True):
        numbers = rows.dtype.kind in "iu"
        if rows.size == 0 or (rows.dtype == bool and rows.size != n) or not (numbers or rows.dtype == bool):
            msg = f"The {what} part of fold {i} must be a non-empty list of row numbers."
            raise UsageError(Mistake(f"evaluator.cv[{i}]", msg))
        if numbers and not -n <= int(rows.min()) <= int(rows.max()) < n:
            row = int(rows.max() if rows.max() >= n else rows.min())
            msg = f"The {what} part of fold {i} has row {row}, but there are {n} rows."
            raise UsageError(Mistake(f"evaluator.cv[{i}]", msg))


def refuse_row_numbers(splitter: Any, why: str) -> None:
    """Refuse folds that are given as row numbers, because these would mean other rows.

    Args:
        splitter: A splitter.
        why: What takes rows away.

    Raises:
        UsageError: If it is a `PredefinedSplit` or a list of (train, test) pairs.
    """
    if isinstance(splitter, (PredefinedSplit, _CVIterableWrapper)):
        msg = f"Row numbers refer to all rows, but {why}. Give a splitter instead, such as GroupKFold with `groups`."
        raise UsageError(Mistake("evaluator.cv", msg))


def split_holdout(data: Data, share: float, splitter: Any, *, classifier: bool, seed: int = 0) -> Split:
    """Choose the rows of the holdout.

    If there are groups, whole groups are held out. With a `TimeSeriesSplit`, the last rows are. Otherwise the rows are
    random, and stratified for a classifier.

    Args:
        data: All the data.
        share: A fraction if below 1, otherwise a number of rows (of groups, if there are groups).
        splitter: The splitter of the folds.
        classifier: Whether the estimator is a classifier.
        seed: Determines the random rows.

    Returns:
        Row numbers of the search data and of the holdout, both ascending.

    Raises:
        UsageError: If one of the two would have no rows, or the folds are row numbers.
    """
    refuse_row_numbers(splitter, "the holdout takes some away")
    size = float(share) if share < 1 else int(share)
    rows = np.arange(data.rows)
    try:
        if data.groups is not None:
            by_group = GroupShuffleSplit(n_splits=1, test_size=size, random_state=seed)
            search, holdout = next(by_group.split(rows, groups=data.groups))
        elif isinstance(splitter, TimeSeriesSplit):
            search, holdout = train_test_split(rows, test_size=size, shuffle=False)
        else:
            labels = class_labels(data, classifier=classifier)
            search, holdout = train_test_split(rows, test_size=size, random_state=seed, stratify=labels)
    except ValueError as err:
        raise UsageError(Mistake("evaluator.holdout", f"{err}")) from err
    return np.sort(search), np.sort(holdout)


def kernel_columns(estimator: Any, rows: NDArray[np.intp]) -> NDArray[np.intp] | None:
    """The columns of X that stand for these rows, if X is a kernel matrix for the estimator; None if it is not."""
    return rows if get_tags(estimator).input_tags.pairwise else None


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
