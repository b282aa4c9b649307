"""The values of a Float with a step, in exact decimal arithmetic: three steps of 0.1 from 0 give 0.3."""

from __future__ import annotations

import attrs

__all__ = ["DecimalSteps"]


@attrs.frozen
class DecimalSteps:
    """The values (first + i * stride) / unit in integers, so that each one is the float nearest to its decimal."""

    first: int
    stride: int
    unit: int

    @classmethod
    def of(cls, low: float, step: float) -> DecimalSteps:
        """The values low, low + step, ..., with both numbers read as the decimals that Python prints for them."""
        (a, p), (b, q) = _decimal(low), _decimal(step)
        places = max(0, -p, -q)
        return cls(a * 10 ** (p + places), b * 10 ** (q + places), 10**places)

    def value(self, i: int) -> float:
        """Value number ``i``."""
        return (self.first + i * self.stride) / self.unit

    def count(self, high: float) -> int:
        """The number of values up to ``high``."""
        digits, power = _decimal(high)
        scale: int = 10 ** abs(power)
        last = digits * self.unit * scale if power >= 0 else digits * self.unit // scale
        return (last - self.first) // self.stride + 1


def _decimal(x: float) -> tuple[int, int]:
    """Digits and power of ten of the shortest decimal that reads back as ``x``."""
    mantissa, _, power = repr(x).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    return int(whole + fraction), int(power or 0) - len(fraction)
