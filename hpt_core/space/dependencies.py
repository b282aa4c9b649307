"""How the parameters of a space depend on each other: checks their conditions and requirements, and sorts them."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

from hpt_core.mistakes import Mistakes
from hpt_core.space.numeric import Float, Int
from hpt_core.space.parameters import Parameter, parse_when
from hpt_core.space.requirements import requirement_of
from hpt_core.spelling import nearest_or_known
from hpt_core.values import shown

__all__ = ["check_dependencies"]


def check_dependencies(
    declared: Mapping[Any, Any], parameters: Mapping[Any, Parameter], found: Mapping[Any, Mistakes]
) -> tuple[str, ...]:
    """Check the conditions and requirements of all parameters.

    Args:
        declared: Name -> `Parameter` or its table form.
        parameters: The parameters of those declarations that have no mistakes of their own.
        found: Name -> the mistakes in its declaration; more are added here.

    Returns:
        The names, parents before children. Without meaning if there are mistakes.
    """
    when = {name: _conditions(form, parameters.get(name)) for name, form in declared.items()}
    for name in declared:
        _check_parents(name, when, parameters, found[name])
    for name in parameters:
        _check_requirement(name, parameters, declared, found[name])
    order = _order(when, found)
    if not any(found.values()):
        _check_reachable(parameters, order, found)
    return order


def _conditions(form: Any, parameter: Parameter | None) -> Mapping[str, tuple[Any, ...]]:
    """The conditions of a parameter, also if its declaration has mistakes elsewhere."""
    if parameter is not None:
        return parameter.when
    return parse_when(Mistakes(), form.get("when")) if isinstance(form, Mapping) else {}


def _check_parents(
    name: Any, when: Mapping[Any, Mapping[str, Any]], parameters: Mapping[Any, Parameter], found: Mistakes
) -> None:
    for parent, values in when[name].items():
        path = f"when.{parent}"
        if parent == name:
            found.add(path, "is the parameter itself; a condition must name another parameter.")
        elif parent not in when:
            guess = nearest_or_known(parent, [str(other) for other in when if other != name])
            found.add(path, f"is not a parameter of the space. {guess}")
        elif parent in parameters and parameters[parent].size is None:
            found.add(path, "is a continuous Float; a condition must refer to a finite parameter.")
        elif parent in parameters:
            for problem in (parameters[parent].accept(value)[1] for value in values):
                if problem:
                    found.add(path, problem)


def _check_requirement(
    name: Any, parameters: Mapping[Any, Parameter], declared: Mapping[Any, Any], found: Mistakes
) -> None:
    requirement = requirement_of(parameters[name].requires)
    if requirement is None or not isinstance(name, str):
        return
    if name not in requirement.names and not _is_plain(name):
        other = "rename the parameter" if "`" in name else f"write it in backquotes, `{name}`"
        reason = f"cannot name {name!r}: an expression names parameters as Python does variables; {other}."
        found.add("requires", f"{reason} Got {requirement.text!r}.")
        return
    if name not in requirement.names:
        found.add("requires", f"must name {name!r}, the parameter that it belongs to. Got {requirement.text!r}.")
    for other in sorted(requirement.names):
        if other not in declared:
            guess = nearest_or_known(other, [str(known) for known in declared])
            if any(other in str(known) and not _is_plain(str(known)) for known in declared):
                guess += " Write a name that is not one of Python's in backquotes."
            found.add("requires", f"names {other!r}, which is not a parameter of the space. {guess}")
        elif other in requirement.numbers and other in parameters and not _has_numbers(parameters[other]):
            reason = f"computes with {other!r}, or compares its size, so all its values must be numbers."
            found.add("requires", f"{reason} It must be {parameters[other].describe()}.")
    for other, value in requirement.constants:
        if other in parameters and not _may_equal(parameters[other], value):
            reason = f"compares {other!r} with {shown(value)}, which is not one of its values."
            found.add("requires", f"{reason} It must be {parameters[other].describe()}.")


def _is_plain(name: str) -> bool:
    """Whether an expression can have a name without quotes."""
    return all(part.isidentifier() and not iskeyword(part) for part in name.split("."))


def _may_equal(parameter: Parameter, value: Any) -> bool:
    """Whether a parameter can have a value. Any number will do for a range, whose bounds may change."""
    if isinstance(parameter, (Float, Int)):
        return isinstance(value, (int, float))
    return any(parameter.value_at(i) == value for i in range(parameter.size or 0))


def _has_numbers(parameter: Parameter) -> bool:
    if isinstance(parameter, (Float, Int)):
        return True
    return all(isinstance(parameter.value_at(i), (int, float)) for i in range(parameter.size or 0))


def _order(when: Mapping[str, Mapping[str, Any]], found: Mapping[Any, Mistakes]) -> tuple[str, ...]:
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


def _note_cycles(left: list[str], missing: Mapping[str, set[str]], found: Mapping[Any, Mistakes]) -> None:
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
            found[at].add("when", f"must not form a cycle. Got {loop}.")


def _check_reachable(
    parameters: Mapping[str, Parameter], order: tuple[str, ...], found: Mapping[Any, Mistakes]
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
            found[name].add("when", reason)
