"""Durations: a number of seconds, or text such as ``10m``."""

from __future__ import annotations

import math
import re
import sys
from typing import TYPE_CHECKING, Any

from hpt_core.errors import Mistake, UsageError

if TYPE_CHECKING:
    import attrs

__all__ = ["to_seconds"]

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([dhms])\s*")


def to_seconds(given: Any, field: attrs.Attribute[Any], path: str = "") -> float | None:
    """Turn ``90``, ``"90s"``, ``"10m"``, ``"1h30m"`` or ``"2d"`` into seconds.

    Args:
        given: The duration.
        field: The option that it was given for.
        path: Key path of the option, for messages; the name of the option if it is empty.

    Raises:
        UsageError: If the value has another form, or is not above 0 (not below 0, where the option allows 0).
    """
    if given is None and field.default is None:
        return None
    found = math.nan
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        found = given
    elif isinstance(given, str) and given.strip() and _PART.sub("", given.strip()) == "":
        found = sum(float(match[1]) * _UNITS[match[2]] for match in _PART.finditer(given))
    sign = ">" if "gt" in field.metadata["bounds"] else ">="
    if not 0 <= found <= sys.float_info.max or (sign == ">" and found == 0):
        message = f"Must be seconds {sign} 0, or text like '90s', '10m', '1h30m'. Got {given!r:.80}."
        raise UsageError(Mistake(path or field.name, message))
    return float(found)
