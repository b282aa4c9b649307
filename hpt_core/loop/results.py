"""Checks the result that a user passes to ``tell`` before anything is recorded.

A number that is not finite means that a training diverged: the trial failed. Anything else that is not a result is a
mistake of the caller. It is refused, as recording it as a failure would hide the mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hpt_core.components import Stop
from hpt_core.errors import EvaluationError, UsageError
from hpt_core.history.checks import NotFiniteError, check_result
from hpt_core.history.failures import failure_of
from hpt_core.history.trial import FAILURE_KINDS, Failure
from hpt_core.loop.rules import value_of

__all__ = ["Result", "parse_result"]

Result = Stop | Failure | tuple[tuple[float, ...], dict[str, float]]
"""Stopped early, failed, or complete with values and metrics."""


def parse_result(
    result: object, objectives: Sequence[str], needed: Collection[str], *, where: str, remedy: str = ""
) -> Result:
    """Turn what a user passed as a trial's result into a `Result`.

    Args:
        result: Anything that an evaluator may return, an exception, a `Failure` or a `Stop`.
        objectives: The names of the objectives, in order.
        needed: The names of the constrained metrics.
        where: The start of an error message.
        remedy: The end of an error message.

    Raises:
        UsageError: If the result is none of these.
    """
    if isinstance(result, BaseException):
        result = failure_of(result)
    if isinstance(result, Failure) and result.kind not in FAILURE_KINDS:
        known = ", ".join(FAILURE_KINDS)
        raise UsageError(f"{where}: The `kind` of a Failure must be one of {known}. Got {result.kind!r:.80}.{remedy}")
    try:
        if isinstance(result, Stop):
            value_of(result)
        if isinstance(result, Stop | Failure):
            return result
        return check_result(result, objectives, needed)
    except EvaluationError as err:
        if isinstance(err, NotFiniteError) and not isinstance(result, Stop):
            return Failure(err.kind, str(err))
        raise UsageError(f"{where}: {err}{remedy}") from err
