"""Checks what an evaluator gives: a result, or a report. Anything but finite numbers fails the trial."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Mapping, Sequence
from traceback import format_exception_only
from typing import Any

from hpt_core.errors import EvaluationError
from hpt_core.history.trial import Report
from hpt_core.values import native

__all__ = ["NotFiniteError", "check_report", "check_result"]


class NotFiniteError(EvaluationError):
    """A value is a number, but NaN or infinite."""


def _number(value: object, what: str) -> float:
    """Check that a value is a finite real number and return it as a float, else raise an `EvaluationError`."""
    if type(value) is not float:
        value = _as_float(value, what)
    if not math.isfinite(value):
        raise NotFiniteError(f"{what} must be a finite number. Got {value}.", kind="invalid-value")
    return value


def _as_float(value: Any, what: str, remedy: str = "") -> float:
    dtype = getattr(value, "dtype", None)
    if (
        isinstance(value, (bool, str, bytes, bytearray, complex))
        or not hasattr(type(value), "__float__")
        or getattr(value, "ndim", 0) != 0
        or getattr(dtype, "kind", "f") in "bcmMOSU"  # a 0-d numpy array of text has a __float__ that parses it
        or str(dtype).endswith("bool")
        or "complex" in str(dtype)
    ):
        raise EvaluationError(f"{what} must be a number. Got {_shown(value)}.{remedy}", kind="invalid-value")
    try:
        return float(value)
    except OverflowError:  # an int beyond the range of floats
        return math.inf
    except Exception as err:  # noqa: BLE001 - a third-party __float__ may raise anything
        reason = format_exception_only(err)[0].strip()
        msg = f"{what} must be a number. Got {type(value).__name__}, for which float() raised {reason}."
        raise EvaluationError(f"{msg}{remedy}", kind="invalid-value") from None  # the frames would be hpt's


def _shown(value: object) -> str:
    """The type and a short ``repr`` of any object, even if its ``repr`` is endless or raises."""
    if value is None:
        return "None"
    try:
        return f"{type(value).__name__} {reprlib.repr(value):.80}"
    except Exception:  # noqa: BLE001 - a third-party __repr__ may raise anything
        return type(value).__name__


_METRIC_REMEDY = " Give 0 or 1 for a bool. Leave out other values, or write them to a file in the trial's `workdir`."


def _metrics(items: Mapping[str, object]) -> dict[str, float]:
    """Check further results. No decision depends on them, so a NaN or infinity is left out instead of an error."""
    found = {}
    for name, value in items.items():
        number = value if type(value) is float else _as_float(value, f"The metric {name!r}", _METRIC_REMEDY)
        if math.isfinite(number):
            found[str(name)] = number
    return found


def check_result(
    result: object, objectives: Sequence[str], needed: Collection[str] = ()
) -> tuple[tuple[float, ...], dict[str, float]]:
    """Turn what an evaluator returned into values and metrics.

    Args:
        result: A number or a mapping by name; for several objectives also a tuple or list in their order. A mapping may
            hold further metrics.
        objectives: The names of the objectives, in order.
        needed: The names that have constraints. Those that are not objectives must be among the metrics.

    Returns:
        One finite float per objective, and the metrics.

    Raises:
        EvaluationError: If the result is anything else, with kind ``invalid-value``.
    """
    needed = [name for name in needed if name not in objectives]
    if isinstance(result, Mapping):
        missing = [name for name in objectives if name not in result]
        if missing:
            msg = f"The result lacks the objective {missing[0]!r}. Got {sorted(map(str, result))}."
            raise EvaluationError(msg, kind="invalid-value")
        values = tuple(_number(result[name], f"The value of {name!r}") for name in objectives)
        metrics = {k: v for k, v in result.items() if k not in objectives}
        _check_needed(metrics, needed)
        return values, _metrics(metrics)
    values = _values(result, objectives)  # first: a diverged training may give nothing but NaN
    _check_needed({}, needed)
    return values, {}


def _values(result: object, objectives: Sequence[str]) -> tuple[float, ...]:
    """The values of a result without names."""
    if len(objectives) == 1:
        return (_number(result, "The value of a trial"),)
    if not isinstance(result, (tuple, list)) or len(result) != len(objectives):
        msg = f"A trial must give {len(objectives)} values ({', '.join(objectives)}). Got {_shown(result)}."
        raise EvaluationError(msg, kind="invalid-value")
    return tuple(_number(value, f"The value of {name!r}") for name, value in zip(objectives, result, strict=True))


def _check_needed(metrics: Mapping[str, object], needed: Sequence[str]) -> None:
    """Check that the constrained metrics are there and finite."""
    for name in needed:
        if name not in metrics:
            got = f"Its metrics are {sorted(map(str, metrics))}." if metrics else "It has no metrics."
            msg = f"The result lacks the metric {name!r}, which has a constraint. {got}"
            raise EvaluationError(msg, kind="invalid-value")
        _number(metrics[name], f"The metric {name!r}, which has a constraint,")


def check_report(report: object, last_step: int) -> Report:
    """Check one report that an evaluator yielded.

    Args:
        report: Must be a `Report` with a finite value and a step above ``last_step``.
        last_step: The last step that the trial reported; 0 if it reported none.

    Raises:
        EvaluationError: Of kind ``invalid-value``.
    """
    if not isinstance(report, Report):
        msg = f"An evaluator must yield Report objects. Got {_shown(report)}."
        raise EvaluationError(msg, kind="invalid-value")
    step = native(report.step)
    if type(step) is not int or step <= last_step:
        wanted = f"above the last one ({last_step})" if last_step else "from 1 on"
        msg = f"The step of a report must be an int {wanted}. Got {_shown(report.step)}."
        raise EvaluationError(msg, kind="invalid-value")
    value = _number(report.value, f"The value reported at step {step}")
    return Report(step, value, _metrics(report.metrics) if report.metrics else {})
