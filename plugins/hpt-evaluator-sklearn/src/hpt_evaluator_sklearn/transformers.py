"""Fit a pipeline while sharing what other trials have fitted already.

Most searches vary the last step of a pipeline and repeat the steps before it for each trial. A fitted transformer
and what it made of a fold's training rows are kept, under a key of their whole content: the fold, and class and
parameters of the transformer and of all before it. A match gives exactly what fitting again would give.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from sklearn.pipeline import Pipeline

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.splits import FoldData

__all__ = ["TransformerCache", "fit_estimator", "fit_front", "is_plain", "is_sequence"]

_SCALARS = (str, int, float, bool, type(None))
Key = tuple[Any, ...]


@attrs.define
class TransformerCache:
    """Fitted transformers with what they made of a fold, the least recently used thrown out first.

    Attributes:
        limit: Bytes that the transformed rows may take.
        hits: How many fits were spared.
    """

    limit: int
    hits: int = 0
    _size: int = 0
    _kept: OrderedDict[Key, tuple[Any, Any, int]] = attrs.field(factory=OrderedDict)

    def get(self, key: Key) -> tuple[Any, Any] | None:
        """The fitted transformer and the transformed rows, safe against being written to; None if not kept."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        self.hits += 1
        return found[0], found[1] if type(found[1]) is np.ndarray else found[1].copy()

    def put(self, key: Key, transformer: Any, rows: Any) -> Any:
        """Keep a fitted transformer.

        Returns:
            The rows to go on with.
        """
        size = _bytes(rows)
        if size is None or size > self.limit:
            return rows
        if type(rows) is np.ndarray:
            rows = rows.copy() if rows.base is not None else rows
            rows.flags.writeable = False
        self._kept[key] = (transformer, rows, size)
        self._size += size
        while self._size > self.limit:
            self._size -= self._kept.popitem(last=False)[1][2]
        return rows if type(rows) is np.ndarray else rows.copy()


def _bytes(rows: Any) -> int | None:
    """What transformed rows take in memory; None for what is neither array, sparse matrix nor data frame."""
    if type(rows) is np.ndarray:
        return int(rows.nbytes)
    if hasattr(rows, "memory_usage") and hasattr(rows, "copy"):
        return int(rows.memory_usage(deep=True).sum())
    parts = [getattr(rows, name, None) for name in ("data", "indices", "indptr")]
    if hasattr(rows, "tocsr") and all(isinstance(part, np.ndarray) for part in parts):
        return int(sum(part.nbytes for part in parts if part is not None))
    return None


def step_key(transformer: Any) -> Any:
    """The content of an unfitted transformer as a hashable key; None where it has none that can be trusted.

    Args:
        transformer: One whose fit is random (a ``random_state`` that is no number) has none.
    """
    try:
        return _content(transformer)
    except _NoContentError:
        return None


class _NoContentError(Exception):
    """Two values of this kind cannot be compared by content."""


def _content(value: Any) -> Any:
    """A hashable key that is equal for equal content of equal types, and for nothing else."""
    if isinstance(value, _SCALARS):
        return type(value), value
    if hasattr(value, "get_params") and not isinstance(value, type):
        return type(value), *(_argument(*item) for item in sorted(value.get_params(deep=False).items()))
    if isinstance(value, (list, tuple)):
        return type(value), *(_content(item) for item in value)
    if isinstance(value, dict):
        return dict, *((_content(key), _content(item)) for key, item in value.items())
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.generic):
        return type(value), value.item()
    if isinstance(value, (type, np.ufunc)) or _stands_in_a_module(value):
        return value
    raise _NoContentError


def _stands_in_a_module(function: Any) -> bool:
    """Whether a function is what its module calls by its name: no closure over who knows what."""
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for part in getattr(function, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return callable(function) and found is function


def _argument(name: str, value: Any) -> Any:
    if name == "random_state" and not isinstance(value, (int, np.integer)):
        raise _NoContentError
    return name, _content(value)


def is_plain(estimator: Any) -> bool:
    """Whether an estimator is a `Pipeline` that does nothing beyond fitting its steps in turn."""
    return is_sequence(estimator) and estimator.memory is None


def is_sequence(estimator: Any) -> bool:
    """Whether an estimator is a `Pipeline` that comes to fitting its steps in turn; its ``memory`` may spare some."""
    return (
        type(estimator) is Pipeline
        and len(estimator.steps) > 0
        and getattr(estimator, "transform_input", None) is None
        and hasattr(estimator.steps[-1][1], "fit")
    )


def by_step(pipeline: Pipeline, fit_params: Any) -> dict[str, dict[str, Any]] | None:
    """Fit arguments (``step__name``) by step; None if one belongs to no step."""
    found: dict[str, dict[str, Any]] = {name: {} for name, _ in pipeline.steps}
    for name, value in fit_params.items():
        step, _, argument = name.partition("__")
        if step not in found or not argument:
            return None
        found[step][argument] = value
    return found


def fit_front(
    pipeline: Pipeline, fold: FoldData, params: dict[str, dict[str, Any]], cache: TransformerCache | None
) -> Any:
    """Fit all steps but the last, in place.

    Args:
        pipeline: See `is_sequence`.
        fold: What to fit on.
        params: Fit arguments by step.
        cache: Where to look first; None: nowhere.

    Returns:
        The training rows as the last step sees them.
    """
    rows = fold.X_train
    key: Key | None = fold.key if cache is not None and not fold.fresh else None
    for i, (name, step) in enumerate(pipeline.steps[:-1]):
        if step is None or step == "passthrough":
            continue
        own = None if key is None else step_key(step)
        key = None if key is None or own is None else (*key, own)
        found = None if cache is None or key is None else cache.get(key)
        if found is not None:
            pipeline.steps[i] = (name, found[0])
            rows = found[1]
            continue
        rows = _fit_transform(step, rows, fold.y_train, params[name])
        if cache is not None and key is not None:
            rows = cache.put(key, step, rows)
    return rows


def _fit_transform(step: Any, X: Any, y: Any, params: dict[str, Any]) -> Any:
    if hasattr(step, "fit_transform"):
        return step.fit_transform(X, y, **params)
    return step.fit(X, y, **params).transform(X)


def fit_estimator(estimator: Any, fold: FoldData, cache: TransformerCache | None = None) -> None:
    """Fit an estimator on a fold, in place, with transformers from the cache where it has them.

    Args:
        estimator: Unfitted.
        fold: What to fit on.
        cache: What other trials have fitted; None: fit everything.
    """
    if cache is not None and is_plain(estimator):
        params = by_step(estimator, fold.fit_params)
        if params is not None:
            rows = fit_front(estimator, fold, params, cache)
            name, last = estimator.steps[-1]
            last.fit(rows, fold.y_train, **params[name])
            return
    if fold.y_train is None:
        estimator.fit(fold.X_train, **fold.fit_params)
    else:
        estimator.fit(fold.X_train, fold.y_train, **fold.fit_params)
