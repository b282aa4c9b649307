"""Nested cross-validation: the score of the whole procedure, search included."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from sklearn.base import is_classifier

from hpt_core import Params, Space, Study, UsageError
from hpt_evaluator_sklearn.conclusion import refit, score_rows
from hpt_evaluator_sklearn.scoring import required
from hpt_evaluator_sklearn.splits import resolve_folds

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.data import Data
    from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

__all__ = ["NestedScore", "nested_score"]


@attrs.frozen
class NestedScore:
    """What tuning is worth on data that no search has seen.

    Attributes:
        scores: The refitted winner's score on each outer fold.
        inner: The score that each search believed its winner to have.
        params: The winners.
        direction: Which scores are better.
    """

    scores: tuple[float, ...]
    inner: tuple[float, ...]
    params: tuple[Params, ...]
    direction: str

    @property
    def mean(self) -> float:
        """The estimate of the score that this procedure gives on new data."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """Standard deviation over the outer folds (divisor n)."""
        return float(np.std(self.scores))

    @property
    def optimism(self) -> float:
        """How much better the searches believed to be than they were, on average: the bias of the best of many."""
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
        evaluator: How each search evaluates; its ``cv`` makes the inner folds. Holdout and saving are left out.
        space: What is tuned.
        objective: One objective, as in `hpt_core.Study`.
        outer: The outer splitter, see `resolve_cv`.
        trials: How many trials each study has.
        workers: How many processes evaluate at once.
        **study: Further arguments of `hpt_core.Study` (sampler, stop, seed, store, name); study ``i`` is
            called ``<name>-<i>``.

    Returns:
        The scores on the outer folds.

    Raises:
        UsageError: With several objectives, or if a study had no successful trial.
    """
    data, template = evaluator.loaded, evaluator.recipe.template
    splits = resolve_folds(outer, data, classifier=is_classifier(template), seed=evaluator.seed)
    name = study.pop("name", "nested")
    found: list[tuple[float, float, Params]] = []
    direction = ""
    for i, (train, test) in enumerate(splits):
        part = data.take(train)
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
            found.append(_outer_score(search, inner, data.take(test)))
    scores, beliefs, params = zip(*found, strict=True)
    return NestedScore(scores, beliefs, params, direction)


def _only_direction(objectives: Mapping[str, str]) -> str:
    if len(objectives) != 1:
        raise UsageError(f"Nested cross-validation takes one objective. Got {', '.join(objectives)}.")
    return next(iter(objectives.values()))


def _outer_score(search: Study, inner: SklearnEvaluator, test: Data) -> tuple[float, float, Params]:
    """Refit a search's winner on all that the search saw, and score it on the rest."""
    best = search.best
    if best is None or best.value is None:
        raise UsageError(f"The study {search.name!r} has no successful trial, so there is nothing to score.")
    trial = search.context(best)
    shared = inner.shared(trial.objectives)
    model, _ = refit(inner.configured(trial), shared)
    scores = score_rows(model, shared, test)
    return required(scores, trial.objectives[0]), best.value, dict(best.params)
