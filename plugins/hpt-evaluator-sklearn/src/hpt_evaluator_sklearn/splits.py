"""The folds of a study: computed once, the same for every trial and in every worker process."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, TimeSeriesSplit, check_cv, train_test_split
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.multiclass import type_of_target

from hpt_core import Mistake, UsageError
from hpt_evaluator_sklearn.data import Data, rows_of
from hpt_evaluator_sklearn.estimators import build
from hpt_evaluator_sklearn.routing import Routes, split_params

__all__ = ["FoldData", "Folds", "Split", "resolve_cv", "resolve_folds", "split_holdout"]

Split = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Row numbers to train on and to test on."""

_CACHE_BYTES = 2**26
"""Folds are kept as copies while all of them take less than this; in larger data, fits take far longer than copies."""


def resolve_cv(cv: Any, y: Any, *, classifier: bool, seed: int = 0) -> Any:
    """Make the splitter that an option describes, as `sklearn.model_selection.check_cv` understands it.

    Args:
        cv: An int, None (5), a splitter, ``"module:Class"``, a table ``{"use": "module:Class", ...}``, or
            (train, test) pairs of row numbers.
        y: The targets; they decide whether an int means stratified folds.
        classifier: Whether the estimator is a classifier.
        seed: For a shuffling splitter that was given no ``random_state``.

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


def resolve_folds(cv: Any, data: Data, *, classifier: bool, seed: int = 0) -> list[Split]:
    """Compute the folds.

    Args:
        cv: See `resolve_cv`.
        data: What to split.
        classifier: Whether the estimator is a classifier.
        seed: For a shuffling splitter that was given no ``random_state``.

    Returns:
        A list of (train, test) arrays of row numbers.

    Raises:
        UsageError: If the data cannot be split so, with scikit-learn's own words.
    """
    splitter = resolve_cv(cv, data.y, classifier=classifier, seed=seed)
    params = split_params(splitter, data.bag)
    try:
        folds = [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(data.X, data.y, **params)]
    except (TypeError, ValueError, IndexError) as err:
        said = str(err)
        if data.groups is None and "groups" in said:
            said += " Give the `groups` option: labels by row, or a column's name"
        raise UsageError(Mistake("evaluator.cv", f"{_name(splitter)}: {said.rstrip('.')}.")) from err
    if not folds:
        raise UsageError(Mistake("evaluator.cv", f"{_name(splitter)} gave no folds."))
    for i, fold in enumerate(folds):
        _check_rows(fold, i, data.rows)
    return folds


def row_total(rows: NDArray[Any]) -> int:
    """How many rows a part of a fold has, given as numbers or as a mask."""
    return int(np.count_nonzero(rows)) if rows.dtype == bool else len(rows)


def class_labels(data: Data, *, classifier: bool) -> NDArray[Any] | None:
    """The targets, where they are classes whose shares can be kept; else None."""
    kept = classifier and data.y is not None and type_of_target(data.y) in ("binary", "multiclass")
    return np.asarray(data.y) if kept else None


def _name(splitter: Any) -> str:
    """A splitter in a message: its repr, but for (train, test) pairs."""
    shown = repr(splitter)
    return type(splitter).__name__ if len(shown) > 80 or inspect.isgenerator(splitter) else shown


def _check_rows(fold: Split, i: int, n: int) -> None:
    for what, rows in zip(("train", "test"), fold, strict=True):
        numbers = rows.dtype.kind in "iu"
        if rows.size == 0 or (rows.dtype == bool and rows.size != n) or not (numbers or rows.dtype == bool):
            msg = f"The {what} part of fold {i} must be a list of row numbers, not empty."
            raise UsageError(Mistake(f"evaluator.cv[{i}]", msg))
        if numbers and not -n <= int(rows.min()) <= int(rows.max()) < n:
            row = int(rows.max() if rows.max() >= n else rows.min())
            msg = f"The {what} part of fold {i} has row {row}, but there are {n} rows."
            raise UsageError(Mistake(f"evaluator.cv[{i}]", msg))


def split_holdout(data: Data, share: float, cv: Any, *, classifier: bool, seed: int = 0) -> Split:
    """Choose the rows that are set aside before everything else.

    With groups whole groups are set aside; with a `TimeSeriesSplit` the last rows are; else rows at random,
    stratified for a classifier.

    Args:
        data: All the data.
        share: Below 1 a fraction, else a number of rows (of groups, where there are groups).
        cv: The splitter option, see `resolve_cv`.
        classifier: Whether the estimator is a classifier.
        seed: Decides which rows.

    Returns:
        Row numbers to work with, and row numbers set aside, both ascending.

    Raises:
        UsageError: If that leaves no rows for one of the two.
    """
    size = float(share) if share < 1 else int(share)
    rows = np.arange(data.rows)
    try:
        if data.groups is not None:
            splitter = GroupShuffleSplit(n_splits=1, test_size=size, random_state=seed)
            work, aside = next(splitter.split(rows, groups=data.groups))
        elif isinstance(resolve_cv(cv, data.y, classifier=classifier), TimeSeriesSplit):
            work, aside = train_test_split(rows, test_size=size, shuffle=False)
        else:
            labels = class_labels(data, classifier=classifier)
            work, aside = train_test_split(rows, test_size=size, random_state=seed, stratify=labels)
    except ValueError as err:
        raise UsageError(Mistake("evaluator.holdout", f"{err}")) from err
    return np.sort(work), np.sort(aside)


@attrs.frozen(eq=False)
class FoldData:
    """One fold, taken out of the data.

    Attributes:
        X_train, y_train: What to fit on.
        X_test, y_test: What to score on.
        fit_params: Arguments of ``fit`` for these rows.
        score_params: Arguments of the scorer for the test rows (metadata routing).
        train_score_params: The same for the training rows.
        key: Tells the folds of a study apart.
        fresh: These are copies that may be written to.
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
    """The folds of a study's data, taken out once where that costs little memory.

    What is kept is read-only, so that no estimator can spoil it for the next one.

    Args:
        data: The data.
        splits: Row numbers, see `resolve_folds`.
    """

    def __init__(self, data: Data, splits: Sequence[Split]) -> None:
        self.data = data
        self.splits = splits
        dense = type(data.X) is np.ndarray and (data.y is None or type(data.y) is np.ndarray)
        self._keep = dense and data.X.nbytes * len(splits) <= _CACHE_BYTES
        self._kept: dict[tuple[int, bool, int], FoldData] = {}

    def __len__(self) -> int:
        return len(self.splits)

    def take(self, i: int, estimator: Any, routes: Routes | None = None, *, fresh: bool = False) -> FoldData:
        """Fold ``i`` for an estimator.

        Args:
            i: From 0.
            estimator: Decides, by its tags, whether X is a kernel matrix whose columns are rows too.
            routes: What metadata routing gives fit and score; None: fit gets the data's own arguments.
            fresh: Give copies that the estimator may write to.
        """
        key = (i, get_tags(estimator).input_tags.pairwise, len(self.splits[i][0]))
        found = None if fresh else self._kept.get(key)
        if found is None:
            found = self._taken(i, estimator, key, fresh=fresh)
            if self._keep and not fresh:
                for part in (found.X_train, found.y_train, found.X_test, found.y_test):
                    if part is not None:
                        part.flags.writeable = False
                self._kept[key] = found
        return found if routes is None else self._routed(found, i, routes)

    def _taken(self, i: int, estimator: Any, key: tuple[Any, ...], *, fresh: bool) -> FoldData:
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
