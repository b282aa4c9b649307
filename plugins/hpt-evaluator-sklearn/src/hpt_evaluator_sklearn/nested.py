"""Nested cross-validation: the score of the whole procedure, including the search."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from sklearn.base import is_classifier

from hpt_core import Params, Space, Study, UsageError
from hpt_evaluator_sklearn.conclusion import refit, score_rows
from hpt_evaluator_sklearn.data.splits import kernel_columns, make_folds, refuse_row_numbers, resolve_cv
from hpt_evaluator_sklearn.scoring.scorers import TIMES, required

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.data.data import Data
    from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

__all__ = ["NestedScore", "nested_score"]


@attrs.frozen
class NestedScore:
    """The result of nested cross-validation: scores on data that no search has seen.

    Attributes:
        scores: Score of the refitted winner on each outer fold.
        inner: Cross-validated score of the winner within each search.
        params: Configuration of each winner.
        direction: ``"maximize"`` or ``"minimize"``: which scores are better.
    """

    scores: tuple[float, ...]
    inner: tuple[float, ...]
    params: tuple[Params, ...]
    direction: str

    @property
    def mean(self) -> float:
        """Mean over the outer folds: the estimated score of the whole procedure on new data."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """Standard deviation over the outer folds (divisor n)."""
        return float(np.std(self.scores))

    @property
    def optimism(self) -> float:
        """How much better the inner scores are than the outer ones, on average: the bias of picking the best of many.

        Positive if the inner scores are better.
        """
        gap = float(np.mean(self.inner)) - self.mean
        return gap if self.direction == "maximize" else -gap


def nested_score(
    evaluator: SklearnEvaluator,
    space: Space | Mapping[str, Any],
    *,
    objective: str | Mapping[str, str] = "maximize",
    outer: Any = 5,
    trials: int | None = None,
    workers: int = 1,
    **study: Any,
) -> NestedScore:
    """Run a whole study on each outer training part and score its winner on the outer test part.

    Args:
        evaluator: Evaluator of each search; its ``cv`` makes the inner folds. Its holdout is not set aside, and no
            estimator is saved.
        space: The space to search.
        objective: One objective, as in `hpt_core.Study`.
        outer: The outer splitter, see `resolve_cv`.
        trials: Number of trials of each study.
        workers: Number of processes that evaluate at once.
        **study: Further arguments of `hpt_core.Study` (sampler, stop, seed, store, name). Study ``i`` is named
            ``<name>-<i>``.

    Returns:
        The scores on the outer folds.

    Raises:
        UsageError: If there is more than one objective, the objective is a time, the inner folds are row numbers, or a
            study has no successful trial.
    """
    data, classifier = evaluator.loaded, is_classifier(evaluator.recipe.template)
    with evaluator.fitting_context():
        inner_splitter = resolve_cv(evaluator.cv, data.y, classifier=classifier)
        refuse_row_numbers(inner_splitter, "each search has only those of its outer training part")
        splits = make_folds(resolve_cv(outer, data.y, classifier=classifier, seed=evaluator.seed), data)
    name = study.pop("name", "nested")
    found: list[tuple[float, float, Params]] = []
    direction = ""
    for i, (train, test) in enumerate(splits):
        columns = kernel_columns(evaluator.recipe.template, train)
        part = data.take(train, columns)
        inner = attrs.evolve(
            evaluator,
            data=None,
            X=part.X,
            y=part.y,
            groups=part.groups,
            fit_params=dict(part.fit_params),
            holdout=0.0,
            refit=False,
            save=None,
            compare=False,
        )
        with closing(Study(space, objective=objective, evaluator=inner, name=f"{name}-{i}", **study)) as search:
            direction = _only_direction(search.objectives)
            search.run(trials=trials, workers=workers)
            with inner.fitting_context():
                found.append(_outer_score(search, inner, data.take(test, columns)))
    scores, beliefs, params = zip(*found, strict=True)
    return NestedScore(scores, beliefs, params, direction)


def _only_direction(objectives: Mapping[str, str]) -> str:
    if len(objectives) != 1:
        raise UsageError(f"Nested cross-validation takes one objective. Got {', '.join(objectives)}.")
    ((name, direction),) = objectives.items()
    if name in TIMES:
        raise UsageError(f"Nested cross-validation needs a score as its objective. Got the time {name!r}.")
    return direction


def _outer_score(search: Study, inner: SklearnEvaluator, test: Data) -> tuple[float, float, Params]:
    """Refit a search's winner on all rows of the search, and score it on the outer test rows."""
    best = search.best
    if best is None or best.value is None:
        raise UsageError(f"The study {search.name!r} has no successful trial, so there is nothing to score.")
    trial = search.context(best)
    shared = inner.shared(trial.objectives)
    model, _ = refit(inner.configured(trial), shared)
    scores = score_rows(model, shared, test)
    return required(scores, trial.objectives[0]), best.value, dict(best.params)
