"""Conversion of search spaces to and from ConfigSpace, for hpt.

The plugin offers no component. It is registered so that ``hpt plugins`` shows its version and compatibility.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpt_space_configspace.reading import from_configspace
    from hpt_space_configspace.writing import to_configspace

__all__ = ["from_configspace", "to_configspace"]

hpt_api_version = 1

_HOME = {"from_configspace": "reading", "to_configspace": "writing"}


if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
