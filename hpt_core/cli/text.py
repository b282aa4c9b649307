"""Output for terminals and pipes: the two streams, plain tables, numbers."""

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
_LABEL_WIDTH = 14
_GAP = "  "
_LEAST_ROOM = 16
"""Minimum width of a wrapped column."""


def say(text: str) -> None:
    """Print a message on stderr. An error in writing, as on a full disk, is ignored: it must not end a study."""
    with suppress(OSError, ValueError), _dropping_unwritten(sys.stderr):  # a trial may have closed stderr
        click.echo(clean(text), err=True)


def data(text: str) -> None:
    """Print a result on stdout."""
    put(clean(text) + "\n")


def emit_json(schema: str, content: dict[str, Any], *, version: int = 1) -> None:
    """Print a JSON object on stdout.

    Args:
        schema: The command; the object's first key is ``"schema": "hpt/<command>/<version>"``.
        content: The other keys.
        version: Within a version, keys are only added, never renamed, dropped or given another meaning.
    """
    put(json.dumps({"schema": f"hpt/{schema}/{version}", **content}, indent=2, allow_nan=False) + "\n")


def put(content: str | bytes) -> None:
    """Write to stdout without any change.

    Raises:
        UsageError: If writing fails, as on a full disk.
    """
    try:
        with _dropping_unwritten(sys.stdout):
            click.echo(content, nl=False)
    except (OSError, ValueError) as err:
        if isinstance(err, OSError) and err.errno == errno.EPIPE:  # the reader of the pipe has gone
            raise
        from hpt_core.errors import UsageError

        reason = err.strerror if isinstance(err, OSError) else "stdout was closed, perhaps by a trial"
        raise UsageError(f"Cannot write the output: {reason}.") from err


@contextmanager
def _dropping_unwritten(stream: Any) -> Iterator[None]:
    """If writing fails, empty the buffer of a stream: else each later flush, Python's last one too, fails again."""
    try:
        yield
    except OSError:
        with suppress(OSError, ValueError):  # not a file, or closed
            kept, null = os.dup(stream.fileno()), os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            stream.flush()
            os.dup2(kept, stream.fileno())
            os.close(kept)
            os.close(null)
        raise


@contextmanager
def streams_kept() -> Iterator[None]:
    """Restore Python's streams at the end, whatever trials have put in their place."""
    kept = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


@contextmanager
def stdout_to_stderr(on: bool) -> Iterator[None]:
    """If ``on``, redirect output of the user's code, in child processes too, to stderr: stdout is for results."""
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
    """Escape control characters, so that text from an unknown study cannot control the terminal."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def number(value: object) -> str:
    """A value to display: floats with six digits, text unchanged, the rest as JSON."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def duration(seconds: float) -> str:
    """Seconds to display: ``0.04 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 d 4 h``."""
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


def paragraph(label: str, text: str) -> str:
    """A label and its text, wrapped with a hanging indent."""
    width = max(40, min(110, shutil.get_terminal_size((110, 24)).columns))
    first = f"{label:{_LABEL_WIDTH - 1}} {' '.join(clean(text).split())}"
    return textwrap.fill(first, width, subsequent_indent=" " * _LABEL_WIDTH, break_on_hyphens=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "", *, wrap: bool = False) -> str:
    """An aligned table without rules; columns of numbers are right-aligned.

    On a terminal, lines are cut to its width, and a column to half of it if it would hide later ones; in a pipe nothing
    is cut. With ``wrap`` the last column is continued on further lines instead, if there is room for it.
    """
    cells = [[" ".join(clean(cell).split()) for cell in row] for row in (header, *rows)]
    lines = _aligned(cells, indent)
    limit = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or max(map(_width, lines)) <= limit:
        return "\n".join(lines)
    room = limit - max(map(_width, _aligned([row[:-1] for row in cells], indent))) - len(_GAP)
    if wrap and room >= _LEAST_ROOM:
        cells = list(_wrapped(cells, room))
    else:
        cells = [[*(shorten(cell, limit // 2) for cell in row[:-1]), row[-1]] for row in cells]
    lines = _aligned(cells, indent)
    return "\n".join(line if _width(line) <= limit else _cut(line, limit - 1) + "…" for line in lines)


def _wrapped(rows: Sequence[Sequence[str]], room: int) -> Iterator[list[str]]:
    """The rows with the last cell in lines of at most ``room`` columns, each further line in a row of its own."""
    for *others, last in rows:
        characters = room if _width(last) <= len(last) else room // 2  # a wide character takes two columns
        first, *more = textwrap.wrap(last, characters, break_on_hyphens=False) or [""]
        yield [*others, first]
        yield from ([""] * len(others) + [line] for line in more)


def _aligned(rows: Sequence[Sequence[str]], indent: str) -> list[str]:
    """The lines of a table; the first row is its header."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    right = [_is_numeric(column[1:]) for column in columns]
    padded = (_GAP.join(_pad(*item) for item in zip(row, widths, right, strict=True)) for row in rows)
    return [indent + line.rstrip() for line in padded]


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
