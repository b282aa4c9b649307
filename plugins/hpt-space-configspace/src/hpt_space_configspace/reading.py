"""Conversion of a ``ConfigurationSpace`` to a space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ConfigSpace

from hpt_core import Space, UsageError
from hpt_space_configspace.forbidden import requirements_of
from hpt_space_configspace.hyperparameters import NOTE, native, parameter_of

__all__ = ["from_configspace"]

_MOST = 1000  # parents with more values are not converted to a list of values

When = dict[str, list[Any]]


def from_configspace(configspace: ConfigSpace.ConfigurationSpace) -> Space:
    """Convert a ConfigSpace space to an hpt space with the same parameters, defaults and conditions.

    Forbidden clauses become requirements, `Parameter.requires`. Every configuration of one space is legal in the other,
    and both have the same default.

    Raises:
        UsageError: If hpt has no equivalent: priors and weights, a condition on a float, a condition that holds for
            either of several parents, or a forbidden clause with a name that is not an identifier.
        SpaceError: If a choice is not plain data, or a forbidden clause compares the size of strings.
    """
    if not isinstance(configspace, ConfigSpace.ConfigurationSpace):
        raise UsageError(f"`configspace` must be a ConfigSpace.ConfigurationSpace. Got {configspace!r:.80}.")
    names = list(configspace)
    noted = (configspace.meta or {}).get(NOTE)
    order = noted if isinstance(noted, list) and sorted(map(repr, noted)) == sorted(map(repr, names)) else names
    tables = {name: parameter_of(configspace[name]).to_json() for name in order}
    for condition in configspace.conditions:
        tables[condition.child.name]["when"] = _when(condition)
    when = {name: table.get("when", {}) for name, table in tables.items()}
    for name, requirement in requirements_of(configspace, order, when).items():
        tables[name]["requires"] = requirement
    return Space(tables)


def _when(condition: Any) -> When:
    """Parent -> the values for which a condition holds."""
    parents = {literal.parent.name: literal.parent for literal in getattr(condition, "dlcs", [condition])}
    if len(parents) == 1:
        ((name, parent),) = parents.items()
        return {name: list(_values(condition, parent))}
    if not isinstance(condition, ConfigSpace.AndConjunction):
        msg = f"A condition in hpt must hold for all parents, not for one of several. Got: {condition}."
        raise UsageError(msg)
    found: When = {}
    for part in condition.components:
        for name, values in _when(part).items():
            found[name] = [value for value in found.get(name, values) if value in values]
    return found


def _values(condition: Any, parent: Any) -> Iterator[Any]:
    """The values of its only parent for which a condition holds."""
    if isinstance(condition, ConfigSpace.EqualsCondition):
        yield native(condition.value)
    elif isinstance(condition, ConfigSpace.InCondition):
        yield from map(native, condition.values)
    else:
        parameter = parameter_of(parent)
        if parameter.size is None or parameter.size > _MOST:
            msg = f"A condition in hpt lists its values, and {condition} has more than {_MOST}."
            raise UsageError(msg)
        for i in range(parameter.size):
            value = parameter.value_at(i)
            if condition.satisfied_by_value({parent.name: value}):
                yield value
