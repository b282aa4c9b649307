"""The conditions of a space: which parameters are active, and how a configuration is completed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from hpt_core.errors import InvalidParamsError
from hpt_core.mistakes import Mistakes
from hpt_core.space.parameters import Parameter
from hpt_core.spelling import nearest_or_known
from hpt_core.values import shown

__all__ = ["ABSENT", "Check", "Conditions"]

ABSENT: Any = ...
"""The value of an inactive parameter: hashable, and the same object after pickling."""

Check = tuple[str, frozenset[Any] | tuple[Any, ...]]
"""A parent and the values of it that activate a child, tested with ``in``."""


@attrs.frozen(init=False, eq=False)
class Conditions:
    """The conditions of a space.

    A parameter is active if each of its parents is active and has one of the required values.

    Attributes:
        parameters: Name -> parameter, in the declared order.
        order: The names, parents before children.
        checks: Name -> its conditions.
        parents: The names that have children.
    """

    parameters: Mapping[str, Parameter]
    order: tuple[str, ...]
    checks: Mapping[str, tuple[Check, ...]]
    parents: frozenset[str]

    def __init__(self, parameters: Mapping[str, Parameter], order: tuple[str, ...]) -> None:
        checks = {
            name: tuple((parent, _allowed(parameters[parent], values)) for parent, values in p.when.items())
            for name, p in parameters.items()
        }
        self.__attrs_init__(
            parameters, order, checks, frozenset(parent for p in parameters.values() for parent in p.when)
        )

    def in_declared_order(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The same values, in the order of the declaration."""
        return {name: params[name] for name in self.parameters if name in params}

    def active(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The names that are active under the parents' values in ``params``, in the declared order."""
        if not self.parents:
            return tuple(self.parameters)
        on: set[str] = set()
        for name in self.order:
            checks = self.checks[name]
            if all(parent in on and _is_in(params.get(parent, ABSENT), allowed) for parent, allowed in checks):
                on.add(name)
        return tuple(name for name in self.parameters if name in on)

    def complete(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration with the wanted values of the active parameters; the others start from their defaults."""
        params: dict[str, Any] = {}
        for name in self.order:
            if all(_is_in(params.get(parent, ABSENT), allowed) for parent, allowed in self.checks[name]):
                params[name] = wanted[name] if name in wanted else self.parameters[name].start()
        return self.in_declared_order(params)

    def validate(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """See `hpt_core.space.space.Space.validate`."""
        if not isinstance(params, Mapping):
            msg = f"A configuration must map names to values. Got {shown(params)}."
            raise InvalidParamsError(msg)
        found = Mistakes(InvalidParamsError)
        for name in params:
            if name not in self.parameters:
                hint = nearest_or_known(str(name), self.parameters)
                found.add(str(name), f"is not a parameter of the space. {hint}")
        result: dict[str, Any] = {}
        unsure: set[str] = set()
        for name in self.order:
            value, problem = self._validated(name, params, result, unsure)
            if problem:
                found.add(name, problem)
                unsure.add(name)
            elif value is not ABSENT:
                result[name] = value
        found.raise_all()
        return self.in_declared_order(result)

    def _validated(
        self, name: str, params: Mapping[str, Any], result: Mapping[str, Any], unsure: set[str]
    ) -> tuple[Any, str]:
        """The value of one parameter (ABSENT: none) and a description of the problem, empty if there is none.

        Parents are validated first. A parent with a wrong value is in ``unsure``, and so are its children, because
        it is unknown whether they are active.
        """
        parameter = self.parameters[name]
        for parent, allowed in self.checks[name]:
            if parent not in unsure and result.get(parent, ABSENT) not in allowed:
                inactive = _why_inactive(parameter, parent, result)
                return ABSENT, inactive if name in params else ""
        doubtful = any(parent in unsure for parent, _ in self.checks[name])
        if doubtful:
            unsure.add(name)
        if name in params:
            return parameter.accept(params[name])
        if doubtful:
            return ABSENT, ""
        if parameter.default is not None or parameter.size == 1:
            return parameter.start(), ""
        return ABSENT, f"is missing. It must be {parameter.describe()}."


def _allowed(parent: Parameter, values: tuple[Any, ...]) -> frozenset[Any] | tuple[Any, ...]:
    """A set; a tuple if the parent has lists among its values, which are not hashable."""
    accepted = tuple(parent.accept(value)[0] for value in values)
    return accepted if parent.has_lists else frozenset(accepted)


def _is_in(value: Any, allowed: frozenset[Any] | tuple[Any, ...]) -> bool:
    """Whether a value is allowed; it has not been validated."""
    try:
        return value in allowed
    except (TypeError, ValueError):  # it is not hashable; it is an array, which compares element by element
        return False


def _why_inactive(parameter: Parameter, parent: str, result: Mapping[str, Any]) -> str:
    wanted = " or ".join(map(repr, parameter.when[parent]))
    state = f"is {shown(result[parent])}" if parent in result else "is inactive"
    return f"is active only if {parent!r} is {wanted}, but {parent!r} {state}. Leave it out."
