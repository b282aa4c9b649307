"""A cache of finished evaluations, in memory or in a file of JSON lines."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import attrs

from hpt_core import EvaluationError, Mistake, Report, StoreError, UsageError, file_lock
from hpt_evaluator_wrap.plain import plain_result

__all__ = ["CachedResult", "ResultCache", "finite_result"]

_LOG = logging.getLogger("hpt")
_LOCK_TIMEOUT = 60.0  # seconds to wait while another process writes
_START = b'{"key"'
"""How each line of a cache begins."""


@attrs.frozen
class CachedResult:
    """A finished evaluation.

    Attributes:
        reports: Its reports, in order.
        result: Its return value: a number, a mapping, a list, or None if the reports are the result.
    """

    reports: tuple[Report, ...]
    result: Any


def finite_result(result: Any) -> Any:
    """A result as JSON-shaped data.

    Raises:
        EvaluationError: If it contains anything but numbers.
        ValueError: If a number is not finite.
    """
    plain = plain_result(result)
    json.dumps(plain, allow_nan=False)
    return plain


class ResultCache:
    """Finished evaluations by key, including those that other processes append to the file.

    Args:
        path: The file. If None, the cache is in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._cached: dict[str, CachedResult] = {}
        self._offset = 0

    def get(self, key: str) -> CachedResult | None:
        """The evaluation under a key; None if there is none.

        Raises:
            UsageError: If the file cannot be read or is not a cache.
        """
        if key not in self._cached:
            try:
                self._read()
            except OSError as err:
                raise UsageError(Mistake("evaluator.path", f"Cannot read {self._path}: {err.strerror}.")) from err
        return self._cached.get(key)

    def put(self, key: str, evaluation: CachedResult) -> None:
        """Cache an evaluation. An earlier one under the same key stays in use.

        If the file cannot be written, that is logged: it must not cost the result.
        """
        self._cached.setdefault(key, evaluation)
        if self._path is None:
            return
        reports = [[report.step, report.value, dict(report.metrics)] for report in evaluation.reports]
        line = json.dumps({"key": json.loads(key), "reports": reports, "result": evaluation.result})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._path.with_name(self._path.name + "-lock")
            # without the lock, a line that another process is writing would look torn
            with file_lock(lock, f"the cache {self._path}", _LOCK_TIMEOUT), self._path.open("ab+") as file:
                torn = self._is_torn(file)
                file.write(("\n" if torn else "").encode() + line.encode() + b"\n")  # one write: lines never mix
        except (OSError, StoreError) as err:
            _LOG.warning("A result is not in the cache %s, which cannot be written: %s", self._path, err)

    @staticmethod
    def _is_torn(file: Any) -> bool:
        """Whether the last line has no line end because its writer was killed."""
        if not file.seek(0, 2):
            return False
        file.seek(-1, 2)
        return bool(file.read(1) != b"\n")

    def _read(self) -> None:
        if self._path is None or not self._path.exists():
            return
        if not (self._path.is_file() or self._path.is_dir()):  # to open a pipe would wait for its other end
            raise UsageError(Mistake("evaluator.path", f"{self._path} is a pipe, a socket or a device, not a file."))
        with self._path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        if new.strip() and not self._offset and _START not in new and not _START.startswith(new):
            problem = f"{self._path} is not a cache: it has other content, which is left as it is. Give another path."
            raise UsageError(Mistake("evaluator.path", problem))
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                key, evaluation = _parse(line)
            except (AttributeError, EvaluationError, LookupError, RecursionError, TypeError, ValueError):
                if line.strip():
                    _LOG.warning("The cache %s has a damaged line, which is skipped: %.80r", self._path, line)
                continue
            self._cached.setdefault(key, evaluation)


def _parse(line: bytes) -> tuple[str, CachedResult]:
    row = json.loads(line)
    reports = tuple(_report(*report) for report in row["reports"])
    return json.dumps(row["key"], sort_keys=True), CachedResult(reports, finite_result(row["result"]))


def _report(step: Any, value: Any, metrics: Any) -> Report:
    if type(step) is not int:
        raise TypeError("not a step")
    (plain,) = finite_result([value])
    return Report(step, plain, finite_result(dict(metrics)))
