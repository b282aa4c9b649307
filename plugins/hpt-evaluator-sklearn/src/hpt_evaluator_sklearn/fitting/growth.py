"""Growing models: trees, iterations or epochs are added step by step, and the model is scored at each step."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier, is_outlier_detector, is_regressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from hpt_core import Mistake, UsageError
from hpt_evaluator_sklearn.data.data import writable
from hpt_evaluator_sklearn.fitting.transformers import TransformerCache, is_sequence, step_memory

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.data.folds import FoldData

__all__ = ["Growth", "growing_parameter", "growth_size", "never_grows"]

EPOCHS = "partial_fit"
"""Growth by passes over the data instead of by a parameter."""

_BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
"""Their ``max_iter`` counts trees, including those of earlier fits. Elsewhere it counts the iterations of one fit."""


def growing_parameter(estimator: Any) -> str | None:
    """How the last step of an estimator can grow.

    Returns:
        ``n_estimators`` or ``max_iter`` if it has ``warm_start``; ``partial_fit`` if its ``max_iter`` counts epochs;
        None if it cannot grow, or if its parameters rule this out. The ``partial_fit`` of clusterers and transformers
        is no epoch: it takes all rows for one mini-batch.
    """
    model = last_step(estimator)
    params = model.get_params(deep=False) if hasattr(model, "get_params") else {}
    warm = "warm_start" in params
    if warm and "n_estimators" in params:  # gradient boosting with early stopping starts to count anew in each fit
        return None if params.get("n_iter_no_change") is not None else "n_estimators"
    counts_passes = hasattr(model, EPOCHS) and "max_iter" in params
    if counts_passes and (is_classifier(model) or is_regressor(model) or is_outlier_detector(model)):
        refuses = params.get("early_stopping") or params.get("class_weight") == "balanced"
        return None if refuses else EPOCHS
    return "max_iter" if warm and "max_iter" in params else None


def last_step(estimator: Any) -> Any:
    """The model that grows: the last step of a pipeline, otherwise the estimator itself."""
    return estimator.steps[-1][1] if is_sequence(estimator) else estimator


class Growth:
    """One model on one fold, growing.

    Args:
        estimator: Unfitted. The steps before the last are fitted immediately; a pipeline's ``memory`` is not used.
        fold: The data.
        how: Name of a parameter, or ``partial_fit``, see `growing_parameter`.
        steps: Number of equal steps to the full size, which is the value of the parameter (``max_iter`` for
            ``partial_fit``; one epoch per step for a model without ``max_iter``).
        cache: Fitted transformers of other trials.

    Raises:
        UsageError: If the last step cannot grow in that way.
    """

    def __init__(self, estimator: Any, fold: FoldData, how: str, steps: int, cache: TransformerCache | None) -> None:
        self.estimator = estimator
        self._how = how
        self._steps = steps
        self._model = last_step(estimator)
        self._full = growth_size(estimator, how, steps)
        self._size = 0
        started = perf_counter()
        self._rows, self._params = _fit_front(estimator, fold, cache)
        self._y = fold.y_train
        self.seconds = perf_counter() - started

    def advance(self, step: int) -> None:
        """Grow to a step, unless the model has that size already."""
        size = max(1, -(-self._full * step // self._steps))
        if size <= self._size:
            return
        started = perf_counter()
        rows, y = writable(self._rows), writable(self._y)  # the next level needs them as they were
        if self._how == EPOCHS:
            for epoch in range(self._size, size):
                self._one_epoch(rows, y, first=epoch == 0)
        else:
            self._fit(rows, y, size)
        self._size = self._full if _has_stopped(self._model) else size
        self.seconds += perf_counter() - started

    def _fit(self, rows: Any, y: Any, size: int) -> None:
        cumulative, full = self._how != "max_iter" or isinstance(self._model, _BOOSTING), size == self._full
        # a solver may forget its state between fits, as lbfgs does, so the full number of iterations starts anew
        count = size if cumulative or full else size - self._size
        self._model.set_params(**{self._how: count, "warm_start": cumulative or not full})
        with warnings.catch_warnings():
            if not full:  # cut short on purpose, so not converging is expected
                warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(rows, y, **self._params)

    def _one_epoch(self, rows: Any, y: Any, *, first: bool) -> None:
        extra = {}
        wants_classes = "classes" in inspect.signature(self._model.partial_fit).parameters
        if first and wants_classes and is_classifier(self._model):
            multilabel = np.ndim(y) == 2 and np.shape(y)[1] > 1
            extra["classes"] = np.arange(np.shape(y)[1]) if multilabel else np.unique(y)
        self._model.partial_fit(rows, y, **extra, **self._params)


def _has_stopped(model: Any) -> bool:
    """Whether the early stopping of histogram-based boosting has ended its growth; a further fit would add a tree."""
    if not isinstance(model, _BOOSTING) or not model.do_early_stopping_:
        return False
    scores = model.train_score_ if model.validation_fraction is None else model.validation_score_
    last = scores[-model.n_iter_no_change - 1 :]
    return bool(len(last) > model.n_iter_no_change and max(last[1:]) <= last[0] + model.tol)


def _fit_front(estimator: Any, fold: FoldData, cache: TransformerCache | None) -> tuple[Any, dict[str, Any]]:
    """Fit all steps but the last, in place; returns the transformed rows and the fit arguments of the last step."""
    if not is_sequence(estimator):
        return fold.X_train, dict(fold.fit_params)
    beginnings = tuple(f"{name}__" for name, _ in estimator.steps)
    if not all(name.startswith(beginnings) for name in fold.fit_params):
        raise UsageError(f"Fit arguments of a pipeline must be written step__name. Got {', '.join(fold.fit_params)}.")
    own = {name: value for name, value in fold.fit_params.items() if name.startswith(beginnings[-1])}
    others = {name: value for name, value in fold.fit_params.items() if name not in own}
    front = Pipeline([*estimator.steps[:-1], (estimator.steps[-1][0], "passthrough")], memory=step_memory(fold, cache))
    rows = front.fit_transform(fold.X_train, fold.y_train, **others)
    estimator.steps[:-1] = front.steps[:-1]
    return rows, {name.removeprefix(beginnings[-1]): value for name, value in own.items()}


def never_grows(estimator: Any) -> Iterator[Mistake]:
    """Yield a mistake if an estimator cannot grow, whatever its parameters are."""
    model = last_step(estimator)
    params = model.get_params(deep=False) if hasattr(model, "get_params") else {}
    if "warm_start" not in params and not hasattr(model, EPOCHS):
        msg = f"{type(model).__name__} cannot grow: it has neither `warm_start` nor `partial_fit`."
        yield Mistake("evaluator.resource", f'{msg} Use "folds" or "subsets", or a function that reports as it trains.')


def growth_size(estimator: Any, how: str, steps: int) -> int:
    """The full size of a growing model, in trees, iterations or epochs.

    Args:
        estimator: Unfitted.
        how: See `Growth`.
        steps: Number of epochs of a model that grows by ``partial_fit`` and has no ``max_iter``.

    Raises:
        UsageError: If it cannot grow in that way.
    """
    model = last_step(estimator)
    params = model.get_params(deep=False)
    name, full = "the parameter", params.get(how)
    problem = None
    if how == EPOCHS:
        name, full = "max_iter", params.get("max_iter", steps)
        problem = None if hasattr(model, EPOCHS) else "it has no such method."
    elif how not in params or "warm_start" not in params:
        problem = f"it needs the parameters {how!r} and `warm_start`."
    if problem is None and (not isinstance(full, (int, np.integer)) or full < 1):
        problem = f"{name} must be an int >= 1. Got {full!r}."
    if problem:
        raise UsageError(Mistake("evaluator.grow", f"{type(model).__name__} cannot grow by {how}: {problem}"))
    return int(full)
