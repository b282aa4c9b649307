"""Turn the scores of folds into the reports and the result of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpt_core import Report, TrialContext
from hpt_evaluator_sklearn.scoring.scorers import TIMES, required

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hpt_evaluator_sklearn.scoring.scorers import FoldScore

__all__ = ["in_context", "known_folds", "report_folds", "report_levels", "report_steps", "summary"]

_WITHOUT_DEVIATION = ("train_", *TIMES)
"""Prefixes of the metrics that are reported without a standard deviation over folds."""


def report_folds(
    folds: Iterator[FoldScore], objectives: Sequence[str], after: int = 0
) -> Generator[Report, None, list[FoldScore]]:
    """Yield one report per fold, with the scores of that fold alone.

    Args:
        folds: The result of each fold, as it becomes available.
        objectives: Names of the objectives; the first is the value of a report.
        after: Number of the last fold, from 1, that was reported before. Folds up to this one are not reported again.

    Returns:
        The results of all folds.
    """
    done: list[FoldScore] = []
    for fold in folds:
        done.append(fold)
        if len(done) > after:
            rest = {name: score for name, score in fold.items() if name != objectives[0]}
            yield Report(len(done), required(fold, objectives[0]), rest)
    return done


def known_folds(trial: TrialContext) -> dict[int, FoldScore]:
    """The folds that a trial reported before it was paused or its worker was lost: index from 0 -> result."""
    found = {report.step - 1: {trial.objectives[0]: report.value, **report.metrics} for report in trial.reports}
    # metrics that are not finite are not recorded
    missing = {name: math.nan for fold in found.values() for name in fold if name != "warnings"}
    return {i: missing | fold for i, fold in found.items()}


def report_levels(
    levels: Iterator[tuple[int, list[FoldScore]]], objectives: Sequence[str]
) -> Generator[Report, None, list[FoldScore]]:
    """Yield one report per level of a growing model or training set, with the mean over folds.

    Args:
        levels: The step of each level and the results of all folds at this level.
        objectives: Names of the objectives; the first is the value of a report.

    Returns:
        The results of the folds at the last level.
    """
    done: list[FoldScore] = []
    for step, done in levels:
        result = summary(done, objectives)
        yield Report(step, result.pop(objectives[0]), result)
    return done


def in_context(
    run: Generator[Report, None, dict[str, float]], enter: Callable[[], AbstractContextManager[object]]
) -> Generator[Report, None, dict[str, float]]:
    """Run a generator within a context, but leave the context while its consumer runs.

    Args:
        run: The generator.
        enter: Makes the context; called again for each report.
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
        given: The steps that the user chose; the last step is added. If None, every step of a growing model, whose
            steps cost only the growth; or, of training subsets, which are all fitted from scratch, the steps that
            are a third of the next one.
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
        folds: The results of the folds.
        objectives: Names of the objectives, which must be among the scores.

    Returns:
        Name -> mean for each score; ``std_...`` for its standard deviation over the folds (divisor n);
        ``train_...`` for the mean on the training parts; mean ``fit_time`` and ``score_time`` in seconds; the
        number of ``warnings``.
    """
    result: dict[str, float] = {}
    for name in folds[0]:
        if name == "warnings":
            continue
        values = np.array([required(fold, name) for fold in folds])
        result[name] = float(values.mean())
        if len(folds) > 1 and not name.startswith(_WITHOUT_DEVIATION):
            result[f"std_{name}"] = float(values.std())
    for name in objectives:
        required(result, name)
    count = sum(fold.get("warnings", 0) for fold in folds)
    return {**result, "warnings": float(count)} if count else result
