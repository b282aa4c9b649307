"""The evaluator ``retry``: another try after failures of certain kinds."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from hpt_core import EvaluationError, Mistake, Report, TrialContext, UsageError, option
from hpt_evaluator_wrap.wrapper import Evidence, Wrapper, closed

__all__ = ["RetryEvaluator"]

_LOG = logging.getLogger("hpt")

Kind = Literal["error", "invalid-value", "timeout", "out-of-memory", "killed"]


@attrs.define(kw_only=True)
class RetryEvaluator(Wrapper):
    """Evaluates again what failed, under the same seed, if it failed in a way that may pass: a busy machine, a network.

    Reports that were given before are not given again; an evaluator that can resume goes on behind the last one. The
    last failure is the trial's.
    """

    times: int = option(2, ge=1, help="How many more tries after the first.")
    kinds: list[Kind] = option(factory=lambda: ["error"], help="Failures that are tried again.")
    wait: float = option(0.0, ge=0, help="Seconds before the second try, twice as long before each further one.")

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if not self.kinds:
            raise UsageError(Mistake("kinds", "Must name at least one kind of failure. Got none."))

    def evaluate(self, trial: TrialContext) -> Evidence:
        """Try, and report what the inner evaluator reports.

        Args:
            trial: What to evaluate.

        Returns:
            After the reports: what the inner evaluator returned.

        Raises:
            Exception: The inner evaluator's, of the last try.
        """
        told: list[Report] = []
        for attempt in range(self.times):
            try:
                return (yield from self._try(trial, told, strict="invalid-value" in self.kinds))
            except Exception as err:
                if _kind(err) not in self.kinds:
                    raise
                _LOG.warning("Trial %d is tried again after %s: %s", trial.number, type(err).__name__, err)
            time.sleep(self.wait * 2**attempt)
        return (yield from self._try(trial, told, strict=False))

    def _try(self, trial: TrialContext, told: list[Report], *, strict: bool) -> Evidence:
        """One try; ``told`` holds the reports of those before, ``strict`` says whether what is not finite raises."""
        own = attrs.evolve(trial, params=dict(trial.params), resume_step=0, reports=())
        last = told[-1].step if told else trial.resume_step
        if self.resumable:
            own = attrs.evolve(own, resume_step=last, reports=(*trial.reports, *told))
        result: Any = self.evaluator.evaluate(own)
        if isinstance(result, Iterator):
            with closed(result):
                while True:
                    try:
                        report = next(result)
                    except StopIteration as end:
                        result = end.value
                        break
                    _refuse(report.value, strict=strict)
                    if report.step > last:
                        last = report.step
                        told.append(report)
                        yield report
        _refuse(result, strict=strict)
        return result


def _refuse(result: Any, *, strict: bool) -> None:
    if strict and not _finite(result):
        raise EvaluationError(f"The result is not finite: {result!r:.80}.", kind="invalid-value")


def _kind(err: Exception) -> str:
    if isinstance(err, EvaluationError):
        return err.kind
    return "out-of-memory" if isinstance(err, MemoryError) else "error"


def _finite(result: Any) -> bool:
    """Whether all numbers of a result are finite; what is no number is for the core to refuse."""
    values = (
        result.values() if isinstance(result, Mapping) else result if isinstance(result, (tuple, list)) else [result]
    )
    try:
        return all(value is None or math.isfinite(value) for value in values)
    except TypeError:
        return True
