"""Fit and score one configuration on one fold, in any thread or process.

Results have the format that scikit-learn's searches use internally (`sklearn.model_selection._validation`). Scores are
computed by the same function, so that scorer errors and values that are not finite are handled in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from traceback import format_exc
from typing import TYPE_CHECKING, Any

import attrs
from sklearn.base import clone
from sklearn.model_selection._validation import _score

from hpt_core import PluginError
from hpt_evaluator_sklearn.data.folds import Folds
from hpt_evaluator_sklearn.data.routing import Routes
from hpt_evaluator_sklearn.fitting.transformers import TransformerCache, fit_estimator

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.data.folds import FoldData

__all__ = ["AbortedError", "FoldJob", "Result"]

Result = dict[str, Any]
"""``fit_time``, ``score_time``, ``fit_error`` (None or a traceback), ``test_scores`` (a number, or numbers by name) and
``train_scores`` if requested. A failed fit has no scores."""


class AbortedError(PluginError):
    """Ends the whole search because of an exception in the estimator, the scorer or scikit-learn.

    Attributes:
        original: That exception.
    """

    def __init__(self, original: BaseException) -> None:
        super().__init__(f"{type(original).__name__}: {original}")
        self.original = original

    def __reduce__(self) -> tuple[type[AbortedError], tuple[BaseException]]:
        return type(self), (self.original,)


@attrs.define(eq=False)
class FoldJob:
    """Everything needed to fit and score configurations on folds.

    Attributes:
        estimator: The estimator before a configuration is set.
        folds: The data and its folds.
        scorer: A scorer, or scikit-learn's scorer of several metrics.
        routes: Arguments of fit and score.
        error_score: The score if scoring fails. With ``"raise"``, errors of fit and score are raised.
        return_train_score: Whether to score on the training parts as well.
        cache_bytes: Memory for fitted transformers that configurations share. With 0, none are shared; then several
            threads may use the job at once.
    """

    estimator: Any
    folds: Folds
    scorer: Any
    routes: Routes
    error_score: Any
    return_train_score: bool
    cache_bytes: int
    _cache: TransformerCache | None = attrs.field(init=False)

    @_cache.default
    def _new_cache(self) -> TransformerCache | None:
        return TransformerCache(self.cache_bytes) if self.cache_bytes else None

    def prototype(self, params: Mapping[str, Any]) -> Any:
        """The unfitted estimator of a configuration; parameters that are estimators are cloned.

        Raises:
            ValueError: From scikit-learn, if the estimator does not have a parameter.
        """
        estimator = clone(self.estimator)
        if params:
            estimator.set_params(**{name: clone(value, safe=False) for name, value in params.items()})
        return estimator

    def run(self, prototype: Any, i: int) -> Result:
        """Fit and score the estimator of a configuration on fold ``i``."""
        return self.folds.fit(i, prototype, self.routes, self._fit_and_score)

    def _fit_and_score(self, estimator: Any, fold: FoldData) -> Result:
        started = perf_counter()
        try:
            fit_estimator(estimator, fold, self._cache)
        except Exception as err:
            if self.error_score == "raise" or fold.caused(err):
                raise
            return {"fit_time": perf_counter() - started, "score_time": 0.0, "fit_error": format_exc()}
        fitted = perf_counter()
        scores = self._scores(estimator, fold.X_test, fold.y_test, fold.score_params)
        result = {
            "fit_time": fitted - started,
            "score_time": perf_counter() - fitted,
            "fit_error": None,
            "test_scores": scores,
        }
        if self.return_train_score:
            result["train_scores"] = self._scores(estimator, fold.X_train, fold.y_train, fold.train_score_params)
        return result

    def _scores(self, estimator: Any, X: Any, y: Any, params: Mapping[str, Any]) -> Any:
        scores = _score(estimator, X, y, self.scorer, params, self.error_score)
        if isinstance(scores, Mapping) and not scores:  # scikit-learn checks the items only
            msg = f"scoring must return at least one score, got {scores} instead. (scorer={self.scorer})"
            raise ValueError(msg)
        return scores
