"""Conversion of a space to a ``ConfigurationSpace``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ConfigSpace

from hpt_core import Space, UsageError
from hpt_space_configspace.forbidden import clauses_of
from hpt_space_configspace.hyperparameters import NOTE, hyperparameter_of

__all__ = ["to_configspace"]


def to_configspace(space: Space) -> ConfigSpace.ConfigurationSpace:
    """Convert an hpt space to a ConfigSpace space with the same parameters, defaults and conditions.

    Requirements become forbidden clauses. Every configuration of one space is legal in the other (``space.validate``
    converts numpy values to native ones), both have the same default, and `from_configspace` returns an equal space.
    There, a requirement may be written in another way, and a default that breaks one is replaced by `Space.default`.
    Properties that ConfigSpace has no field for (a step, the order of names, a missing default) are recorded in
    ``meta``; a range with steps becomes an ordinal. ConfigSpace's files keep this record except for the order of names.

    Raises:
        UsageError: If ConfigSpace has no equivalent: bounds with more than 13 decimal places, lists as values, choices
            of mixed number types, a range of more than 1000 steps, a requirement with arithmetic.
    """
    if not isinstance(space, Space):
        raise UsageError(f"`space` must be an hpt_core.Space. Got {space!r:.80}.")
    parameters = _with_default(space)
    made = {name: hyperparameter_of(name, parameter) for name, parameter in parameters.items()}
    conditions = [_condition(made, name, p.when) for name, p in space.parameters.items() if p.when]
    found = ConfigSpace.ConfigurationSpace()
    found.add([*made.values(), *conditions, *clauses_of(space, made)])
    if tuple(found) != space.names:
        found.meta = {NOTE: list(space.names)}
    return found


def _with_default(space: Space) -> Mapping[str, Any]:
    """The parameters, which declare the default of the space if it is not theirs: that breaks a requirement."""
    default, parameters = space.default(), space.parameters
    moved = {name for name, value in default.items() if value != parameters[name].start()}
    tables = {name: {**p.to_json(), "default": default[name]} for name, p in parameters.items() if name in moved}
    return Space({**parameters, **tables}).parameters if moved else parameters


def _condition(made: dict[str, Any], name: str, when: Any) -> Any:
    try:
        parts = [
            ConfigSpace.EqualsCondition(made[name], made[parent], values[0])
            if len(values) == 1
            else ConfigSpace.InCondition(made[name], made[parent], list(values))
            for parent, values in when.items()
        ]
    except (TypeError, ValueError) as err:
        raise UsageError(f"ConfigSpace cannot hold the condition of {name!r}: {err}") from err
    return parts[0] if len(parts) == 1 else ConfigSpace.AndConjunction(*parts)
