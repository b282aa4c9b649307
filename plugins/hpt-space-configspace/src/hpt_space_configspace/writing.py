"""A space as a ``ConfigurationSpace``."""

from __future__ import annotations

from typing import Any

import ConfigSpace

from hpt_core import Space, UsageError
from hpt_space_configspace.hyperparameters import NOTE, hyperparameter_of

__all__ = ["to_configspace"]


def to_configspace(space: Space) -> ConfigSpace.ConfigurationSpace:
    """A space of hpt as one of ConfigSpace: the same parameters, defaults and conditions.

    Every configuration of the one is legal in the other (``space.validate`` makes native values of numpy's), both begin
    at the same default, and `from_configspace` gives back an equal space. What ConfigSpace has no field for (a step,
    the order of names, that no default was declared) is noted in its ``meta``; a range with steps becomes an ordinal.
    Its files keep the notes but for the order.

    Raises:
        UsageError: If ConfigSpace has nothing of the kind: bounds with more than 13 decimal places, lists as values,
            choices of mixed number types, a range of more than 1000 steps.
    """
    if not isinstance(space, Space):
        raise UsageError(f"What is written must be a space, as hpt_core.Space({{...}}) makes it. Got {space!r:.80}.")
    made = {name: hyperparameter_of(name, parameter) for name, parameter in space.parameters.items()}
    conditions = [_condition(made, name, p.when) for name, p in space.parameters.items() if p.when]
    found = ConfigSpace.ConfigurationSpace()
    found.add([*made.values(), *conditions])
    if tuple(found) != space.names:
        found.meta = {NOTE: list(space.names)}
    return found


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
