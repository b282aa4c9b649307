"""Distributions other than uniform: their plain-data form, and their quantile functions."""

from __future__ import annotations

import difflib
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, TypeVar

from hpt_core import Float, Int, Mistake, Space, UsageError, import_object

__all__ = ["Quantile", "describe", "quantiles"]

_T = TypeVar("_T")

Quantile = Callable[[float], Any]
"""Maps a uniform coordinate to a value of one parameter: the inverse of the distribution function."""

_TOLERANCE = 1e-9  # relative to the bounds, as distributions compute their support in floating point


# --- plain-data form --------------------------------------------------------------------------------


def describe(given: Any) -> dict[str, Any]:
    """Convert the option ``distributions`` to plain data.

    Args:
        given: Parameter name -> a frozen distribution of `scipy.stats`, its table ``{name, args, keyword: number}``, a
            table ``{weights}``, or an import path ``"module:name"`` of an object with ``ppf`` and ``support``.

    Raises:
        UsageError: If a distribution has any other form; one that is not part of `scipy.stats` needs an import path.
    """
    if not isinstance(given, Mapping):
        raise _mistake("", f"Must be a table of distributions by parameter. Got {given!r:.80}.")
    return _of_each({str(name): item for name, item in given.items()}, _describe)


def _describe(name: str, item: Any) -> str | dict[str, Any]:
    if isinstance(item, str):
        return item
    if hasattr(item, "dist") and hasattr(item, "ppf"):
        _scipy_distribution(name, item.dist.name, like=item.dist)
        arguments = [_native(name, value) for value in item.args]
        keywords = {key: _native(name, value) for key, value in item.kwds.items()}
        return {"name": item.dist.name, "args": arguments, **keywords}
    if isinstance(item, Mapping) and set(item) == {"weights"}:
        return {"weights": _check_weights(name, item["weights"])}
    if isinstance(item, Mapping) and isinstance(item.get("name"), str):
        arguments = item.get("args", [])
        if not isinstance(arguments, (list, tuple)):
            raise _mistake(name, f"`args` must be a list of numbers. Got {arguments!r:.80}.")
        keywords = {str(key): _native(name, value) for key, value in item.items() if key not in ("name", "args")}
        return {"name": item["name"], "args": [_native(name, value) for value in arguments], **keywords}
    message = (
        'Must be a frozen distribution of scipy.stats, {name = "loguniform", args = [1e-3, 1]}, {weights = [3, 1]} or '
        f"an import path 'module:name'. Got {item!r:.80}."
    )
    raise _mistake(name, message)


def _native(name: str, value: Any) -> float:
    plain = value.item() if hasattr(value, "item") and not getattr(value, "ndim", 0) else value
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise _mistake(name, f"The arguments of a distribution must be numbers. Got {value!r:.80}.")
    return plain


def _check_weights(name: str, weights: Any) -> list[float]:
    if isinstance(weights, (list, tuple)) and weights:
        plain = [_native(name, weight) for weight in weights]
        if all(math.isfinite(weight) and weight >= 0 for weight in plain) and 0 < sum(plain) < math.inf:
            return plain
    raise _mistake(name, f"`weights` must be numbers >= 0 that are not all 0. Got {weights!r:.80}.")


def _of_each(given: Mapping[str, Any], function: Callable[[str, Any], _T]) -> dict[str, _T]:
    """Apply a function to the name and the item of each parameter; the error has the mistakes of all."""
    found: dict[str, _T] = {}
    mistakes: list[Mistake] = []
    for name, item in given.items():
        try:
            found[name] = function(name, item)
        except UsageError as err:
            mistakes += err.mistakes
    if mistakes:
        raise UsageError(*mistakes)
    return found


def _mistake(name: str, message: str) -> UsageError:
    return UsageError(Mistake(f"distributions.{name}" if name else "distributions", message))


# --- quantile functions -----------------------------------------------------------------------------


def quantiles(described: Mapping[str, Any], space: Space) -> dict[str, Quantile]:
    """The quantile function of each parameter that has a distribution and more than one value.

    Args:
        described: The distributions, as returned by `describe`.
        space: The space.

    Raises:
        UsageError: If a name is not a parameter, a distribution does not exist or does not accept its arguments, the
            number of weights differs from the number of values, or the support exceeds the parameter's bounds.
    """

    def make(name: str, item: Any) -> Quantile | None:
        if name not in space:
            close = difflib.get_close_matches(name, space.names, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise _mistake(name, f"The space has no parameter {name!r}.{hint}")
        if name not in space.columns:  # it has a single value
            return None
        weighted = isinstance(item, Mapping) and "weights" in item
        return (_weighted if weighted else _continuous_or_rounded)(name, item, space[name])

    made = _of_each(described, make)
    return {name: quantile for name, quantile in made.items() if quantile is not None}


def _weighted(name: str, item: Mapping[str, Any], parameter: Any) -> Quantile:
    weights = item["weights"]
    if parameter.size != len(weights):
        count = "infinitely many" if parameter.size is None else parameter.size
        raise _mistake(name, f"There are {len(weights)} weights, but {name!r} has {count} values.")
    last = max(i for i, weight in enumerate(weights) if weight)
    bounds = list(accumulate(weights))[:last]
    total = sum(weights)

    def quantile(u: float) -> Any:
        return parameter.value_at(bisect_right(bounds, u * total))

    return quantile


def _continuous_or_rounded(name: str, item: Any, parameter: Any) -> Quantile:
    if not isinstance(parameter, (Float, Int)):
        message = f"{name!r} is not a number: give it {{weights = [...]}}, one weight per value."
        raise _mistake(name, message)
    distribution = _resolve(name, item)
    _check_support(name, distribution, parameter)
    low, high, step = parameter.low, parameter.high, parameter.step

    def quantile(u: float) -> Any:
        value = min(max(float(distribution.ppf(u)), low), high)
        if parameter.size is not None and step is not None:
            return parameter.value_at(min(round((value - low) / step), parameter.size - 1))
        return value

    return quantile


def _resolve(name: str, item: Any) -> Any:
    if isinstance(item, str):
        found = import_object(item, f"distributions.{name}")
        if not hasattr(found, "ppf") or not hasattr(found, "support"):
            raise _mistake(name, f"{item!r} must have the methods ppf and support. Got {found!r:.80}.")
        return found
    keywords = {key: value for key, value in item.items() if key not in ("name", "args")}
    try:
        return _scipy_distribution(name, item["name"])(*item["args"], **keywords)
    except TypeError as err:
        raise _mistake(name, f"scipy.stats.{item['name']} does not accept these arguments: {err}.") from err


def _scipy_distribution(name: str, called: str, like: object = None) -> Any:
    """The distribution of scipy.stats of this name; ``like``, if given, must be of the same type."""
    from scipy import stats

    found = getattr(stats, called, None)
    if not isinstance(found, (stats.rv_continuous, stats.rv_discrete)):
        known = [n for n, o in vars(stats).items() if isinstance(o, (stats.rv_continuous, stats.rv_discrete))]
        close = difflib.get_close_matches(called, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise _mistake(name, f"scipy.stats has no distribution {called!r}.{hint}")
    if like is not None and type(like) is not type(found):
        raise _mistake(
            name, f"{called!r} is not a distribution of scipy.stats: give its import path 'module:name' instead."
        )
    return found


def _check_support(name: str, distribution: Any, parameter: Float | Int) -> None:
    low, high = (float(end) for end in distribution.support())
    if math.isnan(low) or math.isnan(high):
        raise _mistake(name, "The distribution does not accept these arguments: it has no support.")
    slack = _TOLERANCE * max(abs(parameter.low), abs(parameter.high))
    for value, beyond in ((low, low < parameter.low - slack), (high, high > parameter.high + slack)):
        if beyond:
            message = (
                f"The distribution of {name!r} can draw {value:g}, which is outside its bounds "
                f"[{parameter.low:g}, {parameter.high:g}]: widen them, or truncate the distribution."
            )
            raise _mistake(name, message)
