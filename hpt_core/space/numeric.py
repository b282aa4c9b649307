"""The kinds of parameter that are numbers: `Float` and `Int`."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from hpt_core.errors import SpaceError
from hpt_core.mistakes import Mistakes
from hpt_core.space.decimals import DecimalSteps
from hpt_core.space.parameters import Parameter, When, check_default, parse_requires, parse_when
from hpt_core.space.scales import Cells, LinearScale, LogScale, Scale, make_cells
from hpt_core.values import native, shown

__all__ = ["Float", "Int"]

_LOG = logging.getLogger("hpt")

_MAX_INT = 2**53  # integers up to here are exact in a double, so in every store and spreadsheet
_LEAST_STEP = 16  # in units of the spacing of doubles: leaves at most 2**50 values, each of which maps back exactly
_SLACK = 1e-9  # of a step: more than the rounding error of k * step, less than any mistake
_CONTINUOUS = "A continuous Float has no numbered values."


def _real(found: Mistakes, field: str, value: Any) -> float | None:
    """A finite number as float; None, with a mistake added to ``found``, if it is not one."""
    value = native(value)
    if type(value) not in (int, float):
        found.add(field, f"must be a number. Got {shown(value)}.")
        return None
    try:
        number = float(value) + 0.0  # -0.0 becomes 0.0
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        found.add(field, f"must be a finite number. Got {shown(value)}.")
        return None
    return number


def _integer(found: Mistakes, field: str, value: Any) -> int | None:
    """An int within +-2**53; None, with a mistake added to ``found``, if it is not one."""
    value = native(value)
    if type(value) is not int:
        hint = ' A range of floats is a Float (type = "float").' if type(value) is float else ""
        found.add(field, f"must be an int. Got {shown(value)}.{hint}")
        return None
    if abs(value) > _MAX_INT:
        found.add(field, f"must be an int within +-2**53. Got {shown(value)}.")
        return None
    return value


def _flag(found: Mistakes, field: str, value: Any) -> bool:
    """A bool; False, with a mistake added to ``found``, if it is not one."""
    value = native(value)
    if type(value) is not bool:
        found.add(field, f"must be true or false. Got {shown(value)}.")
        return False
    return value


def _check_range(found: Mistakes, low: float, high: float, *, log: bool, floor: float) -> None:
    if low > high:
        found.add("low", f"must be <= high ({high!r}). Got {low!r}.")
    elif not math.isfinite(float(high) - float(low)):
        found.add("high", f"must be so close to low ({low!r}) that high - low is finite. Got {high!r}.")
    if log and low < floor:
        bound = "> 0" if low <= 0 and floor != 1 else f">= {floor!r}"
        found.add("low", f"must be {bound} on a log scale. Got {low!r}.")


def _tell_if_constant(kind: str, low: float, high: float, step: float, size: int) -> None:
    """Warn of a range that its step leaves with one value. It is allowed, as a program may compute its ranges."""
    if size == 1 and low < high:
        text = "%s(%r, %r, step=%r) is always %r: its step is larger than high - low."
        _LOG.warning(text, kind, low, high, step, low)


@attrs.frozen(init=False, eq=False, repr=False)
class Float(Parameter):
    """A real number.

    Args:
        low: Smallest value.
        high: Largest value; with a step, lowered to the last value that the steps reach.
        log: Whether the scale is logarithmic; requires ``low > 0``.
        step: Distance between neighbouring values: low, low + step, ... in decimal arithmetic, so that three steps
            of 0.1 from 0 give 0.3. None: continuous.
        default: The value to start from.
        when: ``{parent: value or [values]}``: active only if each parent has (one of) the values.
        requires: An expression that configurations must satisfy, such as ``"leaf <= split / 2"``; see
            `Space`.

    Raises:
        SpaceError: With every mistake found.
    """

    kind: ClassVar[str] = "float"
    ordered: ClassVar[bool] = True
    low: float
    high: float
    log: bool
    step: float | None
    default: float | None
    when: Mapping[str, tuple[Any, ...]]
    requires: str
    size: int | None
    _scale: Scale | None
    _cells: Cells
    _steps: DecimalSteps | None

    def __init__(
        self,
        low: float,
        high: float,
        *,
        log: bool = False,
        step: float | None = None,
        default: float | None = None,
        when: When = None,
        requires: str | None = None,
    ) -> None:
        found = Mistakes(SpaceError)
        first, last = _real(found, "low", low), _real(found, "high", high)
        log = _flag(found, "log", log)
        if first is not None and last is not None:
            _check_range(found, first, last, log=log, floor=sys.float_info.min)
        stride = None if step is None else _check_step(found, first, last, step)
        broken = bool(found)
        active = parse_when(found, when)
        requirement = parse_requires(found, requires)
        if broken or first is None or last is None:
            raise SpaceError(*found)
        steps = None
        size: int | None = 1 if first == last else None
        if stride is not None:
            steps = DecimalSteps.of(first, stride)
            size = steps.count(last)
            _tell_if_constant("Float", first, last, stride, size)
            last = steps.value(size - 1)
        scale: Scale | None = None
        if size is None:
            scale = LogScale(first, last) if log else LinearScale(first, last)
        cells = make_cells(size or 1, first, stride or 1.0, log=log)
        self.__attrs_init__(first, last, log, stride, default, active, requirement, size, scale, cells, steps)
        check_default(self, found)

    def to_unit(self, value: float) -> float:
        """See `Parameter.to_unit`."""
        return self._scale.to_unit(value) if self._scale else self._cells.unit(self.index_of(value))

    def from_unit(self, u: float) -> float:
        """See `Parameter.from_unit`."""
        return self._scale.from_unit(u) if self._scale else self.value_at(self._cells.index(u))

    def contains(self, value: Any) -> bool:
        """See `Parameter.contains`."""
        if type(value) is not float or not self.low <= value <= self.high:
            return False
        return self._steps is None or self.value_at(self.index_of(value)) == value

    def value_at(self, i: int) -> float:
        """See `Parameter.value_at`."""
        if self._steps is not None:
            return self._steps.value(i)
        if self.size is None:
            raise TypeError(_CONTINUOUS)
        return self.low

    def index_of(self, value: float) -> int:
        """See `Parameter.index_of`."""
        if self.size is None:
            raise TypeError(_CONTINUOUS)
        return round((value - self.low) / self.step) if self.step and self.size > 1 else 0

    def accept(self, value: Any) -> tuple[float | None, str]:
        """See `Parameter.accept`; a value that misses a step only by rounding (1e-9 of the step) is moved onto it."""
        plain = native(value)
        slack = _SLACK * self.step if self.step else 0.0
        if type(plain) not in (int, float) or not self.low - slack <= plain <= self.high + slack:
            return None, f"must be {self.describe()}. Got {shown(plain)}."
        number = float(plain)
        if self._steps is None or self.size is None:
            return number, ""
        nearest = self.value_at(min(max(self.index_of(number), 0), self.size - 1))
        if abs(nearest - number) > slack:
            return None, f"must be {self.describe()}. Got {shown(plain)}; the nearest is {nearest!r}."
        return nearest, ""

    def describe(self) -> str:
        """See `Parameter.describe`."""
        steps = "" if self.step is None else f" in steps of {self.step!r}"
        return f"a number in [{self.low!r}, {self.high!r}]{steps}"

    def to_json(self) -> dict[str, Any]:
        """See `Parameter.to_json`."""
        table: dict[str, Any] = {"type": self.kind, "low": self.low, "high": self.high}
        if self.log:
            table["log"] = True
        if self.step is not None:
            table["step"] = self.step
        return table | self._tail()


def _check_step(found: Mistakes, low: float | None, high: float | None, given: Any) -> float | None:
    step = _real(found, "step", given)
    if step is None:
        return None
    if step <= 0:
        found.add("step", f"must be > 0. Got {step!r}.")
    elif low is not None and high is not None and low < high:
        least = _LEAST_STEP * math.ulp(max(abs(low), abs(high)))
        if step <= high - low and step < least:
            found.add("step", f"must be >= {least!r}, the least that floats here resolve. Got {step!r}.")
    return step


@attrs.frozen(init=False, eq=False, repr=False)
class Int(Parameter):
    """An integer.

    Args:
        low: Smallest value, within +-2**53.
        high: Largest value; lowered to the last value that the steps reach.
        log: Whether the scale is logarithmic; requires ``low >= 1``.
        step: Distance between neighbouring values, >= 1.
        default: The value to start from.
        when: ``{parent: value or [values]}``: active only if each parent has (one of) the values.
        requires: An expression that configurations must satisfy, such as ``"leaf <= split / 2"``; see
            `Space`.

    Raises:
        SpaceError: With every mistake found.
    """

    kind: ClassVar[str] = "int"
    ordered: ClassVar[bool] = True
    low: int
    high: int
    log: bool
    step: int
    default: int | None
    when: Mapping[str, tuple[Any, ...]]
    requires: str
    size: int
    _cells: Cells

    def __init__(
        self,
        low: int,
        high: int,
        *,
        log: bool = False,
        step: int = 1,
        default: int | None = None,
        when: When = None,
        requires: str | None = None,
    ) -> None:
        found = Mistakes(SpaceError)
        first, last = _integer(found, "low", low), _integer(found, "high", high)
        log = _flag(found, "log", log)
        stride = _integer(found, "step", step)
        if first is not None and last is not None:
            _check_range(found, first, last, log=log, floor=1)
        if stride is not None and stride < 1:
            found.add("step", f"must be an int >= 1. Got {stride}.")
        elif first is not None and last is not None and (last - first) // (stride or 1) >= _MAX_INT:
            found.add("high", f"must leave at most 2**53 values from low on. Got {last}.")
        broken = bool(found)
        active = parse_when(found, when)
        requirement = parse_requires(found, requires)
        if broken or first is None or last is None or stride is None:
            raise SpaceError(*found)
        size = (last - first) // stride + 1
        _tell_if_constant("Int", first, last, stride, size)
        cells = make_cells(size, first, stride, log=log)
        end = first + (size - 1) * stride
        self.__attrs_init__(first, end, log, stride, default, active, requirement, size, cells)
        check_default(self, found)

    def from_unit(self, u: float) -> int:
        """See `Parameter.from_unit`."""
        return self.low + self._cells.index(u) * self.step

    def contains(self, value: Any) -> bool:
        """See `Parameter.contains`."""
        return type(value) is int and self.low <= value <= self.high and not (value - self.low) % self.step

    def value_at(self, i: int) -> int:
        """See `Parameter.value_at`."""
        return self.low + i * self.step

    def index_of(self, value: int) -> int:
        """See `Parameter.index_of`."""
        return (value - self.low) // self.step

    def accept(self, value: Any) -> tuple[int | None, str]:
        """See `Parameter.accept`."""
        plain = native(value)
        if self.contains(plain):
            return plain, ""
        return None, f"must be {self.describe()}. Got {shown(plain)}."

    def describe(self) -> str:
        """See `Parameter.describe`."""
        steps = "" if self.step == 1 else f" in steps of {self.step}"
        return f"an int in [{self.low}, {self.high}]{steps}"

    def to_json(self) -> dict[str, Any]:
        """See `Parameter.to_json`."""
        table: dict[str, Any] = {"type": self.kind, "low": self.low, "high": self.high}
        if self.log:
            table["log"] = True
        if self.step != 1:
            table["step"] = self.step
        return table | self._tail()
