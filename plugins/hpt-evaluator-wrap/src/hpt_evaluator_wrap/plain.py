"""Results of evaluations as JSON-shaped data."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from hpt_core import EvaluationError

__all__ = ["plain_number", "plain_result"]


def plain_result(result: Any) -> Any:
    """A result, or the metrics of a report, with Python's own types: a float, floats by name or in a list, or None.

    Raises:
        EvaluationError: If it contains anything but numbers.
    """
    if isinstance(result, Mapping):
        return {str(name): plain_number(value, f"The value of {str(name)!r}") for name, value in result.items()}
    if isinstance(result, (tuple, list)):
        return [plain_number(value) for value in result]
    return None if result is None else plain_number(result)


def plain_number(value: Any, what: str = "The value of a trial") -> float:
    """A number of any library, such as a tensor, as a float. A bool is none.

    Args:
        value: Any object.
        what: What to call it in the message.

    Raises:
        EvaluationError: If it is not a number.
    """
    with suppress(Exception):  # a third-party class may raise anything
        content = value.item() if getattr(value, "shape", None) == () else value  # turns numpy's types into Python's
        if getattr(value, "shape", ()) == () and not isinstance(content, (bool, str, bytes, bytearray, complex)):
            return _as_float(value)  # not the content: that of a masked number is what the mask hides
    msg = f"{what} must be a number. Got {type(value).__name__} {reprlib.repr(value):.80}."
    raise EvaluationError(msg, kind="invalid-value")


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond the range of floats
        return math.inf
