"""Represent objects of any kind as choices of a space. A space holds only plain values; other objects get labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np

from hpt_core import Categorical, Ordinal

__all__ = ["ChoiceParameter", "Table", "choice_parameter", "label_of", "plain_text", "resolve_choices"]

ChoiceParameter = Categorical | Ordinal
Table = Mapping[Any, Any]
"""Value of a parameter in the space -> the object that it stands for."""

_EXACT = 2**53
"""Integers up to this are exact as floats."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_MAX_LENGTH = 80


def choice_parameter(
    values: Sequence[Any], *, when: Mapping[str, Any] | None = None, ordered: bool = False
) -> tuple[ChoiceParameter, dict[Any, Any]]:
    """Make a parameter whose values are listed.

    Args:
        values: If all are distinct numbers, strings, bools or None, they stay as they are. Otherwise (estimators,
            functions, arrays, tuples, repeated values) all get labels.
        when: The condition under which the parameter is active.
        ordered: Whether increasing or decreasing numbers make an `Ordinal`. The order is kept in any case.

    Returns:
        The parameter, and a table from its values in the space to the given values.
    """
    natives = [_native(value) for value in values]
    plain = all(_is_plain(value) for value in natives) and len(set(natives)) == len(natives)
    labels = natives if plain else _labels(values)
    table = dict(zip(labels, values, strict=True))
    kind = Ordinal if ordered and plain and _is_monotone(labels) else Categorical
    return kind(*labels, when=when), table


def resolve_choices(tables: Mapping[str, Table], params: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the values of a configuration by the objects that they stand for, for parameters that have a table."""
    return {name: tables[name][value] if name in tables else value for name, value in params.items()}


def label_of(value: Any, table: Table) -> Any:
    """The label of one of a table's objects; any other value, such as a label, as it is."""
    return next((label for label, known in table.items() if _is_same(known, value)), value)


def _is_same(known: Any, value: Any) -> bool:
    return known is value or (_is_plain(_native(known)) and type(known) is type(value) and bool(known == value))


def _native(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_plain(value: Any) -> bool:
    """Whether a space can hold the value itself."""
    if type(value) is int:
        return abs(value) <= _EXACT
    if type(value) is float:
        return isfinite(value)
    return value is None or type(value) in (bool, str)


def _is_monotone(values: Sequence[Any]) -> bool:
    if len(values) < 2 or any(type(value) not in (int, float) for value in values):
        return False
    return all(a < b for a, b in pairwise(values)) or all(a > b for a, b in pairwise(values))


def _labels(values: Sequence[Any]) -> list[str]:
    """A distinct label for each value: as short as possible, and the same in every process."""
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


def plain_text(value: Any, limit: int = _MAX_LENGTH, *, is_text: bool = False) -> str:
    """The ``repr`` of a value on one line, without addresses in memory.

    Args:
        value: Anything.
        limit: Maximum length in characters; longer text is cut.
        is_text: Whether the value is a ``repr`` already.
    """
    text = " ".join(_ADDRESS.sub("", value if is_text else repr(value)).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
