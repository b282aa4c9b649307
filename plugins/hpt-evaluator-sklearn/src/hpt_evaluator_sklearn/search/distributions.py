"""Distributions of `scipy.stats` as parameters of a space."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpt_core import Float, Int, Mistake, UsageError

__all__ = ["is_distribution", "parameter_of"]

_LARGEST = np.finfo(np.float64).max / 4
_LARGEST_INT = 2**52 - 1
_SLACK = 1e-9
_TAIL = 0.005
_LOG_SCALED = ("loguniform", "reciprocal")


def is_distribution(value: Any) -> bool:
    """Whether scikit-learn would draw from a value instead of choosing among its items."""
    return hasattr(value, "rvs")


def parameter_of(distribution: Any, path: str, *, everything: bool, when: Any = None) -> Float | Int:
    """The parameter whose range a distribution has.

    Args:
        distribution: A frozen distribution; any other object with ``rvs`` that gives numbers where ``everything``
            is asked for.
        path: Key path, for messages.
        everything: Whether each value that could ever be drawn must lie in the range, because values are drawn from
            the distribution itself. Else infinite ends are cut off beyond the outermost half per cent, because a
            sampler is to search the range.
        when: When the parameter is active.

    Raises:
        UsageError: If the distribution says nothing of its range, or has none.
    """
    if not (hasattr(distribution, "support") and hasattr(distribution, "ppf")):
        return _unbounded(distribution, path, everything=everything, when=when)
    low, high = (float(end) for end in distribution.support())
    if math.isnan(low) or math.isnan(high):
        raise UsageError(
            Mistake(path, f"The distribution has no support with these arguments: {_shown(distribution)}.")
        )
    if not everything:
        low = low if math.isfinite(low) else float(distribution.ppf(_TAIL))
        high = high if math.isfinite(high) else float(distribution.ppf(1 - _TAIL))
    if _is_discrete(distribution):
        return Int(int(max(low, -_LARGEST_INT)), int(min(high, _LARGEST_INT)), when=when)
    log = low > 0 and getattr(getattr(distribution, "dist", None), "name", "") in _LOG_SCALED
    if everything:  # draws may exceed the ends by a rounding error
        low, high = low - _SLACK * abs(low), high + _SLACK * abs(high)
    return Float(max(low, -_LARGEST), min(high, _LARGEST), log=log, when=when)


def _is_discrete(distribution: Any) -> bool:
    return hasattr(distribution, "pmf") or hasattr(getattr(distribution, "dist", None), "pmf")


def _unbounded(distribution: Any, path: str, *, everything: bool, when: Any) -> Float | Int:
    """For an object that can only be drawn from: all numbers of the kind that it draws."""
    kind = np.asarray(distribution.rvs(random_state=0)).dtype.kind if everything else ""
    if kind in ("i", "u"):
        return Int(-_LARGEST_INT, _LARGEST_INT, when=when)
    if kind == "f":
        return Float(-_LARGEST, _LARGEST, when=when)
    msg = "Must be a list, or a distribution with `support` and `ppf` as those of scipy.stats."
    raise UsageError(Mistake(path, f"{msg} Got {_shown(distribution)}."))


def _shown(distribution: Any) -> str:
    return f"{distribution!r:.80}"
