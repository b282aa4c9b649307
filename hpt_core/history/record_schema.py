"""The schema of records: whether a record read from a store has the shape that `hpt_core.history.events` gives it.

A store may have been damaged or edited in a way that no checksum reveals, so records are checked before they are
replayed. Only the keys that the replay and the commands rely on are checked. Additional keys and unknown events come
from a later hpt and are accepted.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from hpt_core.errors import StoreError

__all__ = ["damaged_record", "record_problem"]

_LARGEST = sys.float_info.max
_FIRST_TIME, _LAST_TIME = -62_135_596_800, 253_402_300_800  # the years 1 to 9999, which Python's dates can represent
_ABSENT = object()


class _Kind(NamedTuple):
    wanted: str
    fits: Callable[[Any], bool]
    always: type | None = None  # a value of exactly this type always fits; saves the call for most values


class _Key(NamedTuple):
    name: str
    kind: _Kind
    required: bool = True


def _is_number(value: Any) -> bool:
    usual = type(value) is float or (isinstance(value, (int, float)) and not isinstance(value, bool))
    return usual and -_LARGEST <= value <= _LARGEST


def _is_table(value: Any) -> bool:
    return type(value) is dict or isinstance(value, Mapping)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _has_infinity(table: Mapping[str, Any]) -> bool:
    return any(type(value) is float and not isfinite(value) for value in table.values())


def _is_component(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping) and isinstance(value.get("use"), str))


def _is_component_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_component, value))


def _holds(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: _is_table(value) and all(map(fits, value.values()))


def _is_objectives(value: Any) -> bool:
    return bool(value) and isinstance(value, Mapping) and all(way in ("minimize", "maximize") for way in value.values())


def _is_evidence(value: Any) -> bool:
    steps = value.get("steps") if isinstance(value, Mapping) else _ABSENT
    return steps is None or _is_count(steps)


_TEXT = _Kind("text", lambda value: isinstance(value, str), str)
_COUNT = _Kind("an int >= 0", _is_count)
_NUMBER = _Kind("a finite number", _is_number)
_TIME = _Kind("Unix seconds", lambda value: _is_number(value) and _FIRST_TIME <= value < _LAST_TIME)
_TABLE = _Kind("a table", _is_table, dict)
_CONFIGURATION = _Kind("a table without infinite numbers", lambda value: _is_table(value) and not _has_infinity(value))
_TEXTS = _Kind("a table of texts", _holds(lambda value: isinstance(value, str)))
_NUMBERS = _Kind("a table of finite numbers", _holds(_is_number))
_VALUES = _Kind("a list of finite numbers", lambda value: isinstance(value, list) and all(map(_is_number, value)))
_STATE = _Kind("complete, stopped or failed", bool)
_COMPONENT = _Kind("a table with `use`", _is_component)

_TRIAL, _ATTEMPT, _REASON = _Key("trial", _COUNT), _Key("attempt", _COUNT), _Key("reason", _TEXT)
_RULE, _WORKER, _PARAMS = _Key("rule", _TEXT), _Key("worker", _TEXT), _Key("params", _CONFIGURATION)
_DEFINITION, _PROVENANCE = _Key("definition", _TABLE), _Key("provenance", _TABLE)
_INFO, _METRICS = _Key("info", _TABLE, required=False), _Key("metrics", _NUMBERS, required=False)

_KEYS = {
    "created": (_Key("format", _COUNT), _DEFINITION, _PROVENANCE),
    "amended": (_DEFINITION,),
    "joined": (_WORKER, _PROVENANCE),
    "enqueued": (_TRIAL, _PARAMS, _Key("source", _TEXT, required=False), _INFO),
    "started": (_TRIAL, _PARAMS, _WORKER, _ATTEMPT, _Key("source", _TEXT), _INFO),
    "reported": (_TRIAL, _ATTEMPT, _Key("step", _COUNT), _Key("value", _NUMBER), _METRICS),
    "paused": (_TRIAL, _ATTEMPT, _RULE, _REASON),
    "released": (_TRIAL, _ATTEMPT),
    "invalidated": (_TRIAL, _REASON),
    "heartbeat": (_WORKER,),
    "stopped": (_Key("seen", _COUNT), _RULE, _REASON, _Key("evidence", _TABLE)),
    "note": (_Key("subject", _TEXT), _Key("content", _TABLE), _Key("worker", _TEXT, required=False)),
}
_RESULT = (
    _Key("values", _VALUES, required=False),
    _METRICS,
    *(key._replace(required=False) for key in (_RULE, _REASON)),
)
_FINISHED = {
    "complete": (_TRIAL, _ATTEMPT, _Key("values", _VALUES), *_RESULT),
    "stopped": (_TRIAL, _ATTEMPT, _RULE, _REASON, *_RESULT),
    "failed": (_TRIAL, _ATTEMPT, _Key("kind", _TEXT), _Key("message", _TEXT), _Key("detail", _TEXT), *_RESULT),
}
_DEFINED_BY = {"created": ("definition", "provenance"), "amended": ("definition",), "joined": ("provenance",)}
_PARTS = {
    "definition": tuple(
        _Key(name, kind, required=name not in {"constraints", "evidence"})
        for name, kind in {
            "space": _TABLE,
            "objectives": _Kind("a table of 'minimize' or 'maximize'", _is_objectives),
            "constraints": _TEXTS,
            "sampler": _COMPONENT,
            "evaluator": _COMPONENT,
            "evidence": _Kind("a table with `steps`, an int >= 0 or null", _is_evidence),
            "stop": _Kind("a list of components", _is_component_list),
            "seed": _COUNT,
            "duplicates": _TEXT,
            "reproducible": _COUNT,
        }.items()
    ),
    "provenance": (
        _Key("python", _TEXT, required=False),
        _Key("platform", _TEXT, required=False),
        _Key("packages", _TEXTS, required=False),
        _Key("files", _TEXTS, required=False),
    ),
}


def damaged_record(position: int, problem: str) -> StoreError:
    """The error for the record at a position of a log."""
    remedy = (
        "Restore a backup of the store, or delete this and all later records of the study to keep the earlier ones."
    )
    return StoreError(f"Record {position} of the log is damaged: {problem.rstrip('.')}. {remedy}")


def record_problem(record: Mapping[str, Any]) -> str:
    """What is wrong with a record, in one sentence; empty if nothing is."""
    event, time = record.get("event", _ABSENT), record.get("time", _ABSENT)
    if not isinstance(event, str):
        return _message("event", _TEXT, event)
    if not _TIME.fits(time):
        return _message("time", _TIME, time)
    keys: Sequence[_Key] | None
    if event == "finished":
        state = record.get("state", _ABSENT)
        keys = _FINISHED.get(state) if isinstance(state, str) else None
        if keys is None:
            return _message("state", _STATE, state)
    else:
        keys = _KEYS.get(event, ())
    problem = _first_problem(record, keys, "")
    for part in _DEFINED_BY.get(event, ()):
        problem = problem or _first_problem(record[part], _PARTS[part], f"{part}.")
    return problem


def _first_problem(table: Mapping[str, Any], keys: Sequence[_Key], within: str) -> str:
    for name, kind, required in keys:
        value = table.get(name, _ABSENT)
        if type(value) is not kind.always and (required or value is not _ABSENT) and not kind.fits(value):
            return _message(f"{within}{name}", kind, value)
    return ""


def _message(name: str, kind: _Kind, value: object) -> str:
    got = "It is missing" if value is _ABSENT else f"Got {reprlib.repr(value)}"
    return f"its `{name}` must be {kind.wanted}. {got}."
