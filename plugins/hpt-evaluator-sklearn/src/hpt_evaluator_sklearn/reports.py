"""From the scores of folds to the reports and the result of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpt_core import Report, TrialContext
from hpt_evaluator_sklearn.scoring import required

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hpt_evaluator_sklearn.fitting import FoldScore

__all__ = ["in_context", "known_folds", "report_folds", "report_levels", "report_steps", "summary"]


_NOT_SPREAD = ("train_", "fit_time", "score_time")
"""Beginnings of what is told without its standard deviation over folds."""


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
            rest = {name: score for name, score in fold.items() if name != objectives[0]}
            yield Report(len(done), required(fold, objectives[0]), rest)
    return done


def known_folds(trial: TrialContext) -> dict[int, FoldScore]:
    """Fold from 0 -> what it gave, of those that a trial reported before it was paused or lost."""
    found = {report.step - 1: {trial.objectives[0]: report.value, **report.metrics} for report in trial.reports}
    lacking = {name: math.nan for fold in found.values() for name in fold if name != "warnings"}  # not finite: not told
    return {i: lacking | fold for i, fold in found.items()}


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
    for name in folds[0]:
        if name == "warnings":
            continue
        values = np.array([required(fold, name) for fold in folds])
        result[name] = float(values.mean())
        if len(folds) > 1 and not name.startswith(_NOT_SPREAD):
            result[f"std_{name}"] = float(values.std())
    for name in objectives:
        required(result, name)
    count = sum(fold.get("warnings", 0) for fold in folds)
    return {**result, "warnings": float(count)} if count else result
