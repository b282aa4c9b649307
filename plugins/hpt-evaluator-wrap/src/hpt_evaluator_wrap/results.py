"""Finished evaluations, kept by their parameters in memory or in a file of JSON lines."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from hpt_core import Report, UsageError, file_lock

__all__ = ["Kept", "Results", "plain_result"]

_LOG = logging.getLogger("hpt")
_PATIENCE = 60.0  # seconds to wait for another process that writes


@attrs.frozen
class Kept:
    """One evaluation that ran to its end.

    Attributes:
        reports: What it reported, in order.
        result: What it returned: a number, a mapping, a list, or None where the reports tell.
    """

    reports: tuple[Report, ...]
    result: Any


def plain_result(result: Any) -> Any:
    """A result as JSON-shaped data.

    Raises:
        TypeError: If it holds what is no number.
        ValueError: If it holds what is not finite.
    """
    if isinstance(result, Mapping):
        return {str(name): _plain_number(value) for name, value in result.items()}
    if isinstance(result, (tuple, list)):
        return [_plain_number(value) for value in result]
    return None if result is None else _plain_number(result)


def _plain_number(value: Any) -> float:
    plain = value.item() if getattr(value, "shape", None) == () else value  # numpy's bools are none of Python's
    if isinstance(plain, (bool, str, bytes)):
        raise TypeError("no number")
    number = float(plain)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


class Results:
    """Results by key. What other processes append to the file is seen too.

    Args:
        path: The file; None: memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._kept: dict[str, Kept] = {}
        self._offset = 0

    def get(self, key: str) -> Kept | None:
        """What is kept under a key, None for nothing."""
        if key not in self._kept:
            self._read()
        return self._kept.get(key)

    def put(self, key: str, kept: Kept) -> None:
        """Keep an evaluation, in the file too; the first one under a key stays.

        Raises:
            UsageError: If the file cannot be written.
        """
        self._kept.setdefault(key, kept)
        if self._path is None:
            return
        reports = [[report.step, report.value, dict(report.metrics)] for report in kept.reports]
        line = json.dumps({"key": json.loads(key), "reports": reports, "result": kept.result}, allow_nan=False)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._path.with_name(self._path.name + "-lock")
            # without it a line that another process is writing would look torn
            with file_lock(lock, f"the cache {self._path}", _PATIENCE), self._path.open("ab+") as file:
                torn = self._is_torn(file)
                file.write(("\n" if torn else "").encode() + line.encode() + b"\n")  # one write: lines never mix
        except OSError as err:
            raise UsageError(f"The cache {self._path} cannot be written: {err.strerror}.") from err

    @staticmethod
    def _is_torn(file: Any) -> bool:
        """Whether the last line lacks its end: its writer was killed."""
        if not file.seek(0, 2):
            return False
        file.seek(-1, 2)
        return bool(file.read(1) != b"\n")

    def _read(self) -> None:
        if self._path is None or not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                key, kept = _parsed(line)
            except (ValueError, KeyError, TypeError):
                if line.strip():
                    _LOG.warning("The cache %s has a damaged line, which is passed over: %.80r", self._path, line)
                continue
            self._kept.setdefault(key, kept)


def _parsed(line: bytes) -> tuple[str, Kept]:
    row = json.loads(line)
    reports: Sequence[Any] = row["reports"]
    kept = Kept(tuple(Report(step, value, metrics) for step, value, metrics in reports), plain_result(row["result"]))
    return json.dumps(row["key"], sort_keys=True), kept
