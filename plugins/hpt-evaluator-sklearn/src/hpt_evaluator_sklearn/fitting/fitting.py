"""The inner loop: fit on one part of the rows, score on the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sklearn.base import clone

from hpt_evaluator_sklearn.fitting.transformers import TransformerCache, fit_estimator

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.data.folds import FoldData, Folds
    from hpt_evaluator_sklearn.data.routing import Routes
    from hpt_evaluator_sklearn.scoring.scorers import FoldScore, Scorers

__all__ = ["WarningLog", "fit_and_score", "fit_fold", "needs_fresh_data", "score_fitted"]


class WarningLog:
    """Shows each warning once per process and counts all of them.

    A search fits hundreds of models. Without this, a single ConvergenceWarning becomes hundreds of lines. The user's
    own filters stay in force: ignored warnings are not counted, and warnings turned into errors are raised.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[type[Warning], str, int]] = set()

    def call(self, function: Callable[[], Any]) -> tuple[Any, int]:
        """Call a function.

        Returns:
            Its return value, and the number of warnings that it issued.
        """
        with warnings.catch_warnings(record=True) as caught:
            result = function()
        for warning in caught:
            key = (warning.category, warning.filename, warning.lineno)
            if key not in self._seen:
                self._seen.add(key)
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return result, len(caught)


def fit_and_score(
    estimator: Any,
    fold: FoldData,
    scorers: Scorers,
    *,
    return_train_score: bool = False,
    cache: TransformerCache | None = None,
) -> FoldScore:
    """Fit an estimator on a fold's training part and score it on the test part.

    Args:
        estimator: Unfitted; it is fitted in place.
        fold: The data.
        scorers: What to compute.
        return_train_score: Whether to score on the training part as well.
        cache: Fitted transformers to share with other fits. If None, none are shared.

    Returns:
        The scores that `sklearn.model_selection.cross_validate` computes for this fold, and the times.
    """
    started = perf_counter()
    fit_estimator(estimator, fold, cache)
    seconds = perf_counter() - started
    return score_fitted(estimator, fold, scorers, fit_time=seconds, return_train_score=return_train_score)


def score_fitted(
    estimator: Any, fold: FoldData, scorers: Scorers, *, fit_time: float, return_train_score: bool
) -> FoldScore:
    """Score a fitted estimator on a fold; see `fit_and_score`."""
    started = perf_counter()
    scores = scorers(estimator, fold.X_test, fold.y_test, **fold.score_params)
    score_time = perf_counter() - started
    if return_train_score:
        train = scorers(estimator, fold.X_train, fold.y_train, **fold.train_score_params)
        scores |= {f"train_{name}": score for name, score in train.items()}
    return {**scores, "fit_time": fit_time, "score_time": score_time}


def fit_fold(
    prototype: Any, folds: Folds, i: int, work: Callable[[Any, FoldData], Any], routes: Routes | None = None
) -> Any:
    """Run ``work`` on a clone of an estimator and a fold; on copies of the data if it has to write to them.

    Args:
        prototype: The estimator of the trial, unfitted.
        folds: All folds.
        i: Index of the fold, from 0.
        work: Called as ``work(estimator, fold)``, and a second time if the first call fails on read-only data.
        routes: See `Folds.take`.

    Returns:
        The return value of ``work``.
    """
    fold = folds.take(i, prototype, routes)
    try:
        return work(clone(prototype), fold)
    except ValueError as err:
        if not needs_fresh_data(err, fold):
            raise
    return work(clone(prototype), folds.take(i, prototype, routes, fresh=True))


def needs_fresh_data(error: Exception, fold: FoldData) -> bool:
    """Whether a fit failed only because its data is read-only."""
    message = str(error)
    return not fold.fresh and isinstance(error, ValueError) and ("read-only" in message or "readonly" in message)
