"""Import paths: ``"module:name"``."""

from __future__ import annotations

import importlib
from typing import Any

from hpt_core.errors import Mistake, UsageError
from hpt_core.spelling import did_you_mean

__all__ = ["import_object"]


def import_object(path: str, where: str = "") -> Any:
    """Import what ``"module:name"`` names.

    Args:
        path: ``"package.module:attribute"``; the attribute may be dotted.
        where: Key path of the option that holds it, for messages.

    Raises:
        UsageError: If it is not of that form, or there is no such module or attribute; a module that raises
            while it is imported has its own error as ``__cause__``.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise UsageError(Mistake(where, f"Must be an import path 'module:name'. Got {path!r}."))
    try:
        found = importlib.import_module(module_name)
    except Exception as err:
        missing = isinstance(err, ModuleNotFoundError) and f"{module_name}.".startswith(f"{err.name}.")
        said = f"there is no module {module_name!r}" if missing else f"{type(err).__name__}: {err}"
        raise UsageError(Mistake(where, f"Cannot import {path!r}: {said}.")) from err
    for part in attribute.split("."):
        if not hasattr(found, part):
            hint = did_you_mean(part, dir(found))
            raise UsageError(Mistake(where, f"Cannot import {path!r}: {module_name!r} has no {part!r}.{hint}"))
        found = getattr(found, part)
    return found
