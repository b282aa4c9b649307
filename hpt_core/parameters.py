"""What every kind of parameter has in common: its values, its place in the unit interval, its conditions."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hpt_core.declared import freeze, thaw
from hpt_core.errors import Mistake, SpaceError

if TYPE_CHECKING:
    from hpt_core.scales import Cells

__all__ = ["Parameter", "Params", "When", "settle"]

Params = dict[str, Any]
"""A configuration: the value of each *active* parameter by name, as native JSON-shaped Python values."""

When = Mapping[str, Any] | None

_MOVE = 0.1


class Parameter(ABC):
    """What all kinds have in common.

    Attributes:
        default: The declared default; None without one.
        when: Parent -> the values of it under which this parameter is active; all must hold. Empty: always.
        size: How many values there are; None if continuous.
        ordered: Whether the values have an order that means something.
        kind: The ``type`` of the table form.
    """

    __slots__ = ()
    kind: ClassVar[str]
    ordered: ClassVar[bool]
    default: Any
    when: Mapping[str, tuple[Any, ...]]
    size: int | None

    @property
    def has_lists(self) -> bool:
        """Whether lists are among the values."""
        return False

    def to_unit(self, value: Any) -> float:
        """The unit coordinate of a valid value: a lattice point, or the centre of the value's cell."""
        return self._cells.unit(self.index_of(value))

    def from_unit(self, u: float) -> Any:
        """The value at ``u`` in [0, 1]; what lies outside counts as the nearer end."""
        return self.value_at(self._cells.index(u))

    def snap(self, u: float) -> float:
        """The unit coordinate of the valid value nearest to ``u``."""
        return self.to_unit(self.from_unit(u))

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Whether ``value`` is one of the values, of exactly the native type that `from_unit` gives."""

    @abstractmethod
    def value_at(self, i: int) -> Any:
        """Value number ``i`` of a finite parameter, 0 <= i < size."""

    @abstractmethod
    def index_of(self, value: Any) -> int:
        """Number of a valid value of a finite parameter."""

    @abstractmethod
    def accept(self, value: Any) -> tuple[Any, str]:
        """Turn what a user gave into a value.

        Returns:
            The native value and an empty string, or None and what is wrong.
        """

    @abstractmethod
    def describe(self) -> str:
        """What a value must be, for messages: ``a number in [0.0, 1.0]``."""

    def middle(self) -> Any:
        """Where to start without a default: the middle value, the first choice of a categorical."""
        return self.from_unit(0.5)

    def start(self) -> Any:
        """The default, or else the middle."""
        return self.middle() if self.default is None else thaw(freeze(self.default))

    def neighbours(self, value: Any) -> list[Any]:
        """The values one exchange away.

        Finite: the next ones down and up, of an unordered parameter all others. Continuous: 0.1 of the unit
        range down and up, no further than the ends.
        """
        if self.size is None:
            u = self.to_unit(value)
            moved = (self.from_unit(max(u - _MOVE, 0.0)), self.from_unit(min(u + _MOVE, 1.0)))
            return [other for other in moved if other != value]
        i = self.index_of(value)
        places = (i - 1, i + 1) if self.ordered else range(self.size)
        return [self.value_at(k) for k in places if 0 <= k < self.size and k != i]

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The table form, with its ``type``."""

    _cells: Cells

    def _tail(self) -> dict[str, Any]:
        tail = {} if self.default is None else {"default": self.default}
        if self.when:
            tail["when"] = {parent: list(values) for parent, values in self.when.items()}
        return tail

    def _identity(self) -> str:
        return json.dumps(self.to_json(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameter):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> tuple[Callable[..., Parameter], tuple[type[Parameter], dict[str, Any]]]:
        return _rebuild, (type(self), self.to_json())

    def __repr__(self) -> str:
        table = self.to_json()
        del table["type"]
        positional = [table.pop(key) for key in ("low", "high", "value") if key in table]
        positional += table.pop("choices", [])
        words = [*map(repr, positional), *(f"{key}={value!r}" for key, value in table.items())]
        return f"{type(self).__name__}({', '.join(words)})"


def _rebuild(cls: type[Parameter], table: dict[str, Any]) -> Parameter:
    del table["type"]
    choices = table.pop("choices", ())
    return cls(*choices, **table)


def settle(parameter: Parameter, found: list[Mistake]) -> None:
    """Check the default, replace it by the value it means, and raise what was found."""
    if parameter.default is not None:
        value, problem = parameter.accept(parameter.default)
        if problem:
            found.append(Mistake("default", problem))
        object.__setattr__(parameter, "default", value)
    if found:
        raise SpaceError(*found)
