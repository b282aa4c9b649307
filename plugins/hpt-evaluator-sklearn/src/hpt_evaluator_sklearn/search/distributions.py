"""Convert distributions of `scipy.stats` to parameters of a space."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpt_core import Float, Int, Mistake, UsageError

__all__ = ["is_distribution", "parameter_of"]

_LARGEST = np.finfo(np.float64).max / 4
_LARGEST_INT = 2**52 - 1
_SLACK = 1e-9
"""Relative widening of a support, because draws may exceed it by a rounding error."""
_TAIL = 0.005
"""Probability of each tail that is cut off at an infinite end."""
_LOG_SCALED = ("loguniform", "reciprocal")


def is_distribution(value: Any) -> bool:
    """Whether scikit-learn would draw from an object instead of choosing among its items."""
    return hasattr(value, "rvs")


def parameter_of(distribution: Any, path: str, *, whole_support: bool, when: Any = None) -> Float | Int:
    """The parameter with the range of a distribution.

    Args:
        distribution: A frozen distribution. With ``whole_support``, also any other object whose ``rvs`` returns
            numbers.
        path: Key path, for messages.
        whole_support: Whether the range must include every value that can be drawn, because values are drawn from the
            distribution itself. If not, a sampler searches the range, and infinite ends are cut at the outermost half
            per cent.
        when: The condition under which the parameter is active.

    Raises:
        UsageError: If the distribution has no range, does not reveal it, or lacks arguments.
    """
    if not (hasattr(distribution, "support") and hasattr(distribution, "ppf")):
        return _unbounded(distribution, path, whole_support=whole_support, when=when)
    try:
        low, high = (float(end) for end in distribution.support())
    except TypeError as err:
        raise UsageError(Mistake(path, f"The distribution needs arguments: {err}.")) from err
    if math.isnan(low) or math.isnan(high):
        raise UsageError(
            Mistake(path, f"The distribution has no support with these arguments: {_shown(distribution)}.")
        )
    if not whole_support:
        low = low if math.isfinite(low) else float(distribution.ppf(_TAIL))
        high = high if math.isfinite(high) else float(distribution.ppf(1 - _TAIL))
    if _is_discrete(distribution):
        return Int(int(max(low, -_LARGEST_INT)), int(min(high, _LARGEST_INT)), when=when)
    log = low > 0 and getattr(getattr(distribution, "dist", None), "name", "") in _LOG_SCALED
    if whole_support:
        low, high = low - _SLACK * abs(low), high + _SLACK * abs(high)
    return Float(max(low, -_LARGEST), min(high, _LARGEST), log=log, when=when)


def _is_discrete(distribution: Any) -> bool:
    return hasattr(distribution, "pmf") or hasattr(getattr(distribution, "dist", None), "pmf")


def _unbounded(distribution: Any, path: str, *, whole_support: bool, when: Any) -> Float | Int:
    """The parameter of an object that has only ``rvs``: all numbers of the kind that it draws."""
    kind = np.asarray(distribution.rvs(random_state=0)).dtype.kind if whole_support else ""
    if kind in ("i", "u"):
        return Int(-_LARGEST_INT, _LARGEST_INT, when=when)
    if kind == "f":
        return Float(-_LARGEST, _LARGEST, when=when)
    msg = "Must be a list, or a distribution with `support` and `ppf` like those of scipy.stats."
    raise UsageError(Mistake(path, f"{msg} Got {_shown(distribution)}."))


def _shown(distribution: Any) -> str:
    return f"{distribution!r:.80}"
