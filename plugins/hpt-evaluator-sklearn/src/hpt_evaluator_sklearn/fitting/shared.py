"""State shared by all trials of a study, and the three ways to evaluate a configuration: folds, subsets, growth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import attrs
from sklearn.base import is_classifier

from hpt_evaluator_sklearn.data.folds import Folds
from hpt_evaluator_sklearn.data.routing import Routes, route, routing_enabled
from hpt_evaluator_sklearn.data.splits import SplitData, class_labels
from hpt_evaluator_sklearn.data.subsets import subset_folds
from hpt_evaluator_sklearn.estimators.recipe import Recipe
from hpt_evaluator_sklearn.fitting.growth import Growth, growing_parameter
from hpt_evaluator_sklearn.fitting.transformers import TransformerCache, fit_estimator
from hpt_evaluator_sklearn.fitting.warning_log import WarningLog
from hpt_evaluator_sklearn.scoring.scorers import FoldScore, Scorers

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.data.data import Data
    from hpt_evaluator_sklearn.data.folds import FoldData

__all__ = ["Shared"]


@attrs.frozen(eq=False)
class Shared:
    """State shared by all trials of a study.

    Attributes:
        recipe: Makes the estimator of a configuration.
        split_data: The data, its folds and its holdout.
        scorers: All scores.
        seed: Determines the rows of a training subset.
        return_train_score: Whether to score on the training parts as well.
        cache: Fitted transformers that trials share, or None.
        warnings: Shows each warning once.
    """

    recipe: Recipe
    split_data: SplitData
    scorers: Scorers
    seed: int = 0
    return_train_score: bool = False
    cache: TransformerCache | None = None
    warnings: WarningLog = attrs.field(factory=WarningLog)
    _subsets: dict[tuple[int, int], Folds] = attrs.field(factory=dict)

    @property
    def folds(self) -> Folds:
        """The folds of the data."""
        return self.split_data.folds

    def routes(self, estimator: Any, data: Data | None = None) -> Routes:
        """The arguments of fit and score; without metadata routing, all of them go to fit.

        Args:
            estimator: Unfitted.
            data: The data with the arguments. If None, that of the folds.
        """
        data = self.folds.data if data is None else data
        if not routing_enabled():
            return Routes(fit=data.fit_params)
        return route(estimator, self.scorers.scorer, self.split_data.splitter, data.metadata)

    def by_folds(
        self, estimator: Any, folds: Folds | None = None, known: Mapping[int, FoldScore] | None = None
    ) -> Iterator[FoldScore]:
        """Fit and score clones of an estimator, fold by fold.

        Args:
            estimator: Unfitted.
            folds: The folds. If None, those of the study.
            known: Results of folds that need not be fitted again: index from 0 -> result.
        """
        folds, known = self.folds if folds is None else folds, known or {}
        routes = self.routes(estimator)
        for i in range(len(folds)):
            if i in known:
                yield known[i]
            else:
                yield self._count_warnings(folds.fit, i, estimator, routes, self._fit_and_score)

    def by_subsets(self, estimator: Any, steps: Sequence[int]) -> Iterator[tuple[int, list[FoldScore]]]:
        """Fit and score on growing parts of the training rows; the last of ``steps`` uses all of them.

        Yields:
            The step, and the results of the folds.
        """
        for step in steps:
            yield step, list(self.by_folds(estimator, self._subset(step, steps[-1])))

    def by_growth(self, estimator: Any, steps: Sequence[int], how: str | None) -> Iterator[tuple[int, list[FoldScore]]]:
        """Fit and score a model that grows to its full size at the last of ``steps``.

        Args:
            estimator: Unfitted. An estimator that cannot grow is scored at the last step only.
            steps: The steps at which to score.
            how: See `Growth`. If None, `growing_parameter` determines it.

        Yields:
            The step, and the results of the folds. Fit times are cumulative.
        """
        how = how or growing_parameter(estimator)
        if how is None:
            yield steps[-1], list(self.by_folds(estimator))
            return
        routes = self.routes(estimator)
        start = partial(Growth, how=how, steps=steps[-1], cache=self.cache)
        models = [self.warnings.call(self.folds.fit, i, estimator, routes, start)[0] for i in range(len(self.folds))]
        for step in steps:
            yield step, [self._count_warnings(self._grow_and_score, model, i, step) for i, model in enumerate(models)]

    def _fit_and_score(self, estimator: Any, fold: FoldData) -> FoldScore:
        started = perf_counter()
        fit_estimator(estimator, fold, self.cache)
        return self._score(estimator, fold, fit_time=perf_counter() - started)

    def _grow_and_score(self, model: Growth, i: int, step: int) -> FoldScore:
        model.advance(step)
        fold = self.folds.take(i, model.estimator, Routes(), fresh=True)  # scoring may write to its rows
        return self._score(model.estimator, fold, fit_time=model.seconds)

    def _score(self, estimator: Any, fold: FoldData, *, fit_time: float) -> FoldScore:
        """The scores that `sklearn.model_selection.cross_validate` computes for this fold, and the times."""
        started = perf_counter()
        scores = self.scorers(estimator, fold.X_test, fold.y_test, **fold.score_params)
        score_time = perf_counter() - started
        if self.return_train_score:
            train = self.scorers(estimator, fold.X_train, fold.y_train, **fold.train_score_params)
            scores |= {f"train_{name}": score for name, score in train.items()}
        return {**scores, "fit_time": fit_time, "score_time": score_time}

    def _count_warnings(self, work: Callable[..., FoldScore], *args: Any) -> FoldScore:
        score, count = self.warnings.call(work, *args)
        return {**score, "warnings": float(count)} if count else score

    def _subset(self, step: int, last: int) -> Folds:
        if step == last:
            return self.folds
        if (step, last) not in self._subsets:
            self._subsets[step, last] = subset_folds(
                self.folds.data,
                self.folds.splits,
                (step, last),
                labels=class_labels(self.folds.data, classifier=is_classifier(self.recipe.template)),
                splitter=self.split_data.splitter,
                seed=self.seed,
            )
        return self._subsets[step, last]
