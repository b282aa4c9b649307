"""The evaluator ``repeat``: the same configuration under several seeds, as mean and standard error."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import attrs

from hpt_core import EvaluationError, Report, TrialContext, option
from hpt_evaluator_wrap.wrapper import Evidence, Wrapper, closed

__all__ = ["RepeatEvaluator"]


@attrs.define(kw_only=True)
class RepeatEvaluator(Wrapper):
    """Evaluates each configuration several times under different seeds and takes the mean.

    The i-th repeat has the same seed in every trial, so trials are compared on equal terms: each repeat is one report
    of ``folds`` evidence, and rules for folds can end a trial after a few. The standard error of the mean of each
    result is a metric, ``NAME_se``. A trial cannot go on after a pause.
    """

    times: int = option(3, ge=2, help="How many repeats.")
    seed: int = option(0, ge=0, help="Where the seeds of the repeats come from.")

    @property
    def evidence(self) -> str:
        """Folds: repeat i has the same seed in every trial."""
        return "folds"

    @property
    def steps(self) -> int:
        """One report for each repeat."""
        return self.times

    @property
    def resumable(self) -> bool:
        """A trial starts anew after a pause."""
        return False

    def evaluate(self, trial: TrialContext) -> Evidence:
        """Report each repeat.

        Args:
            trial: What to evaluate; each repeat gets a seed and a folder of its own.

        Returns:
            After the reports: the mean by objective and metric, and ``NAME_se``, the sample standard deviation over the
            square root of ``times``. A metric that some repeats lack, or that is not finite in some, is left out.

        Raises:
            EvaluationError: As the inner evaluator, or if a repeat gives no value for an objective.
        """
        results: list[dict[str, float]] = []
        for i in range(self.times):
            results.append(self._once(trial, i))
            found = results[-1]
            first = trial.objectives[0]
            yield Report(i + 1, found[first], {name: value for name, value in found.items() if name != first})
        return _summary(results)

    @property
    def discard(self) -> Callable[[TrialContext], object] | None:
        """How the inner evaluator removes what it keeps of each repeat; None if it keeps nothing."""
        discard = super().discard
        return None if discard is None else lambda trial: [discard(self._own(trial, i)) for i in range(self.times)]

    def _own(self, trial: TrialContext, index: int) -> TrialContext:
        """The trial as a repeat's own."""
        digest = hashlib.blake2b(f"{self.seed}:{index}".encode(), digest_size=4).digest()
        workdir = None if trial.workdir is None else trial.workdir / f"repeat-{index + 1}"
        params = dict(trial.params)
        return attrs.evolve(trial, params=params, seed=int.from_bytes(digest), workdir=workdir, resume_step=0)

    def _once(self, trial: TrialContext, index: int) -> dict[str, float]:
        own = self._own(trial, index)
        result: Any = self.evaluator.evaluate(own)
        if isinstance(result, Iterator):
            result = self._end(result, own)
        return _named(result, trial.objectives)

    def _end(self, reports: Iterator[Report], trial: TrialContext) -> Any:
        """What a generator of reports comes to."""
        found: list[Report] = []
        with closed(reports):
            while True:
                try:
                    found.append(next(reports))
                except StopIteration as end:
                    return _estimate(found, trial, super().evidence) if end.value is None else end.value


def _estimate(reports: Sequence[Report], trial: TrialContext, evidence: str) -> dict[str, float]:
    if not reports:
        raise EvaluationError("A repeat neither reported nor returned a value.", kind="invalid-value")
    rows = [{trial.objectives[0]: report.value, **report.metrics} for report in reports]
    return _means(rows) if evidence == "folds" else rows[-1]


def _named(result: Any, objectives: Sequence[str]) -> dict[str, Any]:
    if isinstance(result, (tuple, list)) and len(result) == len(objectives) > 1:
        return dict(zip(objectives, result, strict=True))
    found = dict(result) if isinstance(result, Mapping) else {objectives[0]: result}
    missing = [name for name in objectives if name not in found]
    if missing:
        raise EvaluationError(f"A repeat gives no value for {missing[0]!r}.", kind="invalid-value")
    return found


def _common(rows: Sequence[Mapping[str, float]]) -> list[str]:
    return [name for name in rows[0] if all(name in row for row in rows)]


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(row[name] for row in rows) for name in _common(rows)}


def _summary(repeats: Sequence[Mapping[str, float]]) -> dict[str, float]:
    rows = [{name: value for name, value in row.items() if math.isfinite(value)} for row in repeats]
    root = len(rows) ** 0.5
    errors = {f"{name}_se": stdev(float(row[name]) for row in rows) / root for name in _common(rows)}
    return {**errors, **_means(rows)}
