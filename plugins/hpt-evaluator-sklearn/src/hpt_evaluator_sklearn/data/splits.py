"""Split the data of a study into holdout and folds, the same for every trial and worker."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import (
    GroupShuffleSplit,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedShuffleSplit,
    TimeSeriesSplit,
    check_cv,
    train_test_split,
)
from sklearn.model_selection._split import _CVIterableWrapper
from sklearn.utils import get_tags
from sklearn.utils.multiclass import type_of_target

from hpt_core import Mistake, UsageError
from hpt_evaluator_sklearn.data.data import Data
from hpt_evaluator_sklearn.data.folds import Folds, Split
from hpt_evaluator_sklearn.data.routing import split_params
from hpt_evaluator_sklearn.estimators.specifications import build

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "SplitData",
    "class_labels",
    "kernel_columns",
    "make_folds",
    "make_split_data",
    "refuse_row_numbers",
    "resolve_cv",
    "split_holdout",
]

_VALIDATION_SHARE = 0.2
"""Share of the rows that a single split, as made for growing models and training sets, holds out for scoring."""


@attrs.frozen(eq=False)
class SplitData:
    """The data of a study, split into folds and holdout.

    Attributes:
        folds: All rows but the holdout, and their folds.
        splitter: The splitter that made the folds.
        holdout: The rows of the holdout, or None.
    """

    folds: Folds
    splitter: Any
    holdout: Data | None = None


def make_split_data(
    data: Data, estimator: Any, *, cv: Any, holdout: float = 0.0, seed: int = 0, single: bool = False
) -> SplitData:
    """Set the holdout aside and make the folds of the other rows.

    Args:
        data: All the data.
        estimator: Tells whether this is a classification, and whether X is a kernel matrix.
        cv: See `resolve_cv`.
        holdout: See `split_holdout`; 0 sets nothing aside.
        seed: Seed of the holdout and of a shuffling splitter.
        single: If ``cv`` is None, whether to make one split with a fifth of the rows to score on, instead of five
            folds.

    Raises:
        UsageError: If the data cannot be split in this way.
    """
    classifier = is_classifier(estimator)
    if cv is None and single:
        kind = ShuffleSplit if data.groups is None else GroupShuffleSplit
        if data.groups is None and class_labels(data, classifier=classifier) is not None:
            kind = StratifiedShuffleSplit
        cv = kind(n_splits=1, test_size=_VALIDATION_SHARE, random_state=seed)
    splitter = resolve_cv(cv, data.y, classifier=classifier, seed=seed)
    held_out = None
    if holdout:
        rows, held_out_rows = split_holdout(data, holdout, splitter, classifier=classifier, seed=seed)
        columns = kernel_columns(estimator, rows)
        data, held_out = data.take(rows, columns), data.take(held_out_rows, columns)
    return SplitData(Folds(data, make_folds(splitter, data)), splitter, held_out)


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
        given = [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(data.X, data.y, **params)]
    except (TypeError, ValueError, IndexError) as err:
        message = str(err)
        if data.groups is None and "groups" in message:
            message += " Give the `groups` option: labels by row, or the name of a column"
        raise UsageError(Mistake("evaluator.cv", f"{_shown(splitter)}: {message.rstrip('.')}.")) from err
    if not given:
        raise UsageError(Mistake("evaluator.cv", f"{_shown(splitter)} made no folds."))
    n = data.rows
    return [
        (_row_numbers(train, f"train part of fold {i}", i, n), _row_numbers(test, f"test part of fold {i}", i, n))
        for i, (train, test) in enumerate(given)
    ]


def class_labels(data: Data, *, classifier: bool) -> NDArray[Any] | None:
    """The targets if rows can be stratified by them, otherwise None."""
    stratified = classifier and data.y is not None and type_of_target(data.y) in ("binary", "multiclass")
    return np.asarray(data.y) if stratified else None


def _shown(splitter: Any) -> str:
    """A splitter for a message: its repr, or only its type if the repr is long."""
    shown = repr(splitter)
    return type(splitter).__name__ if len(shown) > 80 else shown


def _row_numbers(rows: NDArray[Any], what: str, i: int, n: int) -> NDArray[np.intp]:
    """The rows of a part of fold ``i``, given as row numbers or as a mask, as row numbers."""
    if rows.dtype == bool and rows.size == n:
        rows = np.flatnonzero(rows)
    if rows.size == 0 or rows.dtype.kind not in "iu":
        raise UsageError(Mistake(f"evaluator.cv[{i}]", f"The {what} must be a non-empty list of row numbers."))
    if not -n <= int(rows.min()) <= int(rows.max()) < n:
        row = int(rows.max() if rows.max() >= n else rows.min())
        raise UsageError(Mistake(f"evaluator.cv[{i}]", f"The {what} has row {row}, but there are {n} rows."))
    return rows


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
