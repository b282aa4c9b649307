"""Parse the output of a command: lines of bounded length, the reports among them, and the result in the last one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpt_core import Report

__all__ = ["Lines", "Tail", "report_of", "result_of"]

MAX_LINE = 1 << 16
"""Maximum number of bytes kept of a line; a longer line cannot be a report or a result."""

_NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf|infinity)", re.IGNORECASE)


class Lines:
    """Splits a stream of bytes into lines in bounded memory."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add data and yield the lines that it completes, without line ends; lines that are too long are truncated."""
        first, *others = data.split(b"\n")
        self._keep(first)
        for part in others:
            yield self.flush()
            self._keep(part)

    def flush(self) -> bytes:
        """Return the data since the last line end, and forget it."""
        line, self._rest = self._rest, b""
        return line

    def _keep(self, part: bytes) -> None:
        self._rest += part[: MAX_LINE - len(self._rest)]


class Tail:
    """The last bytes of a stream."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bytes = b""

    def feed(self, data: bytes) -> None:
        """Add data."""
        self._bytes = (self._bytes + data)[-self._size :]

    def text(self, characters: int) -> str:
        """The last characters; invalid UTF-8 is replaced."""
        return self._bytes.decode("utf-8", "replace")[-characters:].strip()


def report_of(line: bytes, objectives: Sequence[str]) -> Report | None:
    """Parse a report.

    Args:
        line: A line of the command's output.
        objectives: Names of the objectives.

    Returns:
        The report, if the line is a JSON object with a whole number ``step`` and a number named like the first
        objective, or ``value``; other numbers in it are metrics. None for any other line.
    """
    if b'"step"' not in line:
        return None
    found = _json(line)
    if not isinstance(found, dict):
        return None
    step = _number(found.pop("step", None))
    value = _number(found.pop(objectives[0] if objectives[0] in found else "value", None))
    if step is None or not step.is_integer() or value is None:
        return None
    return Report(int(step), value, _numbers(found))


def result_of(text: bytes, objectives: Sequence[str]) -> float | Mapping[str, Any] | None:
    """Parse a result.

    Args:
        text: The last line of the output, or the content of the result file.
        objectives: Names of the objectives.

    Returns:
        A float for a bare number; a mapping for a JSON object that has all objectives by name (or ``value`` for a
        single one), with its other numbers as metrics; None for anything else.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _json(text)
    if not isinstance(found, dict):
        return None
    if len(objectives) == 1 and objectives[0] not in found and "value" in found:
        found[objectives[0]] = found.pop("value")
    if any(name not in found for name in objectives):
        return None
    return _numbers(found) | {name: found[name] for name in objectives}


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, a number with 5,000 digits, 1,000 nested brackets
        return None


def _number(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _numbers(found: Mapping[str, object]) -> dict[str, float]:
    numbers = ((name, _number(value)) for name, value in found.items())
    return {name: number for name, number in numbers if number is not None}
