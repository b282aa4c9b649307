"""The evaluator behind `SearchCV`: a configuration, fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

import attrs

from hpt_core import EvaluationError, Params, Report, TrialContext, option
from hpt_evaluator_sklearn.search.jobs import AbortedError, FoldJob, Result
from hpt_evaluator_sklearn.search.outcomes import failure_of, report_of

__all__ = ["SearchEvaluator", "run_here"]

Run = Callable[[int, Mapping[str, Any], Sequence[int]], Generator[Result, None, None]]
"""Tries a trial (its number, the estimator's parameters) on folds; gives a result for each, in order, as they come."""

Told = Callable[[Mapping[str, Any], int, Result], None]
"""Hears of parameters, a fold from 0, and its result."""


def run_here(job: FoldJob) -> Run:
    """Try configurations in the thread that asks."""

    def run(
        number: int,  # noqa: ARG001 - the pool needs it
        params: Mapping[str, Any],
        folds: Sequence[int],
    ) -> Generator[Result, None, None]:
        prototype = job.prototype(params)
        for i in folds:
            yield job.run(prototype, i)

    return run


@attrs.define(kw_only=True, eq=False)
class SearchEvaluator:
    """Evaluates for `SearchCV`. Its options only describe the search, so that another one is told apart from it."""

    estimator: str = option("", help="The estimator, in words.")
    scoring: str = option("", help="The scorers, in words.")
    data: str = option("", help="A digest of the data, of its folds and of what goes to fit and score.")
    steps: int = option(1, ge=1, help="How many folds there are.")
    return_train_score: bool = option(False, help="Whether training parts are scored too.")
    evidence = "folds"
    resumable = True

    _decode: Callable[[Params], dict[str, Any]] = attrs.field(init=False, default=dict, repr=False)
    _run: Run | None = attrs.field(init=False, default=None, repr=False)
    _told: Told | None = attrs.field(init=False, default=None, repr=False)

    def connect(self, decode: Callable[[Params], dict[str, Any]], run: Run, told: Told | None) -> None:
        """Give it what it works with.

        Args:
            decode: Configuration of the space -> parameters of the estimator.
            run: Tries them on folds.
            told: Hears of each result as it comes; None: nobody wants to.
        """
        self._decode, self._run, self._told = decode, run, told

    def disconnect(self) -> None:
        """Let go of the data."""
        self._run = None

    def evaluate(self, trial: TrialContext) -> Generator[Report, None, dict[str, float]]:
        """Try a configuration on all folds, or on those that are left.

        Args:
            trial: What to try.

        Yields:
            A report for each fold whose scores are finite and that is new.

        Returns:
            The mean score, its standard deviation over the folds, and the mean time of a fit.

        Raises:
            AbortedError: If the search must not go on.
            EvaluationError: At the end, if there is a fold without a report.
        """
        objective = trial.objectives[0]
        params = self._decode(trial.params)
        bad: dict[int, Result] = {}
        done = {report.step: report for report in trial.reports}
        left = [i for i in range(self.steps) if i + 1 not in done]
        for i, result in self._results(trial.number, params, left):
            report = report_of(result, i + 1, objective)
            if self._told is not None:
                self._told(params, i, result)
            if report is None:
                bad[i] = result
                continue
            done[report.step] = report
            if report.step > trial.resume_step:
                yield report
        if bad:
            raise failure_of(bad, self.steps)
        return _summary(objective, [done[step] for step in sorted(done)])

    def _results(
        self, number: int, params: Mapping[str, Any], left: Sequence[int]
    ) -> Generator[tuple[int, Result], None, None]:
        if self._run is None:
            msg = "This search is over: its evaluator has no data any more."
            raise AbortedError(RuntimeError(msg))
        try:
            with closing(self._run(number, params, left)) as results:
                yield from zip(left, results, strict=True)
        except (AbortedError, EvaluationError):
            raise
        except Exception as err:
            raise AbortedError(err) from err


def _summary(objective: str, reports: Sequence[Report]) -> dict[str, float]:
    count = len(reports)
    mean = sum(report.value for report in reports) / count
    deviation = (sum((report.value - mean) ** 2 for report in reports) / count) ** 0.5
    return {objective: mean, "std": deviation, "fit_time": sum(r.metrics["fit_time"] for r in reports) / count}
