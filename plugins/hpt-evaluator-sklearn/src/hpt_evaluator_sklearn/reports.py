"""From the scores of folds to the reports and the result of a trial."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hpt_core import Params, Report, TrialContext
from hpt_evaluator_sklearn.fitting import FoldScore
from hpt_evaluator_sklearn.scoring import required

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["FoldMemory", "in_context", "known_folds", "report_folds", "report_levels", "report_steps", "summary"]

_REMEMBERED = 1000
"""Trials whose folds are remembered, in case one of them wins."""


def report_folds(
    folds: Iterator[FoldScore], objectives: Sequence[str], after: int = 0
) -> Generator[Report, None, list[FoldScore]]:
    """One report per fold, about this fold alone.

    Args:
        folds: What each fold gives, as it comes.
        objectives: The value is about the first.
        after: The last fold, from 1, that was reported before.

    Returns:
        All of them.
    """
    done: list[FoldScore] = []
    for fold in folds:
        done.append(fold)
        if len(done) > after:
            yield Report(len(done), required(fold.scores, objectives[0]), fold.metrics(objectives[0]))
    return done


def known_folds(trial: TrialContext) -> dict[int, FoldScore]:
    """Fold from 0 -> what it gave, of those that a trial reported before it was paused or lost."""
    found = {report.step - 1: FoldScore.of(report, trial.objectives[0]) for report in trial.reports}
    lacking = dict.fromkeys((name for fold in found.values() for name in fold.scores), math.nan)  # not finite: not told
    return {i: attrs.evolve(fold, scores={**lacking, **fold.scores}) for i, fold in found.items()}


def report_levels(
    levels: Iterator[tuple[int, list[FoldScore]]], objectives: Sequence[str]
) -> Generator[Report, None, list[FoldScore]]:
    """One report per level of a growing model or training set, about the mean over folds.

    Args:
        levels: The step of each level and what each fold gave.
        objectives: The value is about the first.

    Returns:
        The folds of the last level.
    """
    done: list[FoldScore] = []
    for step, done in levels:
        result = summary(done, objectives)
        yield Report(step, result.pop(objectives[0]), result)
    return done


def in_context(
    run: Generator[Report, None, dict[str, float]], enter: Callable[[], AbstractContextManager[object]]
) -> Generator[Report, None, dict[str, float]]:
    """Run a generator within a context, but not what consumes it.

    Args:
        run: The generator.
        enter: Makes the context, anew for each report.
    """
    try:
        while True:
            try:
                with enter():
                    report = next(run)
            except StopIteration as end:
                result: dict[str, float] = end.value
                return result
            yield report
    finally:
        run.close()


def report_steps(levels: int, given: Sequence[int] | None, resource: str) -> list[int]:
    """The steps to report at, in order.

    Args:
        levels: The last step.
        given: What the user asked for; the last step is added. None: every step of a growing model, which pays
            only for what it adds; of training subsets, each fitted anew, those that are thirds of the next.
        resource: ``"growth"`` or ``"subsets"``.
    """
    if given is not None:
        return sorted({*given, levels})
    if resource == "growth":
        return list(range(1, levels + 1))
    steps = [levels]
    while steps[0] >= 3:
        steps.insert(0, steps[0] // 3)
    return steps


@attrs.define
class FoldMemory:
    """The folds of recent trials, so that the winner need not be evaluated again to be compared."""

    _kept: OrderedDict[str, list[FoldScore]] = attrs.field(factory=OrderedDict)

    def keep(self, params: Params, seed: int | None, folds: list[FoldScore]) -> None:
        """Remember what a configuration gave under a seed."""
        self._kept[_key(params, seed)] = folds
        if len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)

    def get(self, params: Params, seed: int | None) -> list[FoldScore] | None:
        """What a configuration gave under a seed; None if that is not known."""
        return self._kept.get(_key(params, seed))


def _key(params: Params, seed: Any) -> str:
    return json.dumps([params, seed], sort_keys=True)


def summary(folds: Sequence[FoldScore], objectives: Sequence[str]) -> dict[str, float]:
    """The final result of a trial: means over its folds.

    Args:
        folds: What each fold gave.
        objectives: Names that must be among the scores.

    Returns:
        Name -> mean for each score; ``std_...`` its standard deviation over the folds (divisor n),
        ``train_...`` the mean on the training parts; mean ``fit_time`` and ``score_time`` in seconds; the
        count ``warnings``.
    """
    result: dict[str, float] = {}
    for name in folds[0].scores:
        values = np.array([required(fold.scores, name) for fold in folds])
        result[name] = float(values.mean())
        if len(folds) > 1:
            result[f"std_{name}"] = float(values.std())
    for name in objectives:
        required(result, name)
    for name in folds[0].train_scores:
        result[f"train_{name}"] = float(np.mean([fold.train_scores[name] for fold in folds]))
    result["fit_time"] = sum(fold.fit_time for fold in folds) / len(folds)
    result["score_time"] = sum(fold.score_time for fold in folds) / len(folds)
    count = sum(fold.warnings for fold in folds)
    return {**result, "warnings": float(count)} if count else result
