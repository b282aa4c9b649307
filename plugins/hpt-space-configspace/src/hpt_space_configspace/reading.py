"""A ``ConfigurationSpace`` as a space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ConfigSpace

from hpt_core import Space, UsageError
from hpt_space_configspace.hyperparameters import NOTE, native, parameter_of

__all__ = ["from_configspace"]

_MOST = 1000

When = dict[str, list[Any]]


def from_configspace(configspace: ConfigSpace.ConfigurationSpace) -> Space:
    """A space of ConfigSpace as one of hpt: the same parameters, defaults and conditions.

    Every configuration of the one is legal in the other, and both begin at the same default.

    Raises:
        UsageError: If hpt has nothing of the kind: priors and weights, forbidden clauses, a condition on a float or
            one that holds for either of several parents.
        SpaceError: If a choice is no plain data.
    """
    if not isinstance(configspace, ConfigSpace.ConfigurationSpace):
        raise UsageError(f"What is read must be a ConfigurationSpace of ConfigSpace. Got {configspace!r:.80}.")
    if configspace.forbidden_clauses:
        clause = configspace.forbidden_clauses[0]
        msg = f"A space of hpt has no forbidden clauses: take them out, or let the evaluator fail there. Got: {clause}."
        raise UsageError(msg)
    names = list(configspace)
    noted = (configspace.meta or {}).get(NOTE)
    order = noted if noted is not None and sorted(noted) == sorted(names) else names
    tables = {name: parameter_of(configspace[name]).to_json() for name in order}
    for condition in configspace.conditions:
        tables[condition.child.name]["when"] = _when(condition)
    return Space(tables)


def _when(condition: Any) -> When:
    """Parent -> the values under which a condition holds."""
    parents = {literal.parent.name: literal.parent for literal in getattr(condition, "dlcs", [condition])}
    if len(parents) == 1:
        ((name, parent),) = parents.items()
        return {name: list(_values(condition, parent))}
    if not isinstance(condition, ConfigSpace.AndConjunction):
        msg = f"A condition of hpt holds for all parents, not for one of several: {condition} has no such form."
        raise UsageError(msg)
    found: When = {}
    for part in condition.components:
        for name, values in _when(part).items():
            found[name] = [value for value in found.get(name, values) if value in values]
    return found


def _values(condition: Any, parent: Any) -> Iterator[Any]:
    """The values of its one parent under which a condition holds."""
    if isinstance(condition, ConfigSpace.EqualsCondition):
        yield native(condition.value)
    elif isinstance(condition, ConfigSpace.InCondition):
        yield from map(native, condition.values)
    else:
        parameter = parameter_of(parent)
        if parameter.size is None or parameter.size > _MOST:
            msg = f"A condition of hpt lists its values, and those of {condition} are more than {_MOST}."
            raise UsageError(msg)
        for i in range(parameter.size):
            value = parameter.value_at(i)
            if condition.satisfied_by_value({parent.name: value}):
                yield value
