"""The inner loop: fit on one part, score on the other, nothing else that takes time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

import attrs
from sklearn.base import clone
from sklearn.utils import get_tags

from hpt_evaluator_sklearn.transformers import TransformerCache, fit_estimator

if TYPE_CHECKING:
    from hpt_core import Report
    from hpt_evaluator_sklearn.routing import Routes
    from hpt_evaluator_sklearn.scoring import Scorers
    from hpt_evaluator_sklearn.splits import FoldData, Folds

__all__ = ["FoldScore", "WarningLog", "fit_and_score", "fit_fold", "is_pairwise", "needs_fresh_data"]


@attrs.frozen(eq=False)
class FoldScore:
    """What one fit on one fold gave.

    Attributes:
        scores: Name -> score on the test part.
        train_scores: The same on the training part; empty unless asked for.
        fit_time: Seconds that fitting took.
        score_time: Seconds that scoring on the test part took.
        warnings: How many warnings were given meanwhile.
    """

    scores: Mapping[str, float]
    train_scores: Mapping[str, float] = attrs.field(factory=dict)
    fit_time: float = 0.0
    score_time: float = 0.0
    warnings: int = 0

    @classmethod
    def of(cls, report: Report, first: str) -> Self:
        """What was reported of a fold, see `metrics`; ``first`` names the report's value."""
        rest = dict(report.metrics)
        own = {name: rest.pop(name) for name in ("fit_time", "score_time")}
        warned = int(rest.pop("warnings", 0))
        train = {name: score for name, score in rest.items() if name.startswith("train_")}
        scores = {first: report.value, **{name: score for name, score in rest.items() if name not in train}}
        return cls(scores, {name.removeprefix("train_"): s for name, s in train.items()}, warnings=warned, **own)

    def metrics(self, first: str) -> dict[str, float]:
        """Everything but the score ``first``, by the name that it has as a metric of a report."""
        found = {name: score for name, score in self.scores.items() if name != first}
        found |= {f"train_{name}": score for name, score in self.train_scores.items()}
        found |= {"fit_time": self.fit_time, "score_time": self.score_time}
        if self.warnings:
            found["warnings"] = float(self.warnings)
        return found


class WarningLog:
    """Lets each warning through once per process and counts the others.

    A search fits hundreds of models; without this one ConvergenceWarning becomes hundreds of lines. The
    user's own filters hold: what they ignore is not counted, what they turn into errors is raised.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[type[Warning], str, int]] = set()

    def call(self, function: Callable[[], Any]) -> tuple[Any, int]:
        """Call a function.

        Returns:
            What it returned, and how many warnings it gave.
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
        return_train_score: Score on the training part too.
        cache: Fitted transformers of other fits to share; None: share none.

    Returns:
        The same scores as `sklearn.model_selection.cross_validate` gives for this fold.
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
    train: Mapping[str, float] = {}
    if return_train_score:
        train = scorers(estimator, fold.X_train, fold.y_train, **fold.train_score_params)
    return FoldScore(scores, train, fit_time, score_time)


def fit_fold(
    prototype: Any,
    folds: Folds,
    i: int,
    work: Callable[[Any, FoldData], Any],
    routes: Routes | None = None,
    *,
    pairwise: bool | None = None,
) -> Any:
    """Run ``work`` on a clone of an estimator and a fold, with copies of the data if it must write to them.

    Args:
        prototype: The estimator of the trial, unfitted.
        folds: All folds.
        i: Which one, from 0.
        work: Called as ``work(estimator, fold)``; again where the first call failed on read-only data.
        routes: What metadata routing gives fit and score; None: fit gets the data's own arguments.
        pairwise: Whether X is a kernel matrix for this estimator; None: ask its tags, which takes a while.

    Returns:
        What ``work`` returned.
    """
    if pairwise is None:
        pairwise = is_pairwise(prototype)
    fold = _take(folds, i, prototype, routes, pairwise=pairwise)
    try:
        return work(clone(prototype), fold)
    except ValueError as err:
        if not needs_fresh_data(err, fold):
            raise
    return work(clone(prototype), _take(folds, i, prototype, routes, fresh=True))


def is_pairwise(estimator: Any) -> bool:
    """Whether an estimator takes a kernel matrix, by its tags."""
    return bool(get_tags(estimator).input_tags.pairwise)


def needs_fresh_data(error: Exception, fold: FoldData) -> bool:
    """Whether a fit failed only because it may not write to the data it was given."""
    said = str(error)
    return not fold.fresh and isinstance(error, ValueError) and ("read-only" in said or "readonly" in said)


def _take(folds: Folds, i: int, estimator: Any, routes: Routes | None, **how: bool) -> FoldData:
    fold = folds.take(i, estimator, **how)
    return fold if routes is None else folds.routed(fold, i, routes)
