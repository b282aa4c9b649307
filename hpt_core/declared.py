"""What a declaration may contain: small checks that note a mistake and go on, so that all are found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpt_core.errors import Mistake

__all__ = [
    "MAX_INT",
    "conditions",
    "flag",
    "freeze",
    "integer",
    "json_problem",
    "native",
    "real",
    "same",
    "shown",
    "thaw",
]

MAX_INT = 2**53
"""Integers up to here are exact in a double, so in every store and spreadsheet."""


def shown(value: object) -> str:
    """A value for a message: its repr, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def native(value: Any) -> Any:
    """Turn numpy scalars and subclasses of JSON's scalar types into the plain type; leave the rest."""
    kind = type(value)
    if kind in (int, float, str, bool, list) or value is None:
        return value
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:
        return value.item()
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return value


def freeze(value: Any) -> Any:
    """The hashable form of a value: a list becomes a tuple."""
    return tuple(value) if type(value) is list else value


def thaw(value: Any) -> Any:
    """The value of a frozen form, as a new list where it is one."""
    return list(value) if type(value) is tuple else value


def same(a: Any, b: Any) -> bool:
    """Whether two frozen forms are the same JSON value: 1, 1.0 and True are three."""
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def json_problem(value: Any, *, nested: bool = False) -> str:
    """Why ``value`` (after `native`) is no JSON scalar or list of such; empty if it is."""
    if value is None or type(value) in (bool, int):
        return ""
    if type(value) is float:
        return "" if math.isfinite(value) else "must be finite"
    if type(value) is str:
        return "must be text that UTF-8 can hold" if _has_surrogate(value) else ""
    if type(value) in (list, tuple) and not nested:
        return next(filter(None, (json_problem(native(v), nested=True) for v in value)), "")
    return "must be a string, number, bool or None, or a list of such"


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def real(found: list[Mistake], field: str, value: Any) -> float | None:
    """A finite number as float, or None and a mistake."""
    value = native(value)
    if type(value) not in (int, float):
        found.append(Mistake(field, f"must be a number. Got {shown(value)}."))
        return None
    try:
        number = float(value) + 0.0
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        found.append(Mistake(field, f"must be a finite number. Got {shown(value)}."))
        return None
    return number


def integer(found: list[Mistake], field: str, value: Any) -> int | None:
    """An int within +-2**53, or None and a mistake."""
    value = native(value)
    if type(value) is not int:
        hint = ' A range of floats is a Float (type = "float").' if type(value) is float else ""
        found.append(Mistake(field, f"must be an int. Got {shown(value)}.{hint}"))
        return None
    if abs(value) > MAX_INT:
        found.append(Mistake(field, f"must be an int within +-2**53. Got {shown(value)}."))
        return None
    return value


def flag(found: list[Mistake], field: str, value: Any) -> bool:
    """A bool, or False and a mistake."""
    value = native(value)
    if type(value) is not bool:
        found.append(Mistake(field, f"must be true or false. Got {shown(value)}."))
        return False
    return value


def conditions(found: list[Mistake], when: Any) -> dict[str, tuple[Any, ...]]:
    """The normal form of ``when``: parent -> tuple of values, any of which activates.

    Args:
        found: Where mistakes are noted.
        when: As declared: None, or a mapping of parent -> value or list of values.
    """
    if when is None:
        return {}
    if not isinstance(when, Mapping):
        example = '{"model": "svm"}'
        found.append(Mistake("when", f"must map parents to values, as in {example}. Got {shown(when)}."))
        return {}
    return {str(parent): _allowed(found, parent, given) for parent, given in when.items()}


def _allowed(found: list[Mistake], parent: Any, given: Any) -> tuple[Any, ...]:
    values: Sequence[Any] = list(given) if isinstance(given, (list, tuple)) else [given]
    field = f"when.{parent}"
    if not isinstance(parent, str):
        found.append(Mistake(field, f"must be keyed by a parameter's name. Got {shown(parent)}."))
    if not values:
        found.append(Mistake(field, "must list at least one value. Got none, so it could never be active."))
    kept: dict[str, Any] = {}
    for value in values:
        plain = list(map(native, value)) if isinstance(value, (list, tuple)) else native(value)
        problem = json_problem(plain)
        if problem:
            found.append(Mistake(field, f"{problem}. Got {shown(value)}."))
        else:
            kept.setdefault(repr(plain), plain)
    return tuple(kept.values())
