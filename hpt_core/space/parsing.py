"""Parse the declaration of a space (Python objects or the tables of a study file) into checked parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpt_core.errors import Mistake, SpaceError
from hpt_core.mistakes import Mistakes, within
from hpt_core.space.choices import Categorical, Constant, Ordinal
from hpt_core.space.dependencies import check_dependencies
from hpt_core.space.numeric import Float, Int
from hpt_core.space.parameters import Parameter
from hpt_core.spelling import nearest_or_known
from hpt_core.values import json_problem, native, shown

__all__ = ["parse_space"]

_MAX_PARAMETERS = 1_000
_MAX_NAME = 200
_PRIORS = ("uniform", "log-uniform", int, float)  # what may follow the two ends of a range in other libraries
_MAX_REQUIREMENTS = 100_000  # characters of all requirements; thousands of configurations are tried at the start

_COMMON_KEYS = ("when", "requires", "type")
_NUMBER_KEYS = ("low", "high", "log", "step", "default", *_COMMON_KEYS)
_CHOICE_KEYS = ("choices", "ordered", "default", *_COMMON_KEYS)
_KEYS = {
    "float": _NUMBER_KEYS,
    "int": _NUMBER_KEYS,
    "categorical": _CHOICE_KEYS,
    "ordinal": _CHOICE_KEYS,
    "constant": ("value", *_COMMON_KEYS),
}
_REQUIRED = {
    "float": ("low", "high"),
    "int": ("low", "high"),
    "categorical": ("choices",),
    "ordinal": ("choices",),
    "constant": ("value",),
}

_CLASSES: dict[str, Any] = {cls.kind: cls for cls in (Float, Int, Categorical, Ordinal, Constant)}


def parse_space(declared: object) -> tuple[dict[str, Parameter], tuple[str, ...]]:
    """Parse and check the declaration of a space.

    Args:
        declared: Name -> `Parameter` or its table form.

    Returns:
        The parameters in the declared order, and their names sorted so that parents come before children.

    Raises:
        SpaceError: With every mistake found, each with its path (``space.C.low``).
    """
    if not isinstance(declared, Mapping):
        raise SpaceError(Mistake("space", f"must map names to parameters. Got {shown(declared)}."))
    if not 1 <= len(declared) <= _MAX_PARAMETERS:
        limits = f"must have 1 to {_MAX_PARAMETERS:,} parameters. Got {len(declared):,}."
        raise SpaceError(Mistake("space", limits))
    found = {name: Mistakes() for name in declared}
    made = {name: found[name].collect(_parse, form) for name, form in declared.items()}
    parameters: dict[str, Parameter] = {name: each for name, each in made.items() if each is not None}
    length = sum(len(parameter.requires) for parameter in parameters.values())
    if length > _MAX_REQUIREMENTS:
        limit = f"must have requirements of at most {_MAX_REQUIREMENTS:,} characters in all. Got {length:,}."
        raise SpaceError(Mistake("space", limit))
    order = check_dependencies(declared, parameters, found)
    mistakes = Mistakes(SpaceError)
    for name in declared:
        problem = _name_problem(name)
        if problem:
            mistakes.add("space", f"A parameter's name {problem}. Got {shown(name)}.")
        mistakes.extend(within(_path(name), found[name]))
    mistakes.raise_all()
    return parameters, order


def _name_problem(name: object) -> str:
    if not isinstance(name, str):
        return "must be a string"
    if not 1 <= len(name) <= _MAX_NAME:
        return f"must have 1 to {_MAX_NAME} characters"
    return "" if name.isprintable() else "must be printable"


def _path(name: object) -> str:
    plain = isinstance(name, str) and name != "" and name.replace("-", "_").isidentifier()
    return f"space.{name}" if plain else f"space.{shown(name)}"


def _is_foreign_range(form: tuple[Any, ...]) -> bool:
    """Whether other libraries read a tuple as a range. Silently making it choices would go unnoticed."""
    kinds = [type(item) for item in form]
    ends = len(form) in (2, 3) and set(kinds[:2]) <= {int, float}
    return ends and set(kinds[2:]) <= {str, type} and all(prior in _PRIORS for prior in form[2:])


def _range_advice(low: float, high: float, prior: object = None) -> str:
    kind, choices = ("pair", f"[{low}, {high}]") if prior is None else ("triple", "a list")
    log = ", 'log': True" if prior == "log-uniform" else ""
    return f"must not be a {kind}: write {{'low': {low}, 'high': {high}{log}}} for a range, {choices} for choices."


def _parse(form: Any) -> Parameter:
    if isinstance(form, Parameter):
        return form
    if isinstance(form, tuple) and _is_foreign_range(form):
        raise SpaceError(_range_advice(*form))
    if isinstance(form, (list, tuple)):
        return Categorical(*form)
    if isinstance(form, Mapping):
        return _parse_table(dict(form))
    if not json_problem(native(form)):
        return Constant(form)
    forms = "a list of choices, a table such as {'low': 0, 'high': 1}, or a single value"
    msg = f"must be a parameter, {forms}. Got {shown(form)}."
    raise SpaceError(msg)


def _parse_table(table: dict[str, Any]) -> Parameter:
    kind = _kind(table)
    found = Mistakes(SpaceError)
    for key in table:
        if key not in _KEYS[kind]:
            guess = nearest_or_known(str(key), _KEYS[kind])
            found.add(str(key), f"is not a key of a parameter of type {kind!r}. {guess}")
    for key in _REQUIRED[kind]:
        if key not in table:
            found.add(key, f"is missing; a parameter of type {kind!r} requires it.")
    if kind in ("categorical", "ordinal"):
        _check_choice_table(kind, table, found)
    known = {key: table[key] for key in _KEYS[kind] if key in table and key not in ("type", "ordered")}
    return _construct(kind, known, found)


def _construct(kind: str, known: dict[str, Any], found: Mistakes) -> Parameter:
    """Make the parameter. A stand-in replaces a missing required key, so that the other keys are checked too."""
    broken = {m.path for m in found}
    arguments = {key: _stand_in(key, known) for key in _REQUIRED[kind]} | known
    choices = arguments.pop("choices", ())
    if "choices" in broken and "choices" in _REQUIRED[kind]:
        choices = (0,)
    if not broken.isdisjoint(_REQUIRED[kind]):
        arguments.pop("default", None)
    try:
        parameter: Parameter = _CLASSES[kind](*choices, **arguments)
    except SpaceError as err:
        found.extend(m for m in err.mistakes if m.path not in broken)
    found.raise_all()
    return parameter


def _stand_in(key: str, known: Mapping[str, Any]) -> Any:
    other = {"low": "high", "high": "low"}.get(key, "")
    return known.get(other, 1)


def _kind(table: dict[str, Any]) -> str:
    if "type" in table:
        kind = table["type"]
        if not isinstance(kind, str) or kind not in _KEYS:
            known = ", ".join(_KEYS)
            raise SpaceError(Mistake("type", f"must be one of {known}. Got {shown(kind)}."))
        return str(kind)
    if "choices" in table:
        return "ordinal" if table.get("ordered") is True else "categorical"
    if "value" in table:
        return "constant"
    if "low" in table or "high" in table:
        bounds = [native(table[key]) for key in ("low", "high") if key in table]
        return "int" if all(type(bound) is int for bound in bounds) else "float"
    msg = f"must have low and high, or choices, or value. Got the keys {shown(list(table))}."
    if [type(part) for part in table.values()] == [list]:
        msg += " Did you mean `choices`? If the name contains a dot, quote it."
    elif table and all(isinstance(part, (Mapping, list)) for part in table.values()):
        msg += " Quote a name that contains a dot."  # else TOML reads it as nested tables
    raise SpaceError(msg)


def _check_choice_table(kind: str, table: dict[str, Any], found: Mistakes) -> None:
    if "choices" in table and not isinstance(table["choices"], (list, tuple)):
        found.add("choices", f"must be a list. Got {shown(table['choices'])}.")
    ordered = table.get("ordered", kind == "ordinal")
    if type(ordered) is not bool:
        found.add("ordered", f"must be true or false. Got {shown(ordered)}.")
    elif ordered != (kind == "ordinal"):
        fitting = str(not ordered).lower()
        found.add("ordered", f"must be {fitting} or left out for type {kind!r}. Got {ordered}.")
