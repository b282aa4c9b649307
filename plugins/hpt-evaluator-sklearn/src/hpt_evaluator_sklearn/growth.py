"""Growing models: trees are added, iterations or epochs go on, and the score is taken on the way."""

from __future__ import annotations

import inspect
import warnings
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning

from hpt_core import Mistake, UsageError
from hpt_evaluator_sklearn.transformers import TransformerCache, by_step, fit_front, is_sequence

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.splits import FoldData

__all__ = ["Growth", "growing_parameter", "growth_size"]

EPOCHS = "partial_fit"
"""Stands for growth by passes over the data instead of by a parameter."""


def growing_parameter(estimator: Any) -> str | None:
    """How the last step of an estimator can grow.

    Returns:
        ``n_estimators`` or ``max_iter`` where it has ``warm_start``, ``partial_fit`` where epochs are what its
        ``max_iter`` counts; None where it cannot grow, or refuses ``partial_fit`` as it is set.
    """
    model = last_step(estimator)
    params = model.get_params(deep=False) if hasattr(model, "get_params") else {}
    warm = "warm_start" in params
    if warm and "n_estimators" in params:
        return "n_estimators"
    if hasattr(model, EPOCHS) and "max_iter" in params:
        refuses = params.get("early_stopping") or params.get("class_weight") == "balanced"
        return None if refuses else EPOCHS
    return "max_iter" if warm and "max_iter" in params else None


def last_step(estimator: Any) -> Any:
    """What grows: the last step of a pipeline, else the estimator itself."""
    return estimator.steps[-1][1] if is_sequence(estimator) else estimator


class Growth:
    """One model on one fold, growing.

    Args:
        estimator: Unfitted; the steps before the last are fitted at once, not by way of a pipeline's ``memory``.
        fold: The data.
        how: A parameter's name or ``partial_fit``, see `growing_parameter`.
        steps: In how many equal steps it reaches its full size, which is the parameter's value (``max_iter``
            for ``partial_fit``; one epoch per step for a model without it).
        cache: Fitted transformers of other trials.

    Raises:
        UsageError: If the last step cannot grow in that way.
    """

    def __init__(self, estimator: Any, fold: FoldData, how: str, steps: int, cache: TransformerCache | None) -> None:
        self.estimator = estimator
        self.fold = fold
        self.seconds = 0.0
        self._how = how
        self._steps = steps
        self._model = last_step(estimator)
        self._full = growth_size(estimator, how, steps)
        self._size = 0
        self._rows, self._params = fold.X_train, dict(fold.fit_params)
        started = perf_counter()
        if is_sequence(estimator):
            params = by_step(estimator, fold.fit_params)
            if params is None:
                msg = f"Fit arguments of a pipeline are written step__name. Got {', '.join(fold.fit_params)}."
                raise UsageError(msg)
            self._rows = fit_front(estimator, fold, params, cache)
            self._params = params[estimator.steps[-1][0]]
        self.seconds += perf_counter() - started

    def advance(self, step: int) -> None:
        """Grow to ``step`` of all steps; what is reached already is not done again."""
        size = max(1, -(-self._full * step // self._steps))
        if size <= self._size:
            return
        started = perf_counter()
        if self._how == EPOCHS:
            for epoch in range(self._size, size):
                self._one_epoch(first=epoch == 0)
        else:
            self._model.set_params(**{self._how: size, "warm_start": True})
            with warnings.catch_warnings():
                if size < self._full:  # an optimiser that was told to stop early has not converged yet
                    warnings.simplefilter("ignore", ConvergenceWarning)
                self._model.fit(self._rows, self.fold.y_train, **self._params)
        self._size = size
        self.seconds += perf_counter() - started

    def _one_epoch(self, *, first: bool) -> None:
        extra = {}
        wants_classes = "classes" in inspect.signature(self._model.partial_fit).parameters
        if first and wants_classes and is_classifier(self._model):
            extra["classes"] = np.unique(self.fold.y_train)
        self._model.partial_fit(self._rows, self.fold.y_train, **extra, **self._params)


def growth_size(estimator: Any, how: str, steps: int) -> int:
    """The full size of a model that grows: trees, iterations or epochs.

    Args:
        estimator: Unfitted.
        how: See `Growth`.
        steps: Epochs of a model that grows by ``partial_fit`` and has no ``max_iter``.

    Raises:
        UsageError: If it cannot grow in that way.
    """
    model = last_step(estimator)
    params = model.get_params(deep=False)
    name = type(model).__name__
    problem = f"it needs the parameter {how!r} and `warm_start`."
    full: Any = None
    if how == EPOCHS and hasattr(model, EPOCHS):
        full = params.get("max_iter", steps)
        problem = f"max_iter must be an int >= 1. Got {full!r}."
    elif how == EPOCHS:
        problem = "it has none."
    elif how in params and "warm_start" in params:
        full = params[how]
        problem = f"that must be an int >= 1. Got {full!r}."
    if not isinstance(full, (int, np.integer)) or full < 1:
        raise UsageError(Mistake("evaluator.grow", f"{name} cannot grow by {how}: {problem}"))
    return int(full)
