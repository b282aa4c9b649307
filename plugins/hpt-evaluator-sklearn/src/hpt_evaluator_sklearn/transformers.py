"""Fit a pipeline while sharing what other trials have fitted already.

Most searches vary the last step of a pipeline and repeat the steps before it for each trial. A fitted transformer
and what it made of a fold's training rows are kept, under a key of their whole content: the fold, and class and
parameters of the transformer and of all before it. A match gives exactly what fitting again would give. The pipeline
itself asks for it, as it asks its ``memory``.
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

    from hpt_evaluator_sklearn.splits import FoldData

__all__ = ["TransformerCache", "fit_estimator", "is_sequence", "step_memory"]

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
        return found[0], _unspoilt(found[1])

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
        return _unspoilt(rows)


def _unspoilt(rows: Any) -> Any:
    """Kept rows for a fit: an array is read-only, anything else is copied."""
    if type(rows) is np.ndarray:
        return rows
    return rows.clone() if hasattr(rows, "clone") else rows.copy()


def _bytes(rows: Any) -> int | None:
    """What transformed rows take in memory; None for what is neither array, sparse matrix nor data frame."""
    if type(rows) is np.ndarray:
        return int(rows.nbytes)
    if hasattr(rows, "memory_usage") and hasattr(rows, "copy"):
        return int(rows.memory_usage(deep=True).sum())
    if hasattr(rows, "estimated_size") and hasattr(rows, "clone"):  # of polars
        return int(rows.estimated_size())
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
        known = getattr(value, "__dict__", {}) | value.get_params(deep=False)  # what it puts out, its metadata requests
        return type(value), *(_argument(*item) for item in sorted(known.items()))
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


def is_sequence(estimator: Any) -> bool:
    """Whether an estimator is a `Pipeline` that comes to fitting its steps in turn; its ``memory`` may spare some."""
    return type(estimator) is Pipeline and len(estimator.steps) > 0 and hasattr(estimator.steps[-1][1], "fit")


def is_plain(estimator: Any) -> bool:
    """Whether an estimator is a `Pipeline` that does nothing beyond fitting its steps in turn."""
    return is_sequence(estimator) and estimator.memory is None


@attrs.define
class StepMemory:
    """The ``memory`` of a pipeline during one fit: it has the interface of `joblib.Memory`.

    Attributes:
        kept: What other fits have fitted already.
        key: Of the rows that the next step is given; None once their content is not known.
    """

    kept: TransformerCache
    key: Key | None
    location = None  # so that the pipeline, which is a clone already, does not clone its steps again

    def cache(self, fit_transform: Callable[..., tuple[Any, Any]], ignore: Any = None) -> Callable[..., Any]:  # noqa: ARG002 - joblib's
        """Wrap the function by which the pipeline fits one step after the other: (transformer, X, ...) to both."""

        def fit_or_reuse(transformer: Any, *args: Any, **how: Any) -> tuple[Any, Any]:
            own = step_key(transformer)
            self.key = None if self.key is None or own is None else (*self.key, own)
            found = None if self.key is None else self.kept.get(self.key)
            if found is not None:
                return found[1], found[0]
            rows, fitted = fit_transform(transformer, *args, **how)
            return rows if self.key is None else self.kept.put(self.key, fitted, rows), fitted

        return fit_or_reuse


def step_memory(fold: FoldData, cache: TransformerCache | None) -> StepMemory | None:
    """The memory of a pipeline that is fitted on a fold; None where nothing may be shared."""
    return None if cache is None or fold.fresh else StepMemory(cache, fold.key)


def fit_estimator(estimator: Any, fold: FoldData, cache: TransformerCache | None = None) -> None:
    """Fit an estimator on a fold, in place, with transformers from the cache where it has them.

    Args:
        estimator: Unfitted.
        fold: What to fit on.
        cache: What other trials have fitted; None: fit everything.
    """
    memory = step_memory(fold, cache) if is_plain(estimator) else None
    if memory is not None:
        estimator.memory = memory
    arguments = (fold.X_train,) if fold.y_train is None else (fold.X_train, fold.y_train)
    estimator.fit(*arguments, **fold.fit_params)
    if memory is not None:
        estimator.memory = None
