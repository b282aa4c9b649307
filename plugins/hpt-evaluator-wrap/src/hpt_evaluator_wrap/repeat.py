"""The evaluator ``repeat``: evaluates a configuration with several seeds, and returns mean and standard error."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import attrs

from hpt_core import EvaluationError, Report, TrialContext, option
from hpt_evaluator_wrap.plain import plain_number
from hpt_evaluator_wrap.wrapper import Evaluation, Running, Wrapper

__all__ = ["RepeatEvaluator"]


@attrs.define(kw_only=True)
class RepeatEvaluator(Wrapper):
    """Evaluates each configuration several times with different seeds and returns the mean.

    Repeat i has the same seed in every trial, so trials are paired: each repeat is one report of ``folds`` evidence,
    and rules for folds can stop a trial after a few repeats. The standard error of each mean is a metric, ``NAME_se``.
    A trial cannot resume after a pause; it starts again.
    """

    times: int = option(3, ge=2, help="Number of repeats.")
    seed: int = option(0, ge=0, help="Seed from which the seeds of the repeats are derived.")

    @property
    def evidence(self) -> str:
        """Always ``folds``, because repeat i has the same seed in every trial."""
        return "folds"

    @property
    def steps(self) -> int:
        """Number of reports: one for each repeat."""
        return self.times

    @property
    def resumable(self) -> bool:
        """Always False: a trial starts again after a pause."""
        return False

    def evaluate(self, trial: TrialContext) -> Evaluation:
        """Evaluate the configuration ``times`` times.

        Args:
            trial: The trial to evaluate. Each repeat gets its own seed and folder.

        Yields:
            One report for each repeat.

        Returns:
            The mean of each objective and metric, and its standard error as ``NAME_se`` (the sample standard deviation
            divided by the square root of ``times``). A metric is omitted if some repeat lacks it or if it is not finite
            in some repeat.

        Raises:
            EvaluationError: From the inner evaluator, or if a repeat has no value for an objective.
        """
        results: list[dict[str, float]] = []
        for i in range(self.times):
            results.append(self._run(trial, i))
            found = results[-1]
            first = trial.objectives[0]
            yield Report(i + 1, found[first], {name: value for name, value in found.items() if name != first})
        return _summary(results)

    @property
    def conclude(self) -> Callable[[TrialContext], Mapping[str, Any] | None] | None:
        """The inner evaluator's ``conclude``, applied to the first repeat of the best trial; None if it has none."""
        conclude = super().conclude
        return None if conclude is None else lambda best: conclude(self._repeat(best, 0))

    @property
    def discard(self) -> Callable[[TrialContext], object] | None:
        """The inner evaluator's ``discard``, applied to each repeat of a trial; None if it has none."""
        return self._for_each(super().discard)

    @property
    def finish(self) -> Callable[[TrialContext], object] | None:
        """The inner evaluator's ``finish``, applied to each repeat of a trial; None if it has none."""
        return self._for_each(super().finish)

    def _for_each(self, call: Callable[[TrialContext], object] | None) -> Callable[[TrialContext], object] | None:
        return None if call is None else lambda trial: [call(self._repeat(trial, i)) for i in range(self.times)]

    def _repeat(self, trial: TrialContext, index: int) -> TrialContext:
        """The trial with the seed and the folder of a repeat."""
        digest = hashlib.blake2b(f"{self.seed}:{index}".encode(), digest_size=4).digest()
        workdir = None if trial.workdir is None else trial.workdir / f"repeat-{index + 1}"
        params = dict(trial.params)
        return attrs.evolve(trial, params=params, seed=int.from_bytes(digest), workdir=workdir, resume_step=0)

    def _run(self, trial: TrialContext, index: int) -> dict[str, float]:
        """Evaluate one repeat."""
        repeat = self._repeat(trial, index)
        with Running(self.evaluator.evaluate(repeat)) as running:
            reports = list(running)
        result = running.result
        if result is None:
            result = _estimate(reports, trial, super().evidence)
        return _by_name(result, trial.objectives)


def _estimate(reports: Sequence[Report], trial: TrialContext, evidence: str) -> dict[str, float]:
    if not reports:
        raise EvaluationError("A repeat neither reported nor returned a value.", kind="invalid-value")
    rows = [{trial.objectives[0]: report.value, **report.metrics} for report in reports]
    return _means(rows) if evidence == "folds" else rows[-1]


def _by_name(result: Any, objectives: Sequence[str]) -> dict[str, Any]:
    if isinstance(result, (tuple, list)) and len(result) == len(objectives) > 1:
        return dict(zip(objectives, result, strict=True))
    found = dict(result) if isinstance(result, Mapping) else {objectives[0]: result}
    missing = [name for name in objectives if name not in found]
    if missing:
        raise EvaluationError(f"A repeat returned no value for {missing[0]!r}.", kind="invalid-value")
    return found


def _common(rows: Sequence[Mapping[str, float]]) -> list[str]:
    return [name for name in rows[0] if all(name in row for row in rows)]


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: _mean([row[name] for row in rows]) for name in _common(rows)}


def _mean(values: Sequence[float]) -> float:
    numbers = [plain_number(value) for value in values]
    try:
        return fmean(numbers)
    except OverflowError:  # losses of a diverged training
        return math.fsum(number / len(numbers) for number in numbers)
    except ValueError:  # infinities of both signs
        return math.nan


def _standard_error(values: Sequence[float]) -> float:
    try:
        return stdev(values) / math.sqrt(len(values))
    except OverflowError:
        return math.inf


def _summary(repeats: Sequence[Mapping[str, float]]) -> dict[str, float]:
    numbers = [{name: plain_number(value) for name, value in row.items()} for row in repeats]
    rows = [{name: value for name, value in row.items() if math.isfinite(value)} for row in numbers]
    errors = {f"{name}_se": _standard_error([row[name] for row in rows]) for name in _common(rows)}
    return {**errors, **_means(rows)}
