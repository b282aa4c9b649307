"""Asking stopping rules: one without the method has no opinion, and one that breaks its contract is told so."""

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
    """Ask a rule.

    Args:
        name: Its name, for messages.
        rule: The rule.
        method: What it is asked.
        allowed: Of which types an answer may be, beside None.
        arguments: What the method is given.

    Raises:
        PluginError: If it fails, or answers with something else.
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
        msg = f"The stopping rule {name!r} must answer {method} with {wanted} or None. Got {answer!r:.80}."
        raise PluginError(msg)
    return answer


def retired(name: str, rule: object, history: History) -> Mapping[int, Stop]:
    """Which paused trials a rule gives up; see `ask`."""
    found: Mapping[int, Stop] = ask(name, rule, "retire", (Mapping,), history) or {}
    for number, stop in found.items():
        if not isinstance(stop, Stop):
            raise PluginError(f"The stopping rule {name!r} must retire trial {number} with a Stop. Got {stop!r:.80}.")
    return found


def value_of(stop: Stop) -> float | None:
    """The value that a stop gives its trial, None where the reports tell it.

    Raises:
        EvaluationError: If it is no finite number.
    """
    return None if stop.value is None else check_result(stop.value, ("value",))[0][0]
