"""Fit a pipeline while reusing transformers that other trials have fitted.

Most searches vary the last step of a pipeline and repeat the steps before it in each trial. So a fitted transformer is
cached together with its transformed training rows. The key is their whole content: the fold, and the classes and
parameters of the transformer and of all steps before it. A hit returns exactly what another fit would return. The
pipeline uses the cache through its ``memory``.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from sklearn.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpt_evaluator_sklearn.data.folds import FoldData

__all__ = ["TransformerCache", "fit_estimator", "is_sequence", "step_memory"]

_SCALARS = (str, int, float, bool, type(None))
Key = tuple[Any, ...]


@attrs.define
class TransformerCache:
    """An LRU cache of fitted transformers and the rows that they transformed.

    Attributes:
        limit: Maximum total size of the transformed rows, in bytes.
        hits: Number of fits that were saved.
    """

    limit: int
    hits: int = 0
    _size: int = 0
    _entries: OrderedDict[Key, tuple[Any, Any, int]] = attrs.field(factory=OrderedDict)

    def get(self, key: Key) -> tuple[Any, Any] | None:
        """The fitted transformer and its transformed rows, protected against changes; None if they are not cached."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return found[0], _protected(found[1])

    def put(self, key: Key, transformer: Any, rows: Any) -> Any:
        """Cache a fitted transformer, if its rows can be cached.

        Returns:
            The rows for the next step.
        """
        size = _bytes(rows)
        if size is None or size > self.limit:
            return rows
        if type(rows) is np.ndarray:
            rows = rows.copy() if rows.base is not None else rows
            rows.flags.writeable = False
        # what the fit returned may be its input, to which scoring the training rows may write (`copy=False`)
        self._entries[key] = (transformer, _protected(rows), size)
        self._size += size
        while self._size > self.limit:
            self._size -= self._entries.popitem(last=False)[1][2]
        return rows


def _protected(rows: Any) -> Any:
    """Rows that no fit can change: arrays are read-only already, anything else is copied."""
    if type(rows) is np.ndarray:
        return rows
    return rows.clone() if hasattr(rows, "clone") else rows.copy()


def _bytes(rows: Any) -> int | None:
    """Memory size of transformed rows; None if they are neither array, sparse matrix, data frame nor column of one."""
    if type(rows) is np.ndarray:
        return int(rows.nbytes)
    if hasattr(rows, "memory_usage"):  # of pandas
        return int(np.sum(rows.memory_usage(deep=True)))
    if hasattr(rows, "estimated_size"):  # of polars
        return int(rows.estimated_size())
    parts = [getattr(rows, name, None) for name in ("data", "indices", "indptr")]
    if hasattr(rows, "tocsr") and all(isinstance(part, np.ndarray) for part in parts):
        return int(sum(part.nbytes for part in parts if part is not None))
    return None


def step_key(transformer: Any) -> Any:
    """The content of an unfitted transformer as a hashable key.

    Returns:
        The key; None if the content cannot be compared reliably, or if the fit is random (a ``random_state`` that is
        not a number).
    """
    try:
        return _content(transformer)
    except _NoContentError:
        return None


class _NoContentError(Exception):
    """Raised for a value that cannot be compared by content."""


def _content(value: Any) -> Any:
    """A hashable key that is equal only for equal content of equal types."""
    if isinstance(value, _SCALARS):
        return type(value), value
    if hasattr(value, "get_params") and not isinstance(value, type):
        # __dict__ also holds the output configuration and the metadata requests
        known = getattr(value, "__dict__", {}) | value.get_params(deep=False)
        return type(value), *(_parameter_content(*item) for item in sorted(known.items()))
    if isinstance(value, (list, tuple)):
        return type(value), *(_content(item) for item in value)
    if isinstance(value, dict):
        return dict, *((_content(key), _content(item)) for key, item in value.items())
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.generic):
        return type(value), value.item()
    if isinstance(value, (type, np.ufunc)) or _is_module_level(value):
        return value
    raise _NoContentError


def _is_module_level(function: Any) -> bool:
    """Whether a function is the one that its module has under its name, and so not a closure."""
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for part in getattr(function, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return callable(function) and found is function


def _parameter_content(name: str, value: Any) -> Any:
    if name == "random_state" and not isinstance(value, (int, np.integer)):
        raise _NoContentError
    return name, _content(value)


def is_sequence(estimator: Any) -> bool:
    """Whether an estimator is a `Pipeline` that just fits its steps in turn; its ``memory`` may save some fits."""
    return type(estimator) is Pipeline and len(estimator.steps) > 0 and hasattr(estimator.steps[-1][1], "fit")


def is_plain(estimator: Any) -> bool:
    """Whether an estimator is a `Pipeline` that just fits its steps in turn, without a ``memory``."""
    return is_sequence(estimator) and estimator.memory is None


@attrs.define
class StepMemory:
    """The ``memory`` of a pipeline during one fit, with the interface of `joblib.Memory`.

    Attributes:
        transformers: The cache to use.
        key: Key of the input rows of the next step; None once their content is unknown.
    """

    transformers: TransformerCache
    key: Key | None
    location = None  # keeps the pipeline, which is a clone already, from cloning its steps again

    def cache(self, fit_transform: Callable[..., tuple[Any, Any]], ignore: Any = None) -> Callable[..., Any]:  # noqa: ARG002 - part of joblib's interface
        """Wrap the function with which the pipeline fits each step: (transformer, X, ...) -> (rows, transformer)."""

        def fit_or_reuse(transformer: Any, *args: Any, **how: Any) -> tuple[Any, Any]:
            own = step_key(transformer)
            self.key = None if self.key is None or own is None else (*self.key, own)
            found = None if self.key is None else self.transformers.get(self.key)
            if found is not None:
                return found[1], found[0]
            rows, fitted = fit_transform(transformer, *args, **how)
            return rows if self.key is None else self.transformers.put(self.key, fitted, rows), fitted

        return fit_or_reuse


def step_memory(fold: FoldData, cache: TransformerCache | None) -> StepMemory | None:
    """The memory for fitting a pipeline on a fold; None if nothing may be shared."""
    return None if cache is None or fold.fresh else StepMemory(cache, fold.key)


def fit_estimator(estimator: Any, fold: FoldData, cache: TransformerCache | None = None) -> None:
    """Fit an estimator on a fold, in place, reusing cached transformers.

    Args:
        estimator: Unfitted.
        fold: The data.
        cache: Transformers that other trials have fitted. If None, everything is fitted.
    """
    memory = step_memory(fold, cache) if is_plain(estimator) else None
    if memory is not None:
        estimator.memory = memory
    arguments = (fold.X_train,) if fold.y_train is None else (fold.X_train, fold.y_train)
    try:
        estimator.fit(*arguments, **fold.fit_params)
    except ValueError as err:
        message = str(err).lower()
        if "early stopping" in message and "dataset" in message:  # LightGBM and XGBoost miss a validation set
            err.add_note("hpt passes only the training rows. Split a validation set off in the `fit` of a subclass.")
        raise
    if memory is not None:
        estimator.memory = None
