"""The base of all parameter kinds: values, unit coordinates, default, conditions and requirement."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from hpt_core.space.requirements import parse_requirement
from hpt_core.values import freeze, json_problem, native, shown, thaw

if TYPE_CHECKING:
    from hpt_core.mistakes import Mistakes
    from hpt_core.space.requirements import Requirement
    from hpt_core.space.scales import Cells

__all__ = ["Parameter", "Params", "When", "check_default", "parse_requires", "parse_when"]

Params = dict[str, Any]
"""A configuration: the value of each *active* parameter by name, as native JSON-shaped Python values."""

When = Mapping[str, Any] | None
"""The conditions of a parameter as declared; `parse_when` gives their normal form."""

_MOVE = 0.1  # distance of a neighbour on the unit interval, for a continuous parameter


class Parameter(ABC):
    """A parameter of a search space.

    Attributes:
        default: The declared default; None if there is none.
        when: Parent -> the values of that parent for which this parameter is active. All conditions must hold; an empty
            mapping means that it is always active.
        requires: An expression that configurations must satisfy while this parameter is active, such as
            ``"leaf <= split / 2"``; empty if there is none. See `hpt_core.space.space.Space`.
        size: Number of values; None if continuous.
        ordered: Whether the order of the values is meaningful.
        kind: The ``type`` of the table form.
    """

    __slots__ = ()
    kind: ClassVar[str]
    ordered: ClassVar[bool]
    default: Any
    when: Mapping[str, tuple[Any, ...]]
    requires: str
    size: int | None

    @property
    def has_lists(self) -> bool:
        """Whether some of the values are lists."""
        return False

    def to_unit(self, value: Any) -> float:
        """The unit coordinate of a valid value: a lattice point if continuous, else the centre of the value's cell."""
        return self._cells.unit(self.index_of(value))

    def from_unit(self, u: float) -> Any:
        """The value at ``u`` in [0, 1]; a coordinate outside is clipped to the nearer end."""
        return self.value_at(self._cells.index(u))

    def snap(self, u: float) -> float:
        """The unit coordinate of the valid value nearest to ``u``."""
        return self.to_unit(self.from_unit(u))

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Whether ``value`` is one of the values, of exactly the native type that `from_unit` returns."""

    @abstractmethod
    def value_at(self, i: int) -> Any:
        """Value number ``i`` of a finite parameter, 0 <= i < size."""

    @abstractmethod
    def index_of(self, value: Any) -> int:
        """The number of a valid value of a finite parameter; the inverse of `value_at`."""

    @abstractmethod
    def accept(self, value: Any) -> tuple[Any, str]:
        """Turn user input into a value.

        Returns:
            The native value and an empty string, or None and a description of the problem.
        """

    @abstractmethod
    def describe(self) -> str:
        """What a value must be, for messages, such as ``a number in [0.0, 1.0]``."""

    def middle(self) -> Any:
        """The value to start from without a default: the middle one; of a categorical, the first choice."""
        return self.from_unit(0.5)

    def start(self) -> Any:
        """The value to start from: the default, else `middle`."""
        return self.middle() if self.default is None else thaw(freeze(self.default))

    def neighbours(self, value: Any) -> list[Any]:
        """The values one step away from ``value``.

        Finite and ordered: the next lower and the next higher value. Finite and unordered: all other values.
        Continuous: the values 0.1 of the unit interval below and above, clipped to the range.
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
        if self.requires:
            tail["requires"] = self.requires
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


def check_default(parameter: Parameter, found: Mistakes) -> None:
    """Replace a parameter's default by the native value that it stands for.

    Args:
        parameter: The parameter, complete but for this check.
        found: The mistakes found so far in its declaration.

    Raises:
        SpaceError: With all mistakes, if there are any.
    """
    if parameter.default is not None:
        value, problem = parameter.accept(parameter.default)
        if problem:
            found.add("default", problem)
        object.__setattr__(parameter, "default", value)
    found.raise_all()


def parse_when(found: Mistakes, when: Any) -> Mapping[str, tuple[Any, ...]]:
    """The normal form of ``when``: parent -> tuple of the values that activate the parameter.

    Args:
        found: Mistakes are added here.
        when: As declared: None, or a mapping of parent -> value or list of values.
    """
    if when is not None and not isinstance(when, Mapping):
        example = '{"model": "svm"}'
        found.add("when", f"must map parents to values, as in {example}. Got {shown(when)}.")
        when = None
    return MappingProxyType({str(parent): _activating(found, parent, given) for parent, given in (when or {}).items()})


def parse_requires(found: Mistakes, requires: Any) -> str:
    """The normal form of ``requires``: the expression, empty if there is none.

    Args:
        found: Mistakes are added here.
        requires: As declared: None, or an expression.
    """
    if requires is None or (isinstance(requires, str) and not requires):
        return ""
    requirement: Requirement | None = found.collect(parse_requirement, requires)
    return "" if requirement is None else requirement.text


def _activating(found: Mistakes, parent: Any, given: Any) -> tuple[Any, ...]:
    values: Sequence[Any] = list(given) if isinstance(given, (list, tuple)) else [given]
    field = f"when.{parent}"
    if not isinstance(parent, str):
        found.add(field, f"must be keyed by a parameter's name. Got {shown(parent)}.")
    if not values:
        found.add(field, "must list at least one value. Got none, so it could never be active.")
    kept: dict[str, Any] = {}
    for value in values:
        plain = list(map(native, value)) if isinstance(value, (list, tuple)) else native(value)
        problem = json_problem(plain)
        if problem:
            found.add(field, f"{problem}. Got {shown(value)}.")
        else:
            kept.setdefault(repr(plain), plain)
    return tuple(kept.values())
