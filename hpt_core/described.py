"""A component as JSON-shaped data: what a study records of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from hpt_core.options import inline_option, option_fields

__all__ = ["describe"]

Name = Callable[[type], "str | None"]


def describe(component: Any, name_of: Name = lambda _: None, *, brief: bool = False) -> dict[str, Any]:
    """Write a component as JSON-shaped data: ``use`` and its options.

    Args:
        component: Any component.
        name_of: Gives the registered name of a class, None where it has none.
        brief: Leave out the options that have their default.

    Returns:
        ``{"use": name or "module:Class", option: value, ...}``; what is no plain data is told by its import
        path or by a digest, so that a change is seen, but it cannot be rebuilt from that.
    """
    cls, inline = type(component), inline_option(type(component))
    fields = [field for field in option_fields(cls) if field.name != inline]
    values = [(field, _jsonable(getattr(component, field.name), name_of, brief)) for field in fields]
    own = {
        field.alias or field.name: value
        for field, value in values
        if not (brief and value == _jsonable(_default(field), name_of, brief))
    }
    if inline is None:
        return {"use": name_of(cls) or f"{cls.__module__}:{cls.__qualname__}", **own}
    inner = describe(getattr(component, inline), name_of, brief=brief)
    return {inline: inner, **own} if own.keys() & inner.keys() else {**inner, **own}


def _default(field: attrs.Attribute[Any]) -> Any:
    default: Any = field.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type] # a class at runtime


def _jsonable(value: Any, name_of: Name, brief: bool) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item, name_of, brief) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item, name_of, brief) for item in value]
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}:{value.__qualname__}"
    if attrs.has(type(value)):
        return describe(value, name_of, brief=brief)
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
    return f"{cls.__module__}:{cls.__qualname__} object" if cls.__repr__ is object.__repr__ else repr(value)
