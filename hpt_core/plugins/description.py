"""A component as JSON-shaped data, in the form that a study records."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from hpt_core.options import inline_option, option_fields

__all__ = ["default_of", "describe", "jsonable"]

_NameOf = Callable[[type], "str | None"]


def describe(
    component: Any, name_of: _NameOf = lambda _: None, *, brief: bool = False, effective: bool = False
) -> dict[str, Any]:
    """Write a component as JSON-shaped data: ``use`` and its options.

    Args:
        component: Any component.
        name_of: Returns the registered name of a class, None if it has none.
        brief: Leave out the options that have their default value.
        effective: Leave out the options that affect no result; see `hpt_core.options.option`.

    Returns:
        ``{"use": name or "module:Class", option: value, ...}``. A value that is not plain data is represented by its
        import path or by a digest: a change is detected, but the value cannot be rebuilt.
    """
    part = partial(describe, name_of=name_of, brief=brief, effective=effective)
    cls, inline = type(component), inline_option(type(component))
    fields = [field for field in option_fields(cls) if field.name != inline]
    if effective:
        fields = [field for field in fields if field.metadata.get("affects_results", True)]
    values = [(field, jsonable(getattr(component, field.name), part)) for field in fields]
    if brief:
        values = [(field, value) for field, value in values if value != jsonable(default_of(field), part)]
    own = {field.alias or field.name: value for field, value in values}
    if inline is None:
        return {"use": name_of(cls) or f"{cls.__module__}:{cls.__qualname__}", **own}
    inner = part(getattr(component, inline))
    return {inline: inner, **own} if own.keys() & inner.keys() else {**inner, **own}


def default_of(field: attrs.Attribute[Any]) -> Any:
    """An option's default; NOTHING if it has none, or if it depends on the other options."""
    default: Any = field.default
    if not hasattr(default, "takes_self"):
        return default
    return attrs.NOTHING if default.takes_self else default.factory()


def jsonable(value: Any, part: Callable[[Any], Any] = describe) -> Any:
    """The value of an option as JSON-shaped data. ``part`` describes a component in it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item, part) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item, part) for item in value]
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}:{value.__qualname__}"
    if attrs.has(type(value)):
        return part(value)
    return _digest(value)


def _digest(value: Any) -> Any:
    if hasattr(value, "__array__"):
        import numpy as np

        array = np.ascontiguousarray(value)
        content = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
        return {
            "array": list(array.shape),
            "dtype": str(array.dtype),
            "sha256": hashlib.sha256(content).hexdigest()[:16],
        }
    cls: Any = type(value)
    if cls.__repr__ is object.__repr__:
        return f"{cls.__module__}:{cls.__qualname__} object"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))  # without addresses, which differ by process
