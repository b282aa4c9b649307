"""State shared by all trials of a study, and the three ways to evaluate a configuration: folds, subsets, growth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from sklearn.base import is_classifier
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

from hpt_evaluator_sklearn.data import Data
from hpt_evaluator_sklearn.estimators import Recipe
from hpt_evaluator_sklearn.fitting import FoldScore, WarningLog, fit_and_score, fit_fold, score_fitted
from hpt_evaluator_sklearn.growth import Growth, growing_parameter
from hpt_evaluator_sklearn.routing import Routes, route, routing_enabled
from hpt_evaluator_sklearn.scoring import Scorers
from hpt_evaluator_sklearn.splits import Folds, class_labels, kernel_columns, make_folds, resolve_cv, split_holdout
from hpt_evaluator_sklearn.subsets import subset_folds
from hpt_evaluator_sklearn.transformers import TransformerCache

__all__ = ["Shared", "SplitData", "make_split_data"]

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
    data: Data, recipe: Recipe, *, cv: Any, holdout: float = 0.0, seed: int = 0, single: bool = False
) -> SplitData:
    """Set the holdout aside and make the folds of the other rows.

    Args:
        data: All the data.
        recipe: Its template tells whether this is a classification.
        cv: See `resolve_cv`.
        holdout: See `split_holdout`; 0 sets nothing aside.
        seed: Seed of the holdout and of a shuffling splitter.
        single: If ``cv`` is None, whether to make one split with a fifth of the rows to score on, instead of five
            folds.

    Raises:
        UsageError: If the data cannot be split in this way.
    """
    classifier = is_classifier(recipe.template)
    if cv is None and single:
        kind = ShuffleSplit if data.groups is None else GroupShuffleSplit
        if data.groups is None and class_labels(data, classifier=classifier) is not None:
            kind = StratifiedShuffleSplit
        cv = kind(n_splits=1, test_size=_VALIDATION_SHARE, random_state=seed)
    splitter = resolve_cv(cv, data.y, classifier=classifier, seed=seed)
    held_out = None
    if holdout:
        rows, held_out_rows = split_holdout(data, holdout, splitter, classifier=classifier, seed=seed)
        columns = kernel_columns(recipe.template, rows)
        data, held_out = data.take(rows, columns), data.take(held_out_rows, columns)
    return SplitData(Folds(data, make_folds(splitter, data)), splitter, held_out)


@attrs.frozen(eq=False)
class Shared:
    """State shared by all trials of a study.

    Attributes:
        recipe: Makes the estimator of a configuration.
        split_data: The data, its folds and its holdout.
        scorers: All scores.
        objectives: Names of the objectives; the first is the value of a report.
        seed: Determines the rows of a training subset.
        return_train_score: Whether to score on the training parts as well.
        cache: Fitted transformers that trials share, or None.
        warnings: Shows each warning once.
    """

    recipe: Recipe
    split_data: SplitData
    scorers: Scorers
    objectives: tuple[str, ...]
    seed: int = 0
    return_train_score: bool = False
    cache: TransformerCache | None = None
    warnings: WarningLog = attrs.field(factory=WarningLog)
    _subsets: dict[tuple[int, int], Folds] = attrs.field(factory=dict)

    @property
    def folds(self) -> Folds:
        """The folds of the data."""
        return self.split_data.folds

    def routes(self, estimator: Any, data: Data | None = None) -> Routes | None:
        """The arguments of fit and score by metadata routing; None if routing is disabled.

        Args:
            estimator: Unfitted.
            data: The data with the arguments. If None, that of the folds.
        """
        if not routing_enabled():
            return None
        data = self.folds.data if data is None else data
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
        work = partial(
            fit_and_score,
            scorers=self.scorers,
            return_train_score=self.return_train_score,
            cache=self.cache,
        )
        for i in range(len(folds)):
            yield known[i] if i in known else self._count_warnings(partial(fit_fold, estimator, folds, i, work, routes))

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
        work = partial(Growth, how=how, steps=steps[-1], cache=self.cache)
        models = [
            self.warnings.call(partial(fit_fold, estimator, self.folds, i, work))[0] for i in range(len(self.folds))
        ]
        for step in steps:
            yield step, [self._count_warnings(partial(self._grow_and_score, model, step)) for model in models]

    def _grow_and_score(self, model: Growth, step: int) -> FoldScore:
        model.advance(step)
        return score_fitted(
            model.estimator,
            model.fold,
            self.scorers,
            fit_time=model.seconds,
            return_train_score=self.return_train_score,
        )

    def _count_warnings(self, work: Callable[[], FoldScore]) -> FoldScore:
        score, count = self.warnings.call(work)
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
