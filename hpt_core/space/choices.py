"""The parameter kinds with listed values: `Categorical`, `Ordinal` and `Constant`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from hpt_core.errors import Mistake, SpaceError
from hpt_core.mistakes import Mistakes
from hpt_core.space.parameters import Parameter, When, check_default, parse_requires, parse_when
from hpt_core.space.scales import Cells, make_cells
from hpt_core.values import freeze, json_problem, native, same, shown, thaw

__all__ = ["MAX_CHOICES", "Categorical", "Constant", "Ordinal"]

MAX_CHOICES = 10_000
"""The most choices that a parameter may have."""

_MAX_LISTED = 10


def _plain(value: Any) -> Any:
    """The native form of a choice, with lists as tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(map(native, value))
    return native(value)


@attrs.frozen(init=False, eq=False, repr=False)
class _Listed(Parameter):
    """A parameter with listed values: ``_frozen`` holds them (lists as tuples), ``_number`` the index of each."""

    default: Any
    when: Mapping[str, tuple[Any, ...]]
    requires: str
    size: int
    _frozen: tuple[Any, ...]
    _number: Mapping[Any, int]
    _cells: Cells

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
        """See `Parameter.value_at`; a list is a new object each time."""
        return thaw(self._frozen[i])

    def index_of(self, value: Any) -> int:
        """See `Parameter.index_of`."""
        return self._number[freeze(value)]

    def accept(self, value: Any) -> tuple[Any, str]:
        """See `Parameter.accept`; an int is accepted for an equal float."""
        plain = _plain(value)
        try:
            i = self._number.get(plain)
        except TypeError:
            i = None
        if i is not None and _stands_for(plain, self._frozen[i]):
            return self.value_at(i), ""
        return None, f"must be {self.describe()}. Got {shown(value)}."

    def describe(self) -> str:
        """See `Parameter.describe`."""
        listed = [repr(thaw(value)) for value in self._frozen[:_MAX_LISTED]]
        if self.size == 1:
            return listed[0]
        more = f", ... ({self.size} in total)" if len(self._frozen) > _MAX_LISTED else ""
        return f"one of {', '.join(listed)}{more}"

    def to_json(self) -> dict[str, Any]:
        """See `Parameter.to_json`."""
        return {"type": self.kind, "choices": list(self.choices)} | self._tail()


def _stands_for(given: Any, choice: Any) -> bool:
    """Whether a given value that equals a choice may be taken for it: 1 for 1.0, but not True for 1."""
    if type(choice) is tuple and type(given) is tuple:
        return len(given) == len(choice) and all(map(_stands_for, given, choice))
    return same(given, choice) or (type(given) is int and type(choice) is float)


def _check_choices(found: Mistakes, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The choices with lists as tuples; mistakes are added to ``found``."""
    if not given:
        found.add("choices", "must list at least one value. Got none.")
    if len(given) > MAX_CHOICES:
        found.add("choices", f"must be at most {MAX_CHOICES:,}. Got {len(given):,}.")
        return ()
    if len(given) == 1 and isinstance(given[0], (list, tuple)):
        advice = "write Categorical('a', 'b'), or ['a', 'b'] in a file; a single fixed list is a Constant"
        found.add("choices", f"must not be one list: {advice}. Got the single choice {shown(given[0])}.")
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
    found.extend(problems[:_MAX_LISTED])
    if len(problems) > _MAX_LISTED:
        found.add("choices", f"{len(problems) - _MAX_LISTED} more choices have problems like these.")
    return frozen


class _Choices(_Listed):
    __slots__ = ()

    def __init__(self, *choices: Any, default: Any = None, when: When = None, requires: str | None = None) -> None:
        found = Mistakes(SpaceError)
        frozen = _check_choices(found, choices)
        broken = bool(found)
        active = parse_when(found, when)
        requirement = parse_requires(found, requires)
        if broken:
            found.raise_all()
        number = {value: i for i, value in enumerate(frozen)}
        self.__attrs_init__(default, active, requirement, len(frozen), frozen, number, make_cells(len(frozen)))
        check_default(self, found)


class Categorical(_Choices):
    """One of several values that have no order.

    Args:
        *choices: Distinct strings, numbers, bools or None, or lists of these.
        default: The value to start from.
        when: ``{parent: value or [values]}``: active only if each parent has (one of) the values.
        requires: An expression that configurations must satisfy, such as ``"leaf <= split / 2"``; see
            `Space`.

    Raises:
        SpaceError: With every mistake found.
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
        *choices: Distinct strings, numbers, bools or None, or lists of these.
        default: The value to start from.
        when: ``{parent: value or [values]}``: active only if each parent has (one of) the values.
        requires: An expression that configurations must satisfy, such as ``"leaf <= split / 2"``; see
            `Space`.

    Raises:
        SpaceError: With every mistake found.
    """

    __slots__ = ()
    kind: ClassVar[str] = "ordinal"
    ordered: ClassVar[bool] = True


class Constant(_Listed):
    """A value that does not vary.

    Args:
        value: A string, number, bool or None, or a list of these.
        when: ``{parent: value or [values]}``: present only if each parent has (one of) the values.
        requires: An expression that configurations must satisfy, such as ``"leaf <= split / 2"``; see
            `Space`.

    Raises:
        SpaceError: With every mistake found.
    """

    __slots__ = ()
    kind: ClassVar[str] = "constant"
    ordered: ClassVar[bool] = False

    def __init__(self, value: Any, *, when: When = None, requires: str | None = None) -> None:
        found = Mistakes(SpaceError)
        frozen = _plain(value)
        problem = json_problem(frozen)
        if problem:
            found.add("value", f"{problem}. Got {shown(value)}.")
        active = parse_when(found, when)
        requirement = parse_requires(found, requires)
        found.raise_all()
        self.__attrs_init__(None, active, requirement, 1, (frozen,), {frozen: 0}, make_cells(1))

    @property
    def value(self) -> Any:
        """The one value."""
        return self.value_at(0)

    def to_json(self) -> dict[str, Any]:
        """See `Parameter.to_json`."""
        return {"type": self.kind, "value": self.value} | self._tail()
