"""Values of any kind as choices of a space, which holds plain data only: what is no plain value gets a label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np

from hpt_core import Categorical, Ordinal

__all__ = ["Listed", "Table", "listed", "meant", "plain_text"]

Listed = Categorical | Ordinal
Table = Mapping[Any, Any]
"""Values of a parameter in the space -> what they stand for."""

_EXACT = 2**53
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LONGEST = 80


def listed(
    values: Sequence[Any], *, when: Mapping[str, Any] | None = None, ordered: bool = False, default: Any = None
) -> tuple[Listed, dict[Any, Any]]:
    """Make a parameter of listed values.

    Args:
        values: Numbers, strings, bools and None stay as they are where they are distinct; estimators, functions,
            arrays, tuples and repeated values are given labels.
        when: When the parameter is active.
        ordered: Whether numbers that rise or fall make an `Ordinal`; the order is kept in any case.
        default: Where a search begins: one of the values.

    Returns:
        The parameter, and its values in the space -> the values given.
    """
    natives = [_native(value) for value in values]
    plain = all(_is_plain(value) for value in natives) and len(set(natives)) == len(natives)
    words = natives if plain else _labels(values)
    table = dict(zip(words, values, strict=True))
    start = None if default is None else next(word for word, value in table.items() if _same(value, default))
    kind = Ordinal if ordered and plain and _is_monotone(words) else Categorical
    return kind(*words, when=when, default=start), table


def meant(tables: Mapping[str, Table], params: Mapping[str, Any]) -> dict[str, Any]:
    """What the values of a configuration stand for, by the table of their parameter where it has one."""
    return {name: tables[name][value] if name in tables else value for name, value in params.items()}


def _native(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_plain(value: Any) -> bool:
    """Whether a space can hold a value as it is."""
    if type(value) is int:
        return abs(value) <= _EXACT
    if type(value) is float:
        return isfinite(value)
    return value is None or type(value) in (bool, str)


def _is_monotone(values: Sequence[Any]) -> bool:
    if len(values) < 2 or any(type(value) not in (int, float) for value in values):
        return False
    return all(a < b for a, b in pairwise(values)) or all(a > b for a, b in pairwise(values))


def _same(value: Any, other: Any) -> bool:
    return value is other or (_is_plain(_native(value)) and type(value) is type(other) and bool(value == other))


def _labels(values: Sequence[Any]) -> list[str]:
    """A distinct text for each value: as short as tells them apart, the same in every process."""
    short = [_name(value) for value in values]
    counts = Counter(short)
    texts = [name if counts[name] == 1 else plain_text(value) for name, value in zip(short, values, strict=True)]
    seen: Counter[str] = Counter()
    found = []
    for text in texts:
        seen[text] += 1
        found.append(text if seen[text] == 1 else f"{text} ({seen[text]})")
    return found


def _name(value: Any) -> str:
    if hasattr(value, "get_params") and not isinstance(value, type):
        return type(value).__name__
    return getattr(value, "__qualname__", None) or plain_text(value)


def plain_text(value: Any, limit: int = _LONGEST, *, is_text: bool = False) -> str:
    """The ``repr`` of a value on one line, without addresses in memory.

    Args:
        value: Anything.
        limit: Most characters; what is longer is cut.
        is_text: Whether the value is its ``repr`` already.
    """
    text = " ".join(_ADDRESS.sub("", value if is_text else repr(value)).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
