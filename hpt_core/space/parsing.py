"""Parse the declaration of a space (Python objects or the tables of a study file) into checked parameters."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

from hpt_core.errors import Mistake, SpaceError
from hpt_core.mistakes import within
from hpt_core.space.choices import Categorical, Constant, Ordinal
from hpt_core.space.numeric import Float, Int
from hpt_core.space.parameters import Parameter, parse_when
from hpt_core.space.requirements import requirement_of
from hpt_core.spelling import nearest_or_known
from hpt_core.values import json_problem, native, shown

__all__ = ["parse_space"]

_MAX_PARAMETERS = 1_000
_MAX_NAME = 200
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
    found: dict[Any, list[Mistake]] = {name: _name_mistakes(name) for name in declared}
    parameters: dict[str, Parameter] = {}
    for name, form in declared.items():
        try:
            parameters[name] = _parse(form)
        except SpaceError as err:
            found[name] += within(_path(name), err.mistakes)
    length = sum(len(parameter.requires) for parameter in parameters.values())
    if length > _MAX_REQUIREMENTS:
        limit = f"must have requirements of at most {_MAX_REQUIREMENTS:,} characters in all. Got {length:,}."
        raise SpaceError(Mistake("space", limit))
    when = {name: _conditions(form, parameters.get(name)) for name, form in declared.items()}
    for name in declared:
        found[name] += _parent_mistakes(name, when, parameters)
    for name, parameter in parameters.items():
        found[name] += _requirement_mistakes(name, parameter, parameters, declared)
    order = _order(when, found)
    if not any(found.values()):
        _check_reachable(parameters, order, found)
    if any(found.values()):
        raise SpaceError(*itertools.chain.from_iterable(found.values()))
    return parameters, order


def _name_mistakes(name: object) -> list[Mistake]:
    problem = _name_problem(name)
    return [Mistake("space", f"A parameter's name {problem}. Got {shown(name)}.")] if problem else []


def _name_problem(name: object) -> str:
    if not isinstance(name, str):
        return "must be a string"
    if not 1 <= len(name) <= _MAX_NAME:
        return f"must have 1 to {_MAX_NAME} characters"
    return "" if name.isprintable() else "must be printable"


def _path(name: object) -> str:
    plain = isinstance(name, str) and name != "" and name.replace("-", "_").isidentifier()
    return f"space.{name}" if plain else f"space.{shown(name)}"


# --- one parameter ----------------------------------------------------------------------------------


def _parse(form: Any) -> Parameter:
    if isinstance(form, Parameter):
        return form
    if isinstance(form, tuple) and len(form) == 2 and all(type(value) in (int, float) for value in form):
        low, high = form  # other libraries read a pair as a range; silently making it two choices would go unnoticed
        msg = f"must not be a pair: write {{'low': {low}, 'high': {high}}} for a range, [{low}, {high}] for choices."
        raise SpaceError(msg)
    if isinstance(form, (list, tuple)):
        return Categorical(*form)
    if isinstance(form, Mapping):
        return _parse_table(dict(form))
    if not json_problem(native(form)):
        return Constant(form)
    forms = "a list of choices, a table or a single value"
    msg = f"must be a parameter, {forms}. Got {shown(form)}."
    raise SpaceError(msg)


def _parse_table(table: dict[str, Any]) -> Parameter:
    kind = _kind(table)
    found = []
    for key in table:
        if key not in _KEYS[kind]:
            guess = nearest_or_known(str(key), _KEYS[kind])
            found.append(Mistake(str(key), f"is not a key of a parameter of type {kind!r}. {guess}"))
    missing = [key for key in _REQUIRED[kind] if key not in table]
    found += [Mistake(key, f"is missing; a parameter of type {kind!r} requires it.") for key in missing]
    if kind in ("categorical", "ordinal"):
        found += _choice_table_mistakes(kind, table)
    known = {key: table[key] for key in _KEYS[kind] if key in table and key not in ("type", "ordered")}
    return _construct(kind, known, found)


def _construct(kind: str, known: dict[str, Any], found: list[Mistake]) -> Parameter:
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
        found += [m for m in err.mistakes if m.path not in broken]
    if found:
        raise SpaceError(*found)
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
    if table and all(isinstance(part, (Mapping, list)) for part in table.values()):
        msg += " Quote a name that contains a dot."  # else TOML reads it as nested tables
    raise SpaceError(msg)


def _choice_table_mistakes(kind: str, table: dict[str, Any]) -> list[Mistake]:
    found = []
    if "choices" in table and not isinstance(table["choices"], (list, tuple)):
        found.append(Mistake("choices", f"must be a list. Got {shown(table['choices'])}."))
    ordered = table.get("ordered", kind == "ordinal")
    if type(ordered) is not bool:
        found.append(Mistake("ordered", f"must be true or false. Got {shown(ordered)}."))
    elif ordered != (kind == "ordinal"):
        fitting = str(not ordered).lower()
        found.append(Mistake("ordered", f"must be {fitting} or left out for type {kind!r}. Got {ordered}."))
    return found


# --- parameters together ------------------------------------------------------------------------------


def _conditions(form: Any, parameter: Parameter | None) -> Mapping[str, tuple[Any, ...]]:
    """The conditions of a parameter, also if its declaration has mistakes elsewhere."""
    if parameter is not None:
        return parameter.when
    return parse_when([], form.get("when")) if isinstance(form, Mapping) else {}


def _parent_mistakes(
    name: str, when: Mapping[str, Mapping[str, Any]], parameters: Mapping[str, Parameter]
) -> list[Mistake]:
    found = []
    for parent, values in when[name].items():
        path = f"{_path(name)}.when.{parent}"
        if parent == name:
            found.append(Mistake(path, "is the parameter itself; a condition must name another parameter."))
        elif parent not in when:
            guess = nearest_or_known(parent, [str(other) for other in when if other != name])
            found.append(Mistake(path, f"is not a parameter of the space. {guess}"))
        elif parent in parameters:
            found += _value_mistakes(path, parameters[parent], values)
    return found


def _value_mistakes(path: str, parent: Parameter, values: tuple[Any, ...]) -> list[Mistake]:
    if parent.size is None:
        return [Mistake(path, "is a continuous Float; a condition must refer to a finite parameter.")]
    problems = [parent.accept(value)[1] for value in values]
    return [Mistake(path, problem) for problem in problems if problem]


def _requirement_mistakes(
    name: str, parameter: Parameter, parameters: Mapping[str, Parameter], declared: Mapping[Any, Any]
) -> list[Mistake]:
    requirement = requirement_of(parameter.requires)
    if requirement is None or not isinstance(name, str):
        return []
    path, found = f"{_path(name)}.requires", []
    if not all(part.isidentifier() and not iskeyword(part) for part in name.split(".")):
        reason = f"cannot name {name!r}: an expression names parameters as Python does variables. Rename the parameter."
        return [Mistake(path, f"{reason} Got {requirement.text!r}.")]
    if name not in requirement.names:
        found.append(Mistake(path, f"must name {name!r}, the parameter that it belongs to. Got {requirement.text!r}."))
    for other in sorted(requirement.names):
        if other not in declared:
            guess = nearest_or_known(other, [str(known) for known in declared])
            found.append(Mistake(path, f"names {other!r}, which is not a parameter of the space. {guess}"))
        elif other in requirement.numbers and other in parameters and not _has_numbers(parameters[other]):
            reason = f"computes with {other!r}, or compares its size, so all its values must be numbers."
            found.append(Mistake(path, f"{reason} It must be {parameters[other].describe()}."))
    for other, value in requirement.constants:
        if other in parameters and not _may_equal(parameters[other], value):
            reason = f"compares {other!r} with {shown(value)}, which is not one of its values."
            found.append(Mistake(path, f"{reason} It must be {parameters[other].describe()}."))
    return found


def _may_equal(parameter: Parameter, value: Any) -> bool:
    """Whether a parameter can have a value. Any number will do for a range, whose bounds may change."""
    if isinstance(parameter, (Float, Int)):
        return isinstance(value, (int, float))
    return any(parameter.value_at(i) == value for i in range(parameter.size or 0))


def _has_numbers(parameter: Parameter) -> bool:
    if isinstance(parameter, (Float, Int)):
        return True
    return all(isinstance(parameter.value_at(i), (int, float)) for i in range(parameter.size or 0))


def _order(when: Mapping[str, Mapping[str, Any]], found: dict[Any, list[Mistake]]) -> tuple[str, ...]:
    """Parents before children, else as declared (Kahn 1962; of several ready names, the earliest declared is next)."""
    names = list(when)
    rank = {name: i for i, name in enumerate(names)}
    missing = {name: {p for p in when[name] if p in rank and p != name} for name in names}
    children: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for parent in missing[name]:
            children[parent].append(name)
    ready = [rank[name] for name in names if not missing[name]]
    order = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for child in children[name]:
            missing[child].discard(name)
            if not missing[child]:
                heapq.heappush(ready, rank[child])
    if len(order) < len(names):
        left = set(names).difference(order)
        _note_cycles([name for name in names if name in left], missing, found)
    return tuple(order)


def _note_cycles(left: list[str], missing: Mapping[str, set[str]], found: dict[Any, list[Mistake]]) -> None:
    """Follow the unresolved parents, visiting each parameter once, and note every cycle found."""
    done: set[str] = set()
    for start in left:
        at = start
        walked: dict[str, None] = {}
        while at not in done:
            done.add(at)
            walked[at] = None
            at = next(name for name in left if name in missing[at])
        if at in walked:
            trail = list(walked)
            loop = " -> ".join([*trail[trail.index(at) :], at])
            found[at].append(Mistake(f"{_path(at)}.when", f"must not form a cycle. Got {loop}."))


def _check_reachable(
    parameters: Mapping[str, Parameter], order: tuple[str, ...], found: dict[Any, list[Mistake]]
) -> None:
    """Note each parameter whose conditions, together with those of its parents, can never hold."""
    needs: dict[str, dict[str, set[int]]] = {}
    for name in order:
        own = {
            parent: {parameters[parent].index_of(value) for value in values}
            for parent, values in parameters[name].when.items()
        }
        mine = dict(own)
        for parent in own:
            for ancestor, allowed in needs[parent].items():
                mine[ancestor] = mine[ancestor] & allowed if ancestor in mine else allowed
        needs[name] = mine
        empty = [ancestor for ancestor, allowed in mine.items() if not allowed]
        if empty and all(needs[parent].get(ancestor) != set() for ancestor in empty for parent in own):
            reason = f"can never hold: its parents are active only for other values of {empty[0]!r}."
            found[name].append(Mistake(f"{_path(name)}.when", reason))
