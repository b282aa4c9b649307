"""The map between configurations and points of the unit cube, which has a column per parameter with several values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpt_core.space.conditions import ABSENT, Conditions

if TYPE_CHECKING:
    from hpt_core.space.parameters import Params

__all__ = ["Row", "UnitCube"]

Row = list[float]
"""A point of the unit cube."""


class UnitCube:
    """The unit cube of a space.

    Args:
        conditions: The parameters of the space and their conditions.

    Attributes:
        conditions: The same.
        columns: The names that have a column: all parameters with more than one value.
    """

    def __init__(self, conditions: Conditions) -> None:
        parameters = conditions.parameters
        self.conditions = conditions
        self.columns: tuple[str, ...] = tuple(name for name, p in parameters.items() if p.size != 1)
        column = {name: i for i, name in enumerate(self.columns)}
        self._encoders = tuple((name, parameters[name].to_unit) for name in self.columns)
        self._decoders = tuple((name, parameters[name].from_unit) for name in self.columns)
        self._steps = tuple(
            (name, parameters[name].from_unit, column.get(name, -1), conditions.checks[name])
            for name in conditions.order
        )
        fixed = not conditions.parents and not any(p.has_lists for p in parameters.values())
        self._template = {name: p.from_unit(0.5) for name, p in parameters.items()} if fixed else None

    def decode(self, row: Row) -> Params:
        """The configuration at a point; the columns of inactive parameters are ignored."""
        if self._template is not None:  # all are active, so a copy with other values is faster
            params = self._template.copy()
            for (name, decode), u in zip(self._decoders, row, strict=True):
                params[name] = decode(u)
            return params
        params = {}
        for name, decode, column, checks in self._steps:
            for parent, allowed in checks:
                if params.get(parent, ABSENT) not in allowed:
                    break
            else:
                params[name] = decode(row[column] if column >= 0 else 0.5)
        return self.conditions.in_declared_order(params)

    def encode(self, params: Mapping[str, Any]) -> Row:
        """The point of a configuration in the space; NaN where a parameter is inactive."""
        nan = float("nan")
        return [encode(params[name]) if name in params else nan for name, encode in self._encoders]
