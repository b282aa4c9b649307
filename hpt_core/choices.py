"""The kinds of parameter whose values are listed: `Categorical`, `Ordinal` and `Constant`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import attrs

from hpt_core.declared import conditions, freeze, json_problem, native, same, shown, thaw
from hpt_core.errors import Mistake, SpaceError
from hpt_core.parameters import Parameter, When, settle
from hpt_core.scales import Cells, make_cells

__all__ = ["MAX_CHOICES", "Categorical", "Constant", "Ordinal"]

MAX_CHOICES = 10_000
"""Most choices that one parameter may have."""

_MAX_LISTED = 10


def _plain(value: Any) -> Any:
    """The native form of a choice, lists as tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(map(native, value))
    return native(value)


class _Listed(Parameter):
    """A parameter whose values are ``_frozen``, with lists as tuples."""

    __slots__ = ()
    _frozen: tuple[Any, ...]
    _number: Mapping[Any, int]

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values, in the declared order."""
        return tuple(map(thaw, self._frozen))

    @property
    def has_lists(self) -> bool:
        """See `Parameter.has_lists`."""
        return any(type(value) is tuple for value in self._frozen)

    def contains(self, value: Any) -> bool:
        """See `Parameter.contains`."""
        if type(value) is tuple:
            return False
        frozen = freeze(value)
        try:
            i = self._number.get(frozen)
        except TypeError:
            return False
        return i is not None and same(self._frozen[i], frozen)

    def value_at(self, i: int) -> Any:
        """See `Parameter.value_at`; a list is a new one each time."""
        return thaw(self._frozen[i])

    def index_of(self, value: Any) -> int:
        """See `Parameter.index_of`."""
        return self._number[freeze(value)]

    def accept(self, value: Any) -> tuple[Any, str]:
        """See `Parameter.accept`; an int stands for an equal float."""
        plain = _plain(value)
        try:
            i = self._number.get(plain)
        except TypeError:
            i = None
        if i is not None and _means(plain, self._frozen[i]):
            return self.value_at(i), ""
        return None, f"must be {self.describe()}. Got {shown(value)}."

    def describe(self) -> str:
        """See `Parameter.describe`."""
        listed = [repr(thaw(value)) for value in self._frozen[:_MAX_LISTED]]
        if self.size == 1:
            return listed[0]
        more = f", ... ({self.size} in all)" if len(self._frozen) > _MAX_LISTED else ""
        return f"one of {', '.join(listed)}{more}"

    def to_json(self) -> dict[str, Any]:
        """See `Parameter.to_json`."""
        return {"type": self.kind, "choices": list(self.choices)} | self._tail()


def _means(given: Any, choice: Any) -> bool:
    if type(choice) is tuple and type(given) is tuple:
        return len(given) == len(choice) and all(map(_means, given, choice))
    return same(given, choice) or (type(given) is int and type(choice) is float)


def _check_choices(found: list[Mistake], given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The choices with lists as tuples; what is wrong with them goes to ``found``."""
    if not given:
        found.append(Mistake("choices", "must list at least one value. Got none."))
    if len(given) > MAX_CHOICES:
        found.append(Mistake("choices", f"must be at most {MAX_CHOICES:,}. Got {len(given):,}."))
        return ()
    if len(given) == 1 and isinstance(given[0], (list, tuple)):
        advice = "must be given one by one, as in Categorical('a', 'b'); one fixed list is a Constant"
        found.append(Mistake("choices", f"{advice}. Got the single choice {shown(given[0])}."))
        return ()
    frozen = tuple(map(_plain, given))
    first: dict[Any, int] = {}
    problems = []
    for i, value in enumerate(frozen):
        problem = json_problem(value)
        if problem:
            problems.append(Mistake(f"choices[{i}]", f"{problem}. Got {shown(given[i])}."))
        elif first.setdefault(value, i) != i:
            twin = given[first[value]]
            equal = f"must differ from choice {first[value]}, {shown(twin)}"
            problems.append(Mistake(f"choices[{i}]", f"{equal}. Got {shown(given[i])}, which compares equal."))
    found += problems[:_MAX_LISTED]
    if len(problems) > _MAX_LISTED:
        found.append(Mistake("choices", f"{len(problems) - _MAX_LISTED} more choices are wrong in such ways."))
    return frozen


@attrs.frozen(init=False, eq=False, repr=False)
class _Choices(_Listed):
    default: Any
    when: Mapping[str, tuple[Any, ...]]
    size: int
    _frozen: tuple[Any, ...]
    _number: Mapping[Any, int]
    _cells: Cells

    def __init__(self, *choices: Any, default: Any = None, when: When = None) -> None:
        found: list[Mistake] = []
        frozen = _check_choices(found, choices)
        broken = bool(found)
        active = MappingProxyType(conditions(found, when))
        if broken:
            raise SpaceError(*found)
        number = {value: i for i, value in enumerate(frozen)}
        self.__attrs_init__(default, active, len(frozen), frozen, number, make_cells(len(frozen)))
        settle(self, found)


class Categorical(_Choices):
    """One of several values without an order.

    Args:
        *choices: Distinct strings, numbers, bools or None, or lists of such.
        default: The value to start from.
        when: ``{parent: value or [values]}``; active only then.

    Raises:
        SpaceError: With every mistake.
    """

    __slots__ = ()
    kind: ClassVar[str] = "categorical"
    ordered: ClassVar[bool] = False

    def middle(self) -> Any:
        """The first choice."""
        return self.value_at(0)


class Ordinal(_Choices):
    """One of several values in ascending order.

    Args:
        *choices: Distinct strings, numbers, bools or None, or lists of such.
        default: The value to start from.
        when: ``{parent: value or [values]}``; active only then.

    Raises:
        SpaceError: With every mistake.
    """

    __slots__ = ()
    kind: ClassVar[str] = "ordinal"
    ordered: ClassVar[bool] = True


@attrs.frozen(init=False, eq=False, repr=False)
class Constant(_Listed):
    """A value that does not vary.

    Args:
        value: A string, number, bool or None, or a list of such.
        when: ``{parent: value or [values]}``; present only then.

    Raises:
        SpaceError: With every mistake.
    """

    kind: ClassVar[str] = "constant"
    ordered: ClassVar[bool] = False
    default: None
    when: Mapping[str, tuple[Any, ...]]
    size: int
    _frozen: tuple[Any, ...]
    _number: Mapping[Any, int]
    _cells: Cells

    def __init__(self, value: Any, *, when: When = None) -> None:
        found: list[Mistake] = []
        frozen = _plain(value)
        problem = json_problem(frozen)
        if problem:
            found.append(Mistake("value", f"{problem}. Got {shown(value)}."))
        active = MappingProxyType(conditions(found, when))
        if found:
            raise SpaceError(*found)
        self.__attrs_init__(None, active, 1, (frozen,), {frozen: 0}, make_cells(1))

    @property
    def value(self) -> Any:
        """The one value."""
        return self.value_at(0)

    def to_json(self) -> dict[str, Any]:
        """See `Parameter.to_json`."""
        return {"type": self.kind, "value": self.value} | self._tail()
