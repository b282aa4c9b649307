"""Text for terminals and pipes: the two streams, plain tables, numbers."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

import click

__all__ = [
    "clean",
    "data",
    "duration",
    "emit_json",
    "number",
    "paragraph",
    "put",
    "say",
    "shorten",
    "stdout_to_stderr",
    "streams_kept",
    "table",
]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_HANGING = 14


def say(text: str) -> None:
    """Talk to the user: on stderr. What cannot be written there, as on a full disk, is no reason to end a study."""
    with suppress(OSError, ValueError):  # a trial may have closed it
        click.echo(clean(text), err=True)


def data(text: str) -> None:
    """Give what was asked for: on stdout."""
    put(clean(text) + "\n")


def emit_json(schema: str, content: dict[str, Any], *, version: int = 1) -> None:
    """Print a JSON object on stdout.

    Args:
        schema: The command; the object's first key is ``"schema": "hpt/<command>/<version>"``.
        content: The other keys.
        version: Within a version keys are added, never renamed, dropped or given another meaning.
    """
    put(json.dumps({"schema": f"hpt/{schema}/{version}", **content}, indent=2, allow_nan=False) + "\n")


def put(content: str | bytes) -> None:
    """Write to stdout what is ready to be written.

    Raises:
        UsageError: If it cannot be written, as to a full disk.
    """
    try:
        click.echo(content, nl=False)
    except OSError as err:
        if err.errno == errno.EPIPE:  # who reads it has enough
            raise
        from hpt_core.errors import UsageError

        raise UsageError(f"Cannot write the output: {err.strerror}.") from err
    except ValueError as err:
        from hpt_core.errors import UsageError

        raise UsageError("Cannot write the output: stdout was closed, perhaps by a trial.") from err


@contextmanager
def streams_kept() -> Iterator[None]:
    """Have Python's streams back in the end, whatever trials put in their place."""
    kept = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


@contextmanager
def stdout_to_stderr(on: bool) -> Iterator[None]:
    """Where ``on``, let what the user's code prints, in other processes too, go where talk goes: stdout is for data."""
    if not on:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def clean(text: str) -> str:
    """Make text harmless for a terminal: control characters, which a stranger's study may hold, become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def number(value: object) -> str:
    """A value for people: floats to six digits, text as it is, the rest as JSON."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def duration(seconds: float) -> str:
    """Seconds for people: ``0.04 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 d 4 h``."""
    if seconds < _MINUTE:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def shorten(text: str, width: int) -> str:
    """One line of at most ``width`` columns."""
    line = " ".join(clean(text).split())
    return line if _width(line) <= width else _cut(line, width - 1) + "…"


def paragraph(head: str, text: str) -> str:
    """A word and what is to be said of it, wrapped with a hanging indent."""
    width = max(40, min(110, shutil.get_terminal_size((110, 24)).columns))
    first = f"{head:{_HANGING - 1}} {' '.join(clean(text).split())}"
    return textwrap.fill(first, width, subsequent_indent=" " * _HANGING, break_on_hyphens=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """An aligned table without lines; columns of numbers are flush right.

    On a terminal each line is cut to its width; in a pipe nothing is cut.
    """
    cells = [[" ".join(clean(cell).split()) for cell in row] for row in rows]
    columns = list(zip(header, *cells, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    right = [_is_numeric(column[1:]) for column in columns]
    lines = []
    for row in [header, *cells]:
        line = "  ".join(_pad(*item) for item in zip(row, widths, right, strict=True))
        lines.append(indent + line.rstrip())
    if sys.stdout.isatty():
        limit = shutil.get_terminal_size().columns
        lines = [line if _width(line) <= limit else _cut(line, limit - 1) + "…" for line in lines]
    return "\n".join(lines)


def _pad(cell: str, width: int, right: bool) -> str:
    gap = " " * (width - _width(cell))
    return gap + cell if right else cell + gap


def _is_numeric(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(cell[-1].isdigit() and _is_float(cell) for cell in filled)


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, width: int) -> str:
    while _width(text) > width:
        text = text[: max(0, len(text) - max(1, (_width(text) - width) // 2))]
    return text
