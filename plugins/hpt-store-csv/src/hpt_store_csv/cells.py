r"""Cells: JSON values as readable text that no spreadsheet runs as a formula and that is read back exactly.

=============================  ==============================================================================
value                          cell
=============================  ==============================================================================
no value                       empty
``1`` ``1.0`` ``true`` null    as in JSON; floats with all significant digits
text                           unchanged
ambiguous text                 after an apostrophe: ``'1`` ``'null`` ``'=SUM(A1)`` ``'-x`` ``'`` (empty text)
unprintable characters         as in JSON, in quotes: ``"two\nlines"``; so too ``"a\u003b=1"``
lists and tables               as in JSON
=============================  ==============================================================================
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = ["decode", "encode", "join", "split"]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_JSON = frozenset('"[{-0123456789')
"""First characters of cells that are JSON, apart from `_WORDS`. Text may begin with a digit, too."""
_WORDS = {"null": None, "true": True, "false": False}
_MISTAKEN = frozenset("'\"[{ =+-@\uff1d\uff0b\uff0d\uff20")
"""First characters of ambiguous text; a formula begins with = + - @ or their full-width forms."""
_AFTER_SPLIT = re.compile(r'[;|]["\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]')
"""A formula for a program that splits lines at semicolons or bars, which are then escaped."""
_ESCAPES = {ord(";"): "\\u003b", ord("|"): "\\u007c"}


def encode(value: Any) -> str:
    """Write a JSON value as a cell, never an empty one.

    Raises:
        TypeError: If it is not a JSON value.
        ValueError: If it is a number that is not finite.
    """
    if isinstance(value, str):
        return _encode_text(value)
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)
    text = _readable(value)
    if not text.isprintable():
        text = _ascii(value)
    return text.translate(_ESCAPES) if _AFTER_SPLIT.search(text) else text


_readable = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _encode_text(text: str) -> str:
    if not text.isprintable() or _AFTER_SPLIT.search(text):
        return _ascii(text).translate(_ESCAPES)
    mistaken = not text or text[0] in _MISTAKEN or text[-1] == " " or text in _WORDS or _NUMBER.fullmatch(text)
    return f"'{text}" if mistaken else text


def decode(cell: str) -> Any:
    """Read a cell.

    Raises:
        ValueError: If `encode` never writes such a cell.
    """
    if not cell:
        msg = "a cell is empty"
        raise ValueError(msg)
    first = cell[0]
    if first == "'":
        return cell[1:]
    if first in _JSON:
        try:
            value, end = _scan(cell)
        except json.JSONDecodeError:
            value, end = None, 0
        if end == len(cell):
            return value
        if not first.isdigit():
            msg = f"{cell!r:.80} is not {'a number' if first == '-' else 'JSON'}"
            raise ValueError(msg)
    return _WORDS.get(cell, cell)


def _refuse(constant: str) -> float:
    msg = f"{constant} is not a finite number"
    raise ValueError(msg)


_scan = json.JSONDecoder(parse_constant=_refuse).raw_decode


def join(cells: Iterable[str]) -> str:
    """Join cells to a line, without a line ending."""
    return ",".join([f'"{c.replace(_QUOTE, _TWO_QUOTES)}"' if "," in c or _QUOTE in c else c for c in cells])


_QUOTE, _TWO_QUOTES = '"', '""'


def split(lines: Sequence[str]) -> Iterator[list[str]]:
    """Split lines that `join` made into cells.

    Raises:
        ValueError: If a line is not valid CSV.
    """
    longest = max(map(len, lines), default=0)
    if longest > csv.field_size_limit():  # a limit of the whole process, raised only if necessary
        csv.field_size_limit(longest)
    try:
        yield from csv.reader(lines, strict=True)
    except csv.Error as err:
        raise ValueError(str(err)) from err
