"""JSON-shaped values: making them native and hashable, comparing them, and showing them in messages."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["counted", "freeze", "json_problem", "native", "same", "shown", "thaw", "without_passwords"]

_PASSWORD = re.compile(r"""(:/{1,2}(?!/)[^:@/\s]*):[^@/\s]*(?=@)|([?&]\w*password=)[^&\s'"]*""")
"""In a URL, also in one with a slash too few: what follows the user's colon, and a parameter like `password`."""


def shown(value: object) -> str:
    """A value for a message: its repr, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def without_passwords(text: str) -> str:
    """A text, such as a command, without the passwords of the URLs in it."""
    return _PASSWORD.sub(r"\1\2", text)


def counted(count: int, noun: str) -> str:
    """A number of things: ``1 trial``, ``1,200 trials``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def native(value: Any) -> Any:
    """Turn numpy scalars and subclasses of JSON's scalar types into the plain type; leave other values as they are."""
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
    """The value of a frozen form: a tuple becomes a new list."""
    return list(value) if type(value) is tuple else value


def same(a: Any, b: Any) -> bool:
    """Whether two frozen forms are the same JSON value: 1, 1.0 and True are three different values."""
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def json_problem(value: Any, *, nested: bool = False) -> str:
    """Why ``value`` (after `native`) is not a JSON scalar or a list of scalars; empty if it is one."""
    if value is None or type(value) in (bool, int):
        return ""
    if type(value) is float:
        return "" if math.isfinite(value) else "must be finite"
    if type(value) is str:
        return "must be text that UTF-8 can encode" if _has_surrogate(value) else ""
    if type(value) in (list, tuple) and not nested:
        return next(filter(None, (json_problem(native(v), nested=True) for v in value)), "")
    return "must be a string, number, bool or None, or a list of these"


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)
