"""What all trials of a study share, and the three kinds of evidence that one configuration gives."""

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
from hpt_evaluator_sklearn.splits import Folds, class_labels, resolve_cv, resolve_folds, split_holdout
from hpt_evaluator_sklearn.subsets import subset_folds
from hpt_evaluator_sklearn.transformers import TransformerCache

__all__ = ["Material", "Shared", "prepare_material"]

_VALIDATION_SHARE = 0.2
"""Of the rows, where one split serves a growing model or training set."""


@attrs.frozen(eq=False)
class Material:
    """The data as all trials see it.

    Attributes:
        folds: The rows that are worked with, and their folds.
        splitter: What made the folds.
        aside: The rows of the holdout, None without one.
    """

    folds: Folds
    splitter: Any
    aside: Data | None = None


def prepare_material(
    data: Data, recipe: Recipe, *, cv: Any, holdout: float = 0.0, seed: int = 0, single: bool = False
) -> Material:
    """Set the holdout aside and make the folds of the rest.

    Args:
        data: All the data.
        recipe: Tells whether this is a classification.
        cv: See `resolve_cv`.
        holdout: See `split_holdout`; 0 sets nothing aside.
        seed: For the holdout and a shuffling splitter.
        single: Where ``cv`` is None, make one split with a fifth of the rows to score on instead of five folds.

    Raises:
        UsageError: If the data cannot be split so.
    """
    classifier = is_classifier(recipe.template)
    aside = None
    if holdout:
        work, rest = split_holdout(data, holdout, cv, classifier=classifier, seed=seed)
        data, aside = data.take(work), data.take(rest)
    if cv is None and single:
        kind = ShuffleSplit if data.groups is None else GroupShuffleSplit
        if data.groups is None and class_labels(data, classifier=classifier) is not None:
            kind = StratifiedShuffleSplit
        cv = kind(n_splits=1, test_size=_VALIDATION_SHARE, random_state=seed)
    splitter = resolve_cv(cv, data.y, classifier=classifier, seed=seed)
    splits = resolve_folds(splitter, data, classifier=classifier)
    return Material(Folds(data, splits), splitter, aside)


@attrs.frozen(eq=False)
class Shared:
    """What all trials of a study share.

    Attributes:
        recipe: Makes the estimator of a configuration.
        material: The data.
        scorers: All scores.
        objectives: Names of the objectives; a report's value is about the first.
        seed: Decides which rows make a training subset.
        return_train_score: Whether to score on the training parts too.
        cache: Fitted transformers that trials share; None: none.
        warnings: Lets each warning through once.
    """

    recipe: Recipe
    material: Material
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
        return self.material.folds

    def routes(self, estimator: Any, data: Data | None = None) -> Routes | None:
        """What metadata routing gives to fit and score, of the folds' data or other data; None while it is off."""
        if not routing_enabled():
            return None
        data = self.folds.data if data is None else data
        return route(estimator, self.scorers.scorer, self.material.splitter, data.bag)

    def by_folds(
        self, estimator: Any, folds: Folds | None = None, known: Mapping[int, FoldScore] | None = None
    ) -> Iterator[FoldScore]:
        """Fit and score clones of an estimator, fold by fold.

        Args:
            estimator: Unfitted.
            folds: Other folds than those of the data.
            known: Fold from 0 -> what is known of it already.
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
            yield known[i] if i in known else self._counted(partial(fit_fold, estimator, folds, i, work, routes))

    def by_subsets(self, estimator: Any, steps: Sequence[int]) -> Iterator[tuple[int, list[FoldScore]]]:
        """Fit and score on growing parts of the training rows, the last of ``steps`` being all of them.

        Yields:
            The step, and what each fold gave.
        """
        for step in steps:
            yield step, list(self.by_folds(estimator, self._subset(step, steps[-1])))

    def by_growth(self, estimator: Any, steps: Sequence[int], how: str | None) -> Iterator[tuple[int, list[FoldScore]]]:
        """Fit and score a model that grows to its full size at the last of ``steps``.

        Args:
            estimator: Unfitted. One that cannot grow gives the last step alone.
            steps: When to score.
            how: See `Growth`; None lets `growing_parameter` find out.

        Yields:
            The step, and what each fold gave; fit times count from the beginning.
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
            yield step, [self._counted(partial(self._grown, model, step)) for model in models]

    def _grown(self, model: Growth, step: int) -> FoldScore:
        model.advance(step)
        return score_fitted(
            model.estimator,
            model.fold,
            self.scorers,
            fit_time=model.seconds,
            return_train_score=self.return_train_score,
        )

    def _counted(self, work: Callable[[], FoldScore]) -> FoldScore:
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
                splitter=self.material.splitter,
                seed=self.seed,
            )
        return self._subsets[step, last]
