"""The numerics of the unit interval: how the values of a parameter and numbers in [0, 1] map to each other.

Notation:
    u   unit coordinate, in [0, 1]; a coordinate outside is clipped to the nearer end
    t   u rounded to the lattice
    i   index of one of n values, 0 <= i < n

Continuous scales first round ``u`` to a lattice, so that each value maps back to exactly the lattice point that it came
from: ``from_unit(to_unit(from_unit(u))) == from_unit(u)`` bit for bit. Adding and subtracting a number whose ulp is one
lattice cell (4096 = 2**12 has an ulp of 2**-40) rounds half to even in two additions, with the same result in Python
and numpy. If a range holds too few doubles for that lattice (fewer than 8 per cell), the doubles themselves are the
lattice; the error of the round trip is then below half an ulp.
"""

from __future__ import annotations

import math
import sys
from typing import Protocol, TypeVar

import attrs

__all__ = [
    "CELLS",
    "Cells",
    "LinearCells",
    "LinearScale",
    "LogCells",
    "LogScale",
    "Scale",
    "WideCells",
    "make_cells",
]

CELLS = 2.0**40
"""Number of lattice cells of the unit interval for a continuous parameter."""

_COARSE = 4096.0  # its ulp is 1 / CELLS
_FINE = 1.0  # its ulp is 2**-52, as fine as doubles near 1 get
_MAX_FLOAT_CELLS = 2**50  # up to here (i + .5) / n maps back to i in floating point
_MAX_LOG_CELLS = 2**32  # up to here the narrowest log cell is far wider than the error of exp and log
_MAX_EXP_ARGUMENT = 700.0  # above it exp may overflow
_MAX_LOG = math.log(sys.float_info.max)


_T = TypeVar("_T", float, int)


class Scale(Protocol):
    """The map between the values of a continuous parameter and the unit interval."""

    def from_unit(self, u: float) -> float:
        """The value at ``u``."""
        ...

    def to_unit(self, value: float) -> float:
        """The lattice point nearest to ``value``, which must lie in the range."""
        ...


class Cells(Protocol):
    """The map of a finite parameter: the unit interval is cut into one cell per value."""

    def index(self, u: float) -> int:
        """The index of the cell that contains ``u``."""
        ...

    def unit(self, i: int) -> float:
        """The centre of cell ``i``."""
        ...


def _end(u: float, low: _T, high: _T) -> _T:
    """The end of the range for a ``u`` at or beyond an end of the unit interval.

    Raises:
        ValueError: If ``u`` is NaN.
    """
    if u >= 1.0:
        return high
    if u <= 0.0:
        return low
    msg = "A unit coordinate must be a number in [0, 1]. Got nan."
    raise ValueError(msg)


def _rounded(u: float, grain: float) -> float:
    """``u`` on the lattice whose cell is the ulp of ``grain``, clipped to [0, 1]."""
    t = u + grain - grain
    return 0.0 if t < 0.0 else min(t, 1.0)


@attrs.frozen(init=False, eq=False)
class LinearScale:
    """Value = low + span * t.

    Args:
        low: Lower end, finite.
        high: Upper end, above ``low``; their difference is finite.
    """

    low: float
    high: float
    span: float
    grain: float

    def __init__(self, low: float, high: float) -> None:
        span = high - low
        spacing = math.ulp(max(abs(low), abs(high)))
        grain = _COARSE if span / CELLS >= 8.0 * spacing else _FINE
        self.__attrs_init__(low, high, span, grain)

    def from_unit(self, u: float) -> float:
        """See `Scale.from_unit`."""
        t = u + self.grain - self.grain
        if 0.0 < t < 1.0:
            value = self.low + self.span * t
            return value if value < self.high else self.high  # noqa: FURB136 - a call costs as much again
        return _end(t, self.low, self.high)

    def to_unit(self, value: float) -> float:
        """See `Scale.to_unit`."""
        return _rounded((value - self.low) / self.span, self.grain)


@attrs.frozen(init=False, eq=False)
class LogScale:
    """Log10(value) = log10(low) + span * t: base 10, so that the middle of [1e-3, 1e3] is exactly 1.0.

    If ``high / low`` is below e, the value is computed as ``low + low * expm1(span * t)``, with a natural-log span,
    because the rounding error of log10(low) would be coarser than the lattice.

    Args:
        low: Lower end, a positive normal float.
        high: Upper end, above ``low``.
    """

    low: float
    high: float
    span: float
    start: float
    near: bool
    grain: float

    def __init__(self, low: float, high: float) -> None:
        start = math.log10(low)
        near = math.log(high) - math.log(low) < 1.0
        span = math.log1p((high - low) / low) if near else math.log10(high) - start
        grain = _COARSE if span >= 2.0**-6 else _FINE
        self.__attrs_init__(low, high, span, start, near, grain)

    def from_unit(self, u: float) -> float:
        """See `Scale.from_unit`."""
        t = u + self.grain - self.grain
        if 0.0 < t < 1.0:
            if self.near:
                value = self.low + self.low * math.expm1(self.span * t)
            else:
                value = 10.0 ** (self.start + self.span * t)
            if value > self.high:
                return self.high
            return max(value, self.low)
        return _end(t, self.low, self.high)

    def to_unit(self, value: float) -> float:
        """See `Scale.to_unit`."""
        if self.near:
            u = math.log1p((value - self.low) / self.low) / self.span
        else:
            u = (math.log10(value) - self.start) / self.span
        return _rounded(u, self.grain)


@attrs.frozen(eq=False)
class LinearCells:
    """Up to 2**50 cells of equal width."""

    n: int

    def index(self, u: float) -> int:
        """See `Cells.index`."""
        return int(u * self.n) if 0.0 < u < 1.0 else _end(u, 0, self.n - 1)

    def unit(self, i: int) -> float:
        """See `Cells.unit`."""
        return (i + 0.5) / self.n


@attrs.frozen(eq=False)
class WideCells:
    """Up to 2**53 cells of equal width, in exact integer arithmetic.

    Each cell is at least 2**-53 wide, so it holds a multiple of 2**-53, which is a double.
    """

    n: int

    def index(self, u: float) -> int:
        """See `Cells.index`."""
        if not 0.0 < u < 1.0:
            return _end(u, 0, self.n - 1)
        numerator, denominator = u.as_integer_ratio()
        return numerator * self.n // denominator

    def unit(self, i: int) -> float:
        """See `Cells.unit`; the multiple of 2**-53 at or below the centre, else the first one in the cell."""
        first = -(-(i << 53) // self.n)
        return max(((2 * i + 1) << 52) // self.n, first) / 2**53


@attrs.frozen(init=False, eq=False)
class LogCells:
    """Cells of the values low + i * step on a log scale.

    The cell of a value extends half a step down and up; the first one extends down to low / 2 at most (for
    ``low == step`` both are the same).

    Above 2**32 cells the narrowest cells are finer than doubles resolve, so ``u`` is first rounded to the lattice. Then
    some values cannot be reached from any ``u``, but each value that can be reached maps back to itself.

    Args:
        low: The first value, positive.
        step: Distance between neighbouring values.
        n: Number of values, at least 2.
    """

    n: int
    step: float
    pad: float
    edge: float
    span: float
    wide: bool

    def __init__(self, low: float, step: float, n: int) -> None:
        pad = min(step, low) / 2
        edge = low - pad
        top = min(pad + (n - 0.5) * step, sys.float_info.max)
        wide = n > _MAX_LOG_CELLS
        self.__attrs_init__(n, step, pad, edge, self._log(top, edge), wide)

    @staticmethod
    def _log(distance: float, edge: float) -> float:
        """Log((edge + distance) / edge), without overflow."""
        ratio = distance / edge
        return math.log1p(ratio) if ratio < math.inf else math.log(distance) - math.log(edge)

    def _distance(self, u: float) -> float:
        x = self.span * u
        if x < _MAX_EXP_ARGUMENT:
            return self.edge * math.expm1(x)
        return math.exp(min(math.log(self.edge) + x, _MAX_LOG))

    def index(self, u: float) -> int:
        """See `Cells.index`."""
        t = _rounded(u, _COARSE) if self.wide else u
        if not 0.0 < t < 1.0:
            return _end(t, 0, self.n - 1)
        i = math.floor((self._distance(t) - self.pad) / self.step + 0.5)
        return min(max(i, 0), self.n - 1)

    def unit(self, i: int) -> float:
        """See `Cells.unit`."""
        below = self._log((i - 0.5) * self.step + self.pad, self.edge) if i else 0.0
        above = self._log((i + 0.5) * self.step + self.pad, self.edge)
        centre = min((below + above) / 2 / self.span, 1.0)
        return self._reachable(centre, i) if self.wide else centre

    def _reachable(self, centre: float, i: int) -> float:
        t = _rounded(centre, _COARSE)
        for candidate in (t, t - 1 / CELLS, t + 1 / CELLS):
            if 0.0 <= candidate <= 1.0 and self.index(candidate) == i:
                return candidate
        return centre


def make_cells(n: int, low: float = 1.0, step: float = 1.0, *, log: bool = False) -> Cells:
    """Choose the cells for ``n`` values.

    Args:
        n: Number of values, 1 <= n <= 2**53.
        low: The first value; used by a log scale only.
        step: Distance between neighbouring values; used by a log scale only.
        log: Whether the values lie on a log scale.
    """
    if log and n > 1:
        return LogCells(low, step, n)
    return LinearCells(n) if n <= _MAX_FLOAT_CELLS else WideCells(n)
