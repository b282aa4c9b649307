"""Make estimators and splitters from what the user specifies: import paths, tables, pipelines.

A *specification* is one of: ``"module:Class"``, ``"module:function"`` (called without arguments), a table
``{"use": "module:Class", ...}`` whose other keys are constructor arguments (an argument that is a table with ``use`` is
itself a specification; ``{"import": "module:name"}`` is the named object itself), or an estimator.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from hpt_core import Mistake, UsageError, import_object

__all__ = [
    "PASSIVE",
    "build",
    "call_or_clone",
    "did_you_mean",
    "import_with_hint",
    "named_step",
    "parameters_of",
    "refuse_unknown_arguments",
    "resolve_estimator",
    "resolve_step",
]

PASSIVE = ("passthrough", "drop")
"""Strings that scikit-learn accepts in place of a step."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint like " Did you mean 'C'?", or an empty string if no known name is close."""
    folded = {word.casefold(): word for word in known}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""


def resolve_estimator(spec: Any, path: str = "estimator") -> Any:
    """Make the unfitted estimator that a specification describes.

    Args:
        spec: A specification, see the module's docstring; a list of ``[name, specification]`` pairs makes a `Pipeline`.
        path: Key path for messages.

    Returns:
        A new estimator; an estimator object is cloned.

    Raises:
        UsageError: If the name cannot be imported, the arguments do not fit, or the result is not an estimator.
    """
    if isinstance(spec, (list, tuple)):
        return Pipeline([named_step(step, f"{path}[{i}]") for i, step in enumerate(spec)])
    made = build(spec, path)
    if isinstance(made, type) or not (hasattr(made, "get_params") and hasattr(made, "fit")):
        raise UsageError(Mistake(path, f"Must give an estimator with fit and get_params. Got {made!r:.80}."))
    return _clone_of(made, path)


def named_step(step: Any, path: str) -> tuple[str, Any]:
    """Make the step of a ``[name, specification]`` pair."""
    if not isinstance(step, (list, tuple)) or len(step) != 2 or not isinstance(step[0], str):
        raise UsageError(Mistake(path, f'Must be ["name", estimator] or a name alone. Got {step!r:.80}.'))
    return step[0], resolve_step(step[1], path)


def resolve_step(spec: Any, path: str) -> Any:
    """Make the estimator of a step; 'passthrough', 'drop' and None stay as they are."""
    return spec if spec is None or spec in PASSIVE else resolve_estimator(spec, path)


def build(spec: Any, path: str) -> Any:
    """Make the object that a specification describes: an estimator or a splitter."""
    if isinstance(spec, str):
        return call_or_clone(import_with_hint(spec, path), {}, path)
    if isinstance(spec, Mapping):
        arguments = {key: _argument(value, f"{path}.{key}") for key, value in spec.items() if key != "use"}
        if "use" not in spec:
            raise UsageError(Mistake(path, f'The table needs a key `use = "module:Class"`. Got {spec!r:.80}.'))
        found = import_with_hint(spec["use"], f"{path}.use")
        made = call_or_clone(found, arguments, path)
        if isinstance(made, type) or not hasattr(made, "get_params"):
            return made
        try:
            return clone(made)
        except RuntimeError:  # CatBoost 1.2.10 copies lists (`cat_features`), which `clone` refuses; TOML has no tuples
            tuples = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
            return call_or_clone(found, tuples, path)
    if isinstance(spec, type):
        return call_or_clone(spec, {}, path)
    return spec


def _clone_of(estimator: Any, path: str) -> Any:
    try:
        return clone(estimator)
    except RuntimeError as err:  # its constructor changes an argument
        msg = f"{err}. Give tuples instead of lists, or give the argument to fit (`fit_params`)."
        raise UsageError(Mistake(path, msg)) from err


def import_with_hint(name: Any, path: str) -> Any:
    """Import the object at a path, as `hpt_core.import_object` does, but with a hint if the path is malformed."""
    if not isinstance(name, str):
        raise UsageError(Mistake(path, f"Must be an import path 'module:name'. Got {name!r:.80}."))
    if ":" not in name:
        module, _, attribute = name.rpartition(".")
        hint = f" Did you mean '{module}:{attribute}'?" if module else _where_is(name)
        raise UsageError(Mistake(path, f"Must be an import path 'module:name'. Got {name!r}.{hint}"))
    return import_object(name, path)


def _where_is(name: str) -> str:
    from sklearn.utils import all_estimators  # imports all of scikit-learn, which only a message justifies

    found = dict(all_estimators())
    close = difflib.get_close_matches(name, list(found), n=1)
    if not close:
        return ""
    module = found[close[0]].__module__.split("._")[0]
    return f" Did you mean '{module}:{close[0]}'?"


def _argument(value: Any, path: str) -> Any:
    """A constructor argument: tables with ``use`` or ``import`` become objects, also inside lists."""
    if isinstance(value, Mapping) and "use" in value:
        return build(value, path)
    if isinstance(value, Mapping) and set(value) == {"import"}:
        return import_with_hint(value["import"], path)
    if isinstance(value, (list, tuple)):
        items = [_argument(item, f"{path}[{i}]") for i, item in enumerate(value)]
        # scikit-learn expects (name, estimator) pairs as tuples; plain lists stay lists
        return tuple(items) if any(hasattr(item, "get_params") for item in items) else items
    if isinstance(value, str) and _names_an_estimator(value):
        msg = f'Is a string. Write {{ use = "{value}" }} for the estimator, {{ import = "{value}" }} for its class.'
        raise UsageError(Mistake(path, msg))
    return value


def _names_an_estimator(text: str) -> bool:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        return False
    try:
        return hasattr(import_object(text), "get_params")
    except UsageError:
        return False


def call_or_clone(found: Any, arguments: dict[str, Any], path: str, *, failed: str = "cannot be made") -> Any:
    """Call a class or function; return any other object as it is, or a clone of it.

    Args:
        found: Class, function or object.
        arguments: Arguments by name. Lists become tuples if the default is a tuple: TOML and JSON have no tuples.
        path: Key path for messages.
        failed: Verb of the message for an exception.

    Raises:
        UsageError: If an argument is unknown, or the call raises an exception.
    """
    if not callable(found) or (hasattr(found, "get_params") and not isinstance(found, type)):
        if arguments:
            msg = f"Takes no arguments, because it is an object already. Got {', '.join(arguments)}."
            raise UsageError(Mistake(path, msg))
        return _clone_of(found, path) if hasattr(found, "get_params") else found
    refuse_unknown_arguments(found, arguments, path)
    name, known = getattr(found, "__name__", repr(found)), parameters_of(found)
    tuples = [key for key, p in (known or {}).items() if isinstance(p.default, tuple)]
    try:
        return found(**{k: tuple(v) if k in tuples and isinstance(v, list) else v for k, v in arguments.items()})
    except Exception as err:  # the user's own function may fail in any way
        message = f"{name} {failed}: {type(err).__name__}: {err}".rstrip(".")
        raise UsageError(Mistake(path, f"{message}.")) from err


def refuse_unknown_arguments(function: Any, names: Iterable[str], path: str) -> None:
    """Raise a `UsageError` if a callable does not have all of these parameters, as far as its signature tells."""
    known = parameters_of(function)
    if known is None or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values()):
        return
    name = getattr(function, "__name__", repr(function))
    hints = {key: did_you_mean(key, known) for key in names if key not in known}
    if hints:
        raise UsageError(*(Mistake(f"{path}.{k}", f"{name} has no parameter {k!r}.{h}") for k, h in hints.items()))


def parameters_of(function: Any) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a callable by name; None if they cannot be determined."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
