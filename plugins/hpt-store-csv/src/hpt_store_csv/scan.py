"""Parsing of bytes to rows, and the distinction between an interrupted write and damage.

A batch of records is appended in one write, so a crash of the process can leave only a prefix of it. After a crash of
the machine, any page may be missing: there is a hole of zero bytes up to a page boundary, possibly followed by lines of
the same batch. Such a tail was never acknowledged and is set aside. Any other deviation is damage: nothing is read.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import attrs

from hpt_core import StoreError
from hpt_store_csv.layout import FORMAT, HEADER_MARK, Layout, is_whole
from hpt_store_csv.problems import damaged, edited, not_ours

__all__ = ["BYTE_ORDER_MARK", "MARK_LENGTH", "Piece", "parse", "read_header"]

MARK_LENGTH = 9
"""Length of a line's checksum and line ending, by which an unchanged file is recognised."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_HOLE = b"\0" * 16
_ZEROS = re.compile(rb"\0+")
_SECTOR = 512  # bytes that a disk writes atomically; a page consists of several


@attrs.define
class Piece:
    """The parsed end of a file.

    Attributes:
        rows: The cells of each record whose batch is complete.
        ends: End offset of the line of each row, within the piece.
        mark: The last bytes before the last of these offsets.
        size: Number of bytes in the piece.
        torn: Number of bytes of an interrupted write at its end.
        lacks_end: Whether the last row is complete except for its line ending.
    """

    rows: list[list[str]]
    ends: list[int]
    mark: bytes = b""
    size: int = 0
    torn: int = 0
    lacks_end: bool = False


def read_header(line: bytes, path: Path) -> Layout:
    """Read the first line of a file, including its line ending.

    Raises:
        StoreError: If the file is not a store, of a newer format, or damaged.
    """
    found = HEADER_MARK.search(line)
    if not found:
        raise edited(path, "its header was changed") if b"hpt-csv" in line else not_ours(path)
    if line.startswith(BYTE_ORDER_MARK):
        raise edited(path, "it begins with a byte order mark")
    if int(found[1]) > FORMAT:
        msg = (
            f"{path} was written by a newer hpt-store-csv (format {int(found[1])}, known: {FORMAT}). Update that "
            f"package. The file was left unchanged."
        )
        raise StoreError(msg)
    if not line.endswith(b"\n") or not is_whole(line[:-1]):
        raise _broken(line.removesuffix(b"\n"), path, 1)
    try:
        return Layout.from_header(line[:-1])
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as err:
        raise damaged(path, 1, str(err)) from err


def parse(data: bytes, layout: Layout, position: int, path: Path, *, offset: int) -> Piece:
    """Parse the end of a file.

    Args:
        data: The bytes after the record at ``position``, up to the end of the file.
        layout: The columns.
        position: The position of the record before ``data``.
        path: The file, for messages.
        offset: Offset of ``data`` in the file.

    Raises:
        StoreError: If the file is damaged.
    """
    *lines, rest = data.split(b"\n")
    whole = next((i for i, line in enumerate(lines) if not is_whole(line)), len(lines))
    start = offset + sum(len(line) + 1 for line in lines[:whole])
    if whole < len(lines) and not _is_cut_off([*lines[whole:], rest], start, layout):
        raise _broken(lines[whole], path, position + 2 + whole)
    lacks_end = whole == len(lines) and is_whole(rest)
    if whole == len(lines) and is_whole(rest[:-1]):
        raise damaged(path, position + 2 + whole, "its line ending was changed")
    lines = [*lines[:whole], *[rest] * lacks_end]
    rows = _rows(lines, layout, position, path)
    complete = _check_order(rows, layout, position, path)
    ends, end = [], 0
    for line in lines[:complete]:
        end += len(line) + 1
        ends.append(end)
    lacks_end = lacks_end and complete == len(rows)
    mark = lines[complete - 1][1 - MARK_LENGTH :] + b"\n" if complete else b""
    torn = 0 if lacks_end else len(data) - end
    return Piece(rows[:complete], ends, mark, len(data), torn, lacks_end)


def _rows(lines: list[bytes], layout: Layout, position: int, path: Path) -> list[list[str]]:
    """The cells of the lines after a position, whose checksums are right.

    Raises:
        StoreError: If a line is not a record; names the first such line.
    """
    with suppress(ValueError):
        return layout.rows(lines)
    rows = []
    for number, line in enumerate(lines, position + 2):
        try:
            rows += layout.rows([line])
        except ValueError as err:
            raise damaged(path, number, f"it is not a valid record ({err})") from err
    return rows


def _is_cut_off(lines: list[bytes], start: int, layout: Layout) -> bool:
    """Whether the end of a file, from an incomplete line on, may be the remains of one write after a crash.

    Args:
        lines: The lines.
        start: Offset of the lines in the file.
        layout: The columns.
    """
    whole = [line for line in lines if is_whole(line)]
    if not whole and any(_HOLE in line for line in lines):
        return True
    if all((start + zeros.end()) % _SECTOR for zeros in _ZEROS.finditer(lines[0])):
        return False
    try:
        rows = layout.rows(whole)
    except ValueError:
        return False
    return len({layout.cell(row, "last") or layout.cell(row, "seq") for row in rows}) <= 1


def _broken(line: bytes, path: Path, number: int) -> StoreError:
    if line.endswith(b"\r"):
        return edited(path, f"line {number} has a Windows line ending")
    if not line.strip():
        return edited(path, f"line {number} is blank")
    return damaged(path, number, "its checksum is wrong")


def _check_order(rows: list[list[str]], layout: Layout, position: int, path: Path) -> int:
    """The number of rows that belong to complete batches.

    Raises:
        StoreError: If a record is missing, duplicated or in the wrong place.
    """
    complete, together = 0, ""
    for i, row in enumerate(rows):
        seq, last = layout.cell(row, "seq"), layout.cell(row, "last")
        if seq != str(position + i + 1):
            raise damaged(path, position + i + 2, f"expected record {position + i + 1}, got {seq!r}")
        if together and (last or seq) != together:
            raise damaged(path, position + i + 2, "it was not written together with the record before it")
        together = last
        if not last:
            complete = i + 1
    return complete
