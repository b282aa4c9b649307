"""The evaluator ``retry``: evaluates again after failures of certain kinds."""

from __future__ import annotations

import logging
import math
import time
from typing import Any, Literal

import attrs

from hpt_core import EvaluationError, Mistake, Report, TrialContext, UsageError, option
from hpt_evaluator_wrap.plain import plain_result
from hpt_evaluator_wrap.wrapper import Evaluation, Running, Wrapper, message_of

__all__ = ["RetryEvaluator"]

_LOG = logging.getLogger("hpt")

Kind = Literal["error", "invalid-value", "timeout", "out-of-memory", "killed"]


@attrs.define(kw_only=True)
class RetryEvaluator(Wrapper):
    """Evaluates again after a failure, with the same seed: for temporary failures, such as a busy machine or a network.

    Reports from earlier tries are not repeated. An inner evaluator that can resume continues after the last one. If the
    last try fails, so does the trial.
    """

    times: int = option(2, ge=1, help="Maximum number of further tries after the first.")
    kinds: list[Kind] = option(factory=lambda: ["error"], help="Kinds of failure to retry.")
    wait: float = option(
        0.0, ge=0, seconds=True, help="Seconds to wait before the second try; doubled before each further try."
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if not self.kinds:
            raise UsageError(Mistake("kinds", "Must name at least one kind of failure. Got none."))

    def evaluate(self, trial: TrialContext) -> Evaluation:
        """Run the inner evaluator until it succeeds, at most ``times`` + 1 times.

        Args:
            trial: The trial to evaluate.

        Yields:
            The reports of the inner evaluator, each step once.

        Returns:
            The result of the inner evaluator.

        Raises:
            Exception: From the last try of the inner evaluator.
        """
        reported: list[Report] = []
        wait = self.wait
        for _ in range(self.times):
            try:
                return (yield from self._try(trial, reported, strict="invalid-value" in self.kinds))
            except Exception as err:
                if _kind(err) not in self.kinds:
                    raise
                _LOG.warning("Trial %d is retried after %s", trial.number, message_of(err))
            time.sleep(wait)
            wait *= 2
        return (yield from self._try(trial, reported, strict=False))

    def _try(self, trial: TrialContext, reported: list[Report], *, strict: bool) -> Evaluation:
        """Run the inner evaluator once.

        Args:
            trial: The trial to evaluate.
            reported: The reports of earlier tries, to which new ones are appended.
            strict: Whether a value that is not finite raises an error.
        """
        own = attrs.evolve(trial, params=dict(trial.params), resume_step=0, reports=())
        last = reported[-1].step if reported else trial.resume_step
        if self.resumable:
            own = attrs.evolve(own, resume_step=last, reports=(*trial.reports, *reported))
        with Running(self.evaluator.evaluate(own)) as running:
            for report in running:
                if strict:
                    _require_finite(report.value)
                if report.step > last:
                    last = report.step
                    reported.append(report)
                    yield report
        if strict:
            _require_finite(running.result)
        return running.result


def _require_finite(result: Any) -> None:
    if not _is_finite(result):
        raise EvaluationError(f"The result is not finite: {result!r:.80}.", kind="invalid-value")


def _kind(err: Exception) -> str:
    if isinstance(err, EvaluationError):
        return err.kind
    return "out-of-memory" if isinstance(err, MemoryError) else "error"


def _is_finite(result: Any) -> bool:
    """Whether all numbers of a result are finite; True if it contains anything else, which the core refuses."""
    try:
        plain = plain_result(result)
    except EvaluationError:
        return True
    numbers = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else [plain]
    return all(number is None or math.isfinite(number) for number in numbers)
