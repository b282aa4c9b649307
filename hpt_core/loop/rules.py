"""Calls the methods of stopping rules, checks their answers against the contract, and says how a trial ends by them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpt_core.components import Pause, Stop
from hpt_core.errors import EvaluationError, PluginError
from hpt_core.history.checks import check_result
from hpt_core.history.evidence import estimate, measured
from hpt_core.history.trial import State

if TYPE_CHECKING:
    from hpt_core.history.history import History
    from hpt_core.history.trial import Trial

__all__ = ["ask", "ending", "retired", "same_failure", "value_of"]

_ANSWERS: dict[str, tuple[type, ...]] = {
    "judge_study": (Stop,),
    "judge_trial": (Stop, Pause),
    "promote": (int,),
    "retire": (Mapping,),
}
"""Method of a rule -> the types that its answer may have, besides None."""

# numbers, and addresses even if cut off at the front ("...x7f3a")
_NUMBER = re.compile(r"[0.]x[0-9a-f]+|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def ask(name: str, rule: object, method: str, *arguments: object) -> Any:
    """Call a method of a rule. Returns its answer, None if the rule does not have the method.

    Args:
        name: The rule's name, for messages.
        rule: The rule.
        method: The name of the method.
        arguments: The arguments of the method.

    Raises:
        PluginError: If the rule fails, or its answer is of another type.
    """
    function = getattr(rule, method, None)
    if function is None:
        return None
    try:
        answer = function(*arguments)
    except PluginError:
        raise
    except Exception as err:
        raise PluginError(f"The stopping rule {name!r} failed in {method}: {type(err).__name__}: {err}") from err
    if answer is not None and not isinstance(answer, _ANSWERS[method]):
        wanted = " or ".join(kind.__name__ for kind in _ANSWERS[method])
        msg = f"The stopping rule {name!r} must return {wanted} or None from {method}. Got {answer!r:.80}."
        raise PluginError(msg)
    return answer


def retired(name: str, rule: object, history: History) -> Mapping[int, Stop]:
    """The paused trials that a rule gives up, by number; see `ask`."""
    found: Mapping[int, Stop] = ask(name, rule, "retire", history) or {}
    for number, stop in found.items():
        if not isinstance(stop, Stop):
            raise PluginError(f"The stopping rule {name!r} must retire trial {number} with a Stop. Got {stop!r:.80}.")
    return found


def value_of(stop: Stop) -> float | None:
    """The value that a `Stop` gives its trial; None if the reports determine it.

    Raises:
        EvaluationError: If the value is not a finite number.
    """
    return None if stop.value is None else check_result(stop.value, ("value",))[0][0]


def ending(
    name: str, stop: Stop, history: History, trial: Trial
) -> tuple[State, Sequence[float] | None, dict[str, float]]:
    """How a trial ends that a rule stops.

    Args:
        name: The rule's name, for messages.
        stop: Its decision.
        history: The study's history.
        trial: The trial.

    Returns:
        The state, complete or stopped; one value per objective, or None; the metrics of a complete trial.

    Raises:
        PluginError: If the value that the rule gives is not a finite number.
    """
    first, *others = history.objectives
    values = estimate(history.evidence, trial.reports, others)
    try:
        given = value_of(stop)
    except EvaluationError as err:
        raise PluginError(f"The stopping rule {name!r} gives trial {trial.number} an invalid value: {err}") from err
    if given is not None and (values is not None or not others):
        values = (given, *(values or ())[1:])
    if not stop.complete or history.evidence != "curve" or values is None:
        return State.STOPPED, values, {}
    metrics = measured("curve", trial.reports, trial.reports[-1].metrics) if trial.reports else {}
    if any(bound.metric not in {first, *metrics} for bound in history.constraints):
        return State.STOPPED, values, {}
    return State.COMPLETE, values, {name: value for name, value in metrics.items() if name not in others}


def same_failure(first: Sequence[Trial], count: int) -> Stop | None:
    """Stop if the first ``count`` trials of a run all failed with the same error. ``first``: those that have ended."""
    failures = [trial.failure for trial in first if trial.failure is not None]
    if len(failures) < count:
        return None
    if len({(failure.kind, _NUMBER.sub("#", failure.message)) for failure in failures}) > 1:
        return None
    which = "trial of this run failed" if count == 1 else f"{count} trials of this run all failed in the same way"
    message = f"the first {which} ({failures[0].kind}): {failures[0].message}"
    return Stop(message, {"trials": [trial.number for trial in first]})
