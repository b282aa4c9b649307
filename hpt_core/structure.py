"""Convert plain data to the types that hints declare: strictly, and reporting every mistake with its key path."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from hpt_core.errors import Mistake, UsageError
from hpt_core.mistakes import Mistakes
from hpt_core.spelling import did_you_mean
from hpt_core.values import shown

__all__ = ["BOUNDS", "Structure", "invalid_value", "table_field", "text_field"]

BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "ge": (">=", operator.ge),
    "gt": (">", operator.gt),
    "le": ("<=", operator.le),
    "lt": ("<", operator.lt),
}
"""Bound of an option -> its sign, and whether a value and a limit satisfy it."""

_SCALARS: dict[Any, str] = {
    int: "an int",
    float: "a number",
    str: "a string",
    bool: "true or false",
    Path: "a path",
}
_SHAPES: dict[Any, str] = dict.fromkeys((list, tuple, Sequence), "a list") | dict.fromkeys((dict, Mapping), "a table")


@attrs.frozen
class Structure:
    """Converts plain data to the type of a hint. The only casts are int to float and string to path.

    Attributes:
        bounds: Bounds for each number in the data: ``ge``, ``gt``, ``le``, ``lt`` -> limit.
        part: Called as ``part(kind, value, path)`` to make a component: for a protocol, and for an attrs class of which
            the value is not yet an instance.
    """

    bounds: Mapping[str, float]
    part: Callable[[Any, Any, str], Any]

    def of(self, value: Any, kind: Any, path: str) -> Any:
        """The value as its type hint declares it. A hint that does not describe data (Any, a callable) accepts any.

        Args:
            value: The data.
            kind: The type hint.
            path: Key path of the value, for messages.

        Raises:
            UsageError: With every mistake found.
        """
        origin, args = get_origin(kind), get_args(kind)
        if origin in (Union, UnionType):
            return self._union(value, args, path)
        if origin in (list, tuple, Sequence) and isinstance(value, (list, tuple)):
            items = self._each((item, args[0], f"{path}[{i}]") for i, item in enumerate(value))
            return tuple(items) if origin is tuple else items
        if origin in (dict, Mapping) and isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            items = self._each((item, args[1], f"{path}.{key}") for key, item in value.items())
            return dict(zip(value, items, strict=True))
        if origin is Literal and (type(value), value) in [(type(known), known) for known in args]:  # True is not 1
            return value
        if origin in (*_SHAPES, Literal):
            raise invalid_value(path, self._wanted(kind), value, args)
        if isinstance(kind, type) and kind not in (Any, object):
            return self._plain(value, kind, path)
        return value  # an object or an import path, which the component itself checks

    def _each(self, jobs: Iterable[tuple[Any, Any, str]]) -> list[Any]:
        mistakes = Mistakes()
        done = [mistakes.collect(self.of, *job) for job in jobs]
        mistakes.raise_all()
        return done

    def _union(self, value: Any, kinds: Sequence[Any], path: str) -> Any:
        if value is None and NoneType in kinds:
            return None
        protocols = [kind for kind in kinds if _is_protocol(kind)]  # several are one contract, as in StoppingRule
        kinds = [kind for kind in kinds if kind is not NoneType and kind not in protocols[1:]]
        errors = []
        for kind in kinds:
            try:
                return self.of(value, kind, path)
            except UsageError as err:
                errors.append(err)
        shaped = [err for err in errors if len(errors) == 1 or any(m.path != path for m in err.mistakes)]
        if shaped:  # one alternative had the right outer shape: its own mistakes say more
            raise shaped[0]
        raise invalid_value(path, " or ".join(map(self._wanted, kinds)), value)

    def _plain(self, value: Any, kind: type, path: str) -> Any:
        if kind in (int, float):
            return self._number(value, kind, path)
        if _is_protocol(kind) or (attrs.has(kind) and not isinstance(value, kind)):
            return self.part(kind, value, path)
        if kind is Path and isinstance(value, (str, os.PathLike)) and value:
            return Path(os.path.expanduser(value))  # noqa: PTH111 - Path raises for an unknown user
        if not isinstance(value, kind):
            raise invalid_value(path, self._wanted(kind), value)
        return value

    def _number(self, value: Any, kind: type, path: str) -> Any:
        fits = isinstance(value, (int, kind)) and not isinstance(value, bool)
        if not fits or not all(BOUNDS[key][1](value, limit) for key, limit in self.bounds.items()):
            raise invalid_value(path, self._wanted(kind), value)
        if kind is int:
            return value
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise invalid_value(path, "a finite number", value)
        return number

    def _wanted(self, kind: Any) -> str:
        if get_origin(kind) is Literal:
            return f"one of {', '.join(map(repr, get_args(kind)))}"
        word = _SCALARS.get(kind) or _SHAPES.get(get_origin(kind)) or getattr(kind, "__name__", str(kind))
        limits = [f"{BOUNDS[key][0]} {limit}" for key, limit in self.bounds.items() if kind in (int, float)]
        return f"{word} {' and '.join(limits)}".rstrip()


def text_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validator of a field that the log stores as text: a wrong type must not get into a record."""
    _check_field(instance, field, value, str, "text")


def table_field(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validator of a field that the log stores as a table."""
    _check_field(instance, field, value, Mapping, "a mapping")


def _check_field(instance: object, field: attrs.Attribute[Any], value: object, kind: Any, wanted: str) -> None:
    if not isinstance(value, kind):
        raise UsageError(f"The `{field.name}` of {type(instance).__name__} must be {wanted}. Got {shown(value)}.")


def invalid_value(path: str, wanted: str, value: object, known: Sequence[Any] = ()) -> UsageError:
    """The error for a value, in the form 'Must be an int >= 1. Got 0.', with a hint if a known value is close."""
    kind = f"{type(value).__name__} " if isinstance(value, (str, bool)) else ""
    hint = did_you_mean(value, [word for word in known if isinstance(word, str)]) if isinstance(value, str) else ""
    return UsageError(Mistake(path, f"Must be {wanted}. Got {kind}{shown(value)}.{hint}"))


def _is_protocol(kind: Any) -> bool:
    return getattr(kind, "_is_protocol", False)
