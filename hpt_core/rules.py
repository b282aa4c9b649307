"""Calls the methods of stopping rules and checks their answers against the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpt_core.components import Stop
from hpt_core.errors import PluginError
from hpt_core.trial import check_result

if TYPE_CHECKING:
    from hpt_core.history import History

__all__ = ["ask", "retired", "value_of"]


def ask(name: str, rule: object, method: str, allowed: tuple[type, ...], *arguments: object) -> Any:
    """Call a method of a rule. Returns its answer, None if the rule does not have the method.

    Args:
        name: The rule's name, for messages.
        rule: The rule.
        method: The name of the method.
        allowed: The types that the answer may have, besides None.
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
    if answer is not None and not isinstance(answer, allowed):
        wanted = " or ".join(kind.__name__ for kind in allowed)
        msg = f"The stopping rule {name!r} must return {wanted} or None from {method}. Got {answer!r:.80}."
        raise PluginError(msg)
    return answer


def retired(name: str, rule: object, history: History) -> Mapping[int, Stop]:
    """The paused trials that a rule gives up, by number; see `ask`."""
    found: Mapping[int, Stop] = ask(name, rule, "retire", (Mapping,), history) or {}
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
