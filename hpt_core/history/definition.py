"""The definition of a study as JSON-shaped data: its parts, and the differences between two definitions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hpt_core.errors import Mistake, UsageError
from hpt_core.history.export import facts
from hpt_core.history.trial import Trial
from hpt_core.importing import is_import_path
from hpt_core.mistakes import within
from hpt_core.spelling import did_you_mean
from hpt_core.values import shown

__all__ = ["differences", "evidence_of", "parse_objectives", "refuse_code", "with_current_options"]

_DIRECTIONS = ("minimize", "maximize")
# The columns that each row of trials has besides its objectives (see `hpt_core.history.export.row`).
_COLUMNS = frozenset(("number", "state", "feasible", *facts(Trial(0, {}))))
_COLUMN_GROUPS = ("metrics.", "params.")


def parse_objectives(objective: object) -> dict[str, str]:
    """Turn the ``objective`` that a user gave into a mapping of name -> direction, in order.

    Args:
        objective: ``"minimize"`` or ``"maximize"`` (the name is then ``value``), or a mapping of names to those.

    Raises:
        UsageError: If it is neither, with every mistake.
    """
    if isinstance(objective, str) and objective in _DIRECTIONS:
        return {"value": objective}
    if not isinstance(objective, Mapping) or not objective:
        wanted = "'minimize', 'maximize' or a table like { accuracy = \"maximize\" }"
        hint = did_you_mean(objective, _DIRECTIONS) if isinstance(objective, str) else ""
        raise UsageError(Mistake("objective", f"Must be {wanted}. Got {objective!r:.80}.{hint}"))
    mistakes = []
    for name, direction in objective.items():
        path = f"objective.{name}"
        if not isinstance(name, str) or not name.isprintable() or not name:
            mistakes.append(Mistake(path, f"The name of an objective must be printable text. Got {shown(name)}."))
        if name in _COLUMNS or str(name).startswith(_COLUMN_GROUPS):
            mistakes.append(Mistake(path, f"An objective cannot be named {name!r}: every trial has that column."))
        if direction not in _DIRECTIONS:
            hint = did_you_mean(str(direction), _DIRECTIONS)
            mistakes.append(Mistake(path, f"Must be 'minimize' or 'maximize'. Got {shown(direction)}.{hint}"))
    if mistakes:
        raise UsageError(*mistakes)
    return dict(objective)


def evidence_of(evaluator: object) -> dict[str, Any]:
    """What an evaluator declares about its reports; see `hpt_core.components.Evaluator`."""
    return {
        "kind": getattr(evaluator, "evidence", "curve"),
        "steps": getattr(evaluator, "steps", None),
        "resumable": bool(getattr(evaluator, "resumable", False)),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Mistake]:
    """List the differences between two definitions, each with its path and both values."""
    found = []
    for key in [*before, *(k for k in now if k not in before)]:
        old, new = before.get(key), now.get(key)
        if json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True):  # in Python, 1 == 1.0 == True
            if key == "objectives" and [*before[key]] != [*now[key]]:  # reports are values of the first
                found.append(Mistake(key, f"The order was {', '.join(before[key])}, is now {', '.join(now[key])}."))
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping) and old.get("use") == new.get("use"):
            found += within(key, differences(old, new))
        else:
            found.append(Mistake(key, _changed(key, before, now)))
    return found


def with_current_options(before: Any, now: Any, given: Any, effective: Any) -> Any:
    """A recorded definition with those options of the current one that are no difference between the two.

    These are the options that affect no result, and those that newer versions of its components have, if they have
    their defaults.

    Args:
        before: The recorded definition, or a part of it.
        now: The same part of the current definition.
        given: The same part without options that have their defaults.
        effective: The same part without options that affect no result.
    """
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [with_current_options(*parts) for parts in zip(before, now, given, effective, strict=True)]
    if not isinstance(before, Mapping) or not isinstance(now, Mapping) or before.get("use") != now.get("use"):
        return before
    known = {
        key: with_current_options(part, now[key], given.get(key, {}), effective[key])
        if key in effective and (key in given or _is_component(now[key]))
        else part
        for key, part in before.items()
    }
    free = {key: part for key, part in now.items() if key not in effective or key not in before | given}
    return {**known, **free}


def _is_component(part: Any) -> bool:
    return isinstance(part, Mapping) and "use" in part


def _changed(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if key not in before:
        return f"Is new: {now[key]!r:.200}."
    if key not in now:
        return f"Is gone; was {before[key]!r:.200}."
    return f"Was {before[key]!r:.200}, is now {now[key]!r:.200}."


def refuse_code(spec: object, path: str) -> None:
    """Refuse a recorded component that names code by import path: reading a log must not run code.

    Raises:
        UsageError: If any part of it is such a path.
    """
    if isinstance(spec, str) and is_import_path(spec):
        remedy = "name it in a study file (`hpt run FILE`, `hpt verify --file FILE`), or pass the component in Python."
        message = f"The log names the code {spec!r}. hpt does not import code that a log names: {remedy}"
        raise UsageError(Mistake(path, message))
    parts = spec.items() if isinstance(spec, Mapping) else enumerate(spec) if isinstance(spec, (list, tuple)) else ()
    for key, part in parts:
        refuse_code(part, f"{path}.{key}")
