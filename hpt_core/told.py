"""What a user tells of a trial's end, looked at before anything is recorded.

A number that is not finite is how a training ends that diverged: a failure. Anything else that is no result is a
mistake of the one who tells it, and recording it would hide that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hpt_core.components import Stop
from hpt_core.errors import EvaluationError, UsageError
from hpt_core.rules import value_of
from hpt_core.trial import FAILURE_KINDS, Failure, NotFiniteError, check_result

__all__ = ["End", "end_of"]

End = Stop | Failure | tuple[tuple[float, ...], dict[str, float]]
"""Stopped early, failed, or complete with values and metrics."""


def end_of(result: object, objectives: Sequence[str], needed: Collection[str], *, where: str, remedy: str = "") -> End:
    """How a trial ends that was told to end with ``result``.

    Args:
        result: What an evaluator may return, a `Failure` or a `Stop`.
        objectives: The names of the objectives, in order.
        needed: Names that constraints are on.
        where: What a message begins with.
        remedy: What it ends with.

    Raises:
        UsageError: If it is none of these.
    """
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
