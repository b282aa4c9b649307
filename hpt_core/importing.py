"""Import paths, ``"module:name"``, and what went wrong in an import."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import traceback
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from hpt_core.errors import Mistake, UsageError
from hpt_core.spelling import did_you_mean
from hpt_core.tracebacks import CORE_FOLDER

__all__ = ["error_with_place", "import_from", "import_object", "is_import_path"]

_MACHINERY = ("<frozen", CORE_FOLDER)
_INSTALLED = (str(Path(os.__file__).parent), "site-packages", "dist-packages")


def is_import_path(text: str) -> bool:
    """Whether `import_object` imports a module for this text, whether or not there is one: it may have any name."""
    module, _, attribute = text.partition(":")
    return bool(module and attribute) and not module.startswith(".")


def import_from(*folders: Path) -> None:
    """Let modules be imported from these folders: from the last one first, and before any other place."""
    for place in map(str, folders):
        if place not in sys.path:
            sys.path.insert(0, place)


def import_object(path: str, where: str = "") -> Any:
    """Import the object that ``"module:name"`` names.

    Args:
        path: ``"package.module:attribute"``; the attribute may be dotted.
        where: Key path of the option that holds it, for messages.

    Raises:
        UsageError: If the path does not have that form, or there is no such module or attribute. If the module raises
            during its import, or ends the program, that error is the ``__cause__``.
    """
    module_name, _, attribute = path.partition(":")
    if not is_import_path(path):
        hint = _nearest_form(module_name, attribute)
        raise UsageError(Mistake(where, f"Must be an import path 'module:name'. Got {path!r}.{hint}"))
    try:
        found = importlib.import_module(module_name)
    except (Exception, SystemExit) as err:
        missing = isinstance(err, ModuleNotFoundError) and f"{module_name}.".startswith(f"{err.name}.")
        problem = f"there is no module {module_name!r}" if missing else error_with_place(err)
        hint = ""
        if missing:
            hint = _nearest_form(module_name, attribute) or _nearest_module(str(getattr(err, "name", "")))
        raise UsageError(Mistake(where, f"Cannot import {path!r}: {problem}.{hint}")) from err
    for part in attribute.split("."):
        if not hasattr(found, part):
            hint = did_you_mean(part, [name for name in dir(found) if part.startswith("_") or not name.startswith("_")])
            hint = _hidden(module_name) or hint
            raise UsageError(Mistake(where, f"Cannot import {path!r}: {module_name!r} has no {part!r}.{hint}"))
        found = getattr(found, part)
    return found


def error_with_place(err: BaseException) -> str:
    """An exception in one line, with the place that raised it: in the user's own code if it has a part in it."""
    message = " ".join(f"{type(err).__name__}: {err}".split()).removesuffix(":")
    frames = [frame for frame in traceback.extract_tb(err.__traceback__) if not _is_machinery(frame.filename)]
    if not frames or isinstance(err, SyntaxError):  # a SyntaxError names its place itself
        return message
    own = [frame for frame in frames if not _is_installed(frame.filename)]
    place = (own or frames)[-1]
    return f"{message} ({place.filename}, line {place.lineno})"


def _is_machinery(filename: str) -> bool:
    """Whether a file belongs to Python's import system or to the core."""
    return filename.startswith(_MACHINERY) or Path(filename).parent.name in ("importlib", "metadata")


def _is_installed(path: str) -> bool:
    """Whether a file or folder belongs to Python or to an installed distribution."""
    return any(place in path for place in _INSTALLED)


def _hidden(module: str) -> str:
    """A hint if a file of that name would be imported, had another module not been imported under that name before."""
    loaded = getattr(sys.modules[module], "__file__", None) or "built in"
    spec = PathFinder.find_spec(module) if "." not in module else None
    if spec is None or spec.origin is None or not spec.has_location or spec.origin == loaded:
        return ""
    return f" Python had already imported another module of that name ({loaded}): rename {spec.origin}."


def _nearest_form(module: str, attribute: str) -> str:
    """A hint for a path in the form of an expression (``train.loss``) or of a file (``./train.py:loss``)."""
    if attribute:
        plain = module.removesuffix(".py").replace("/", ".").strip(".")
    else:
        plain, _, attribute = module.rpartition(".")
    return f" Did you mean '{plain}:{attribute}'?" if plain and plain != module else ""


def _nearest_module(missing: str) -> str:
    """A hint for a missing module: the nearest name in the same package, or among the user's own modules."""
    package, dot, _ = missing.rpartition(".")
    places = getattr(sys.modules.get(package), "__path__", ())
    if not package:  # the nearest of a thousand installed modules would rarely be the one that was meant
        places = [folder for folder in sys.path if not _is_installed(str(folder))]
    return did_you_mean(missing, [module.name for module in pkgutil.iter_modules(places, f"{package}{dot}")])
