"""Make estimators from what the user specifies: import paths, tables, pipelines, choices of steps.

A *specification* is one of: ``"module:Class"``, ``"module:function"`` (called without arguments), a table
``{"use": "module:Class", ...}`` whose other keys are constructor arguments (an argument that is a table with ``use`` is
itself a specification; ``{"import": "module:name"}`` is the named object itself), or an estimator.
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from hpt_core import Mistake, Params, UsageError, import_object

__all__ = ["Recipe", "did_you_mean", "import_with_hint", "make_recipe", "resolve_estimator", "seed_random_states"]

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
        return Pipeline([_step(step, f"{path}[{i}]") for i, step in enumerate(spec)])
    made = build(spec, path)
    if isinstance(made, type) or not (hasattr(made, "get_params") and hasattr(made, "fit")):
        raise UsageError(Mistake(path, f"Must give an estimator with fit and get_params. Got {made!r:.80}."))
    return made


def _step(step: Any, path: str) -> tuple[str, Any]:
    """Make the step of a ``[name, specification]`` pair; 'passthrough', 'drop' and None stay as they are."""
    if not isinstance(step, (list, tuple)) or len(step) != 2 or not isinstance(step[0], str):
        raise UsageError(Mistake(path, f'Must be ["name", estimator] or a name alone. Got {step!r:.80}.'))
    return step[0], _resolve_step(step[1], path)


def _resolve_step(spec: Any, path: str) -> Any:
    return spec if spec is None or spec in PASSIVE else resolve_estimator(spec, path)


def build(spec: Any, path: str) -> Any:
    """Make the object that a specification describes: an estimator or a splitter."""
    if isinstance(spec, str):
        return call_or_clone(import_with_hint(spec, path), {}, path)
    if isinstance(spec, Mapping):
        arguments = {key: _argument(value, f"{path}.{key}") for key, value in spec.items() if key != "use"}
        if "use" not in spec:
            raise UsageError(Mistake(path, f'The table needs a key `use = "module:Class"`. Got {spec!r:.80}.'))
        return call_or_clone(import_with_hint(spec["use"], f"{path}.use"), arguments, path)
    if isinstance(spec, type):
        return call_or_clone(spec, {}, path)
    return clone(spec) if hasattr(spec, "get_params") else spec


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
        return clone(found) if hasattr(found, "get_params") else found
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


def seed_random_states(estimator: Any, seed: int) -> None:
    """Set every ``random_state`` that is None, at any depth, to ``seed``.

    Args:
        estimator: Changed in place through ``set_params``.
        seed: From 0 to 2**32 - 1.
    """
    unset = {
        name: seed
        for name, value in estimator.get_params(deep=True).items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    }
    if unset:
        estimator.set_params(**unset)


@attrs.frozen(eq=False)
class Recipe:
    """Makes the estimator of a configuration.

    Attributes:
        template: The estimator before a configuration is set. Steps with choices hold their first choice.
        choices: set_params name of a step -> value in the space, as text -> estimator, 'passthrough' or None.
        names: Name in the space -> set_params name, for those that differ.
    """

    template: Any
    choices: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    names: Mapping[str, str] = attrs.field(factory=dict)

    def target(self, name: str) -> str:
        """The set_params name of a parameter of the space."""
        return self.names.get(name, name)

    def build(self, params: Params, seed: int | None = None) -> Any:
        """Make the estimator of one configuration.

        Args:
            params: The configuration.
            seed: Value for each ``random_state`` that is None. If None, these are left alone.

        Raises:
            UsageError: If two parameters of the space set the same parameter of the estimator.
            ValueError: From scikit-learn, if the estimator does not have a parameter.
        """
        values: dict[str, Any] = {}
        for name, value in params.items():
            target = self.target(name)
            if target in values:
                raise UsageError(Mistake(f"space.{name}", f"Another active parameter sets {target!r} too."))
            values[target] = self.chosen(target, value) if target in self.choices else value
        estimator = clone(self.template)
        lists = {name: values.pop(name) for name in list(values) if isinstance(values[name], list)}
        estimator.set_params(**values)
        if lists:
            present = estimator.get_params(deep=True)
            fitting = {n: tuple(v) if isinstance(present.get(n), tuple) else v for n, v in lists.items()}
            estimator.set_params(**fitting)
        if seed is not None:
            seed_random_states(estimator, seed)
        return estimator

    def chosen(self, target: str, value: Any) -> Any:
        """A new copy of the step that ``value`` selects for ``target``."""
        table = self.choices[target]
        key = as_key(value)
        if key in table:
            return clone(table[key]) if hasattr(table[key], "get_params") else table[key]
        if value is None or value in PASSIVE:
            return value
        known = f"{did_you_mean(key, table)} They are: {', '.join(table)}."
        raise UsageError(Mistake(f"evaluator.choices.{target}", f"{value!r} is not a choice of {target!r}.{known}"))


def as_key(value: Any) -> str:
    """A value of the space as a key of a choices table: strings as they are, other values as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def make_recipe(
    estimator: Any,
    pipeline: Sequence[Any] | None,
    choices: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
) -> Recipe:
    """Make a recipe from an evaluator's options.

    Args:
        estimator: A specification, or None.
        pipeline: Steps as ``[name, specification]``, or just a name whose estimators are in ``choices``; or None.
            If ``estimator`` is None as well, the single table of ``choices`` is the only step.
        choices: Name in the space or of the step -> value -> specification.
        names: Name in the space -> set_params name.

    Raises:
        UsageError: With all mistakes found.
    """
    tables = _choice_tables(choices, names)
    firsts = {target: next(iter(table.values())) for target, table in tables.items() if table}
    if (estimator is None) == (pipeline is None) and (estimator is not None or len(tables) != 1):
        msg = "Give `estimator`, or `pipeline` as a list of steps, or one table of `choices` alone."
        raise UsageError(Mistake("evaluator.estimator", msg))
    if estimator is not None:
        template = resolve_estimator(estimator, "evaluator.estimator")
        return Recipe(template, tables, dict(names))
    template = Pipeline(_named_steps(list(tables) if pipeline is None else pipeline, firsts))
    return Recipe(template, tables, dict(names))


def _choice_tables(choices: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    mistakes: list[Mistake] = []
    for name, table in choices.items():
        made = tables.setdefault(names.get(name, name), {})
        for value, spec in table.items():
            try:
                made[value] = _resolve_step(spec, f"evaluator.choices.{name}.{value}")
            except UsageError as err:
                mistakes += err.mistakes
    if mistakes:
        raise UsageError(*mistakes)
    return tables


def _named_steps(steps: Sequence[Any], firsts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    made: list[tuple[str, Any]] = []
    mistakes: list[Mistake] = []
    for i, step in enumerate(steps):
        path = f"evaluator.pipeline[{i}]"
        try:
            if not isinstance(step, str):
                made.append(_step(step, path))
            elif step in firsts:
                made.append((step, firsts[step]))
            else:
                msg = f'Has no estimator: write it as ["{step}", estimator], or give `choices.{step}`.'
                mistakes.append(Mistake(path, msg))
        except UsageError as err:
            mistakes += err.mistakes
    if mistakes:
        raise UsageError(*mistakes)
    return made
