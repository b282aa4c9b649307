"""The evaluator of `SearchCV`, which evaluates a configuration fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

import attrs

from hpt_core import EvaluationError, Params, Report, TrialContext, option
from hpt_evaluator_sklearn.search.fold_records import failure_of, report_of
from hpt_evaluator_sklearn.search.jobs import AbortedError, FoldJob, Result

__all__ = ["SearchEvaluator", "run_here"]

Run = Callable[[int, Mapping[str, Any], Sequence[int]], Generator[Result, None, None]]
"""Fits a trial (its number, the estimator's parameters) on folds; yields results in order, as they become available."""

OnResult = Callable[[Mapping[str, Any], int, Result], None]
"""Called with the parameters of the estimator, the index of a fold, and its result."""


def run_here(job: FoldJob) -> Run:
    """Make a `Run` that fits in the calling thread."""

    def run(
        number: int,  # noqa: ARG001 - only the pool needs it
        params: Mapping[str, Any],
        folds: Sequence[int],
    ) -> Generator[Result, None, None]:
        prototype = job.prototype(params)
        for i in folds:
            yield job.run(prototype, i)

    return run


@attrs.define(kw_only=True, eq=False)
class SearchEvaluator:
    """The evaluator of `SearchCV`. Its options only identify the search, so that a store can refuse another one."""

    estimator: str = option("", help="The estimator, as text.")
    scoring: str = option("", help="The scorers, as text.")
    data: str = option("", help="A digest of the data, its folds, and the arguments of fit and score.")
    steps: int = option(1, ge=1, help="Number of folds.")
    return_train_score: bool = option(False, help="Whether the training parts are scored as well.")
    evidence = "folds"
    resumable = True

    score_names: dict[str, None] = attrs.field(init=False, factory=dict, repr=False)
    """The names of several scores, in order: the log has none of a score that is always NaN."""
    _decode: Callable[[Params], dict[str, Any]] = attrs.field(init=False, default=dict, repr=False)
    _run: Run | None = attrs.field(init=False, default=None, repr=False)
    _on_result: OnResult | None = attrs.field(init=False, default=None, repr=False)

    def connect(self, decode: Callable[[Params], dict[str, Any]], run: Run, on_result: OnResult | None) -> None:
        """Connect the evaluator to the data and the estimator.

        Args:
            decode: Configuration of the space -> parameters of the estimator.
            run: Fits them on folds.
            on_result: Called for each result as it becomes available, or None.
        """
        self._decode, self._run, self._on_result = decode, run, on_result

    def disconnect(self) -> None:
        """Release the data."""
        self._run = None

    def evaluate(self, trial: TrialContext) -> Generator[Report, None, dict[str, float]]:
        """Evaluate a configuration on all folds, or on the remaining ones.

        Args:
            trial: The trial to evaluate.

        Yields:
            A report for each new fold whose value is finite, see `report_of`.

        Returns:
            The mean score, its standard deviation over the folds, and the mean fit time.

        Raises:
            AbortedError: If an error ends the search.
            EvaluationError: After the last fold, if any fold has no report.
        """
        objective = trial.objectives[0]
        params = self._decode(trial.params)
        bad: dict[int, Result] = {}
        done = {report.step: report for report in trial.reports}
        left = [i for i in range(self.steps) if i + 1 not in done]
        for i, result in self._results(trial.number, params, left):
            report = report_of(result, i + 1, objective)
            if isinstance(scores := result.get("test_scores"), Mapping):
                self.score_names |= dict.fromkeys(scores)
            if self._on_result is not None:
                self._on_result(params, i, result)
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
            msg = "This search has ended, and its evaluator has released the data."
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
