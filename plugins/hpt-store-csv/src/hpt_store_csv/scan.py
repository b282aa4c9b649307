"""From bytes to rows, and how a write that was cut off is told from damage.

A batch is appended in one write, so what a crash can leave is a beginning of it. Where the machine itself went down,
any page of it may be missing: a hole of zero bytes up to the edge of a page, and behind it lines of that batch. Such a
tail was never acknowledged and is set aside. All else that is not as it was written is damage: then nothing is read.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from hpt_core import StoreError
from hpt_store_csv.layout import FORMAT, HEADER_MARK, Layout, is_whole
from hpt_store_csv.problems import damaged, edited, not_ours

__all__ = ["BYTE_ORDER_MARK", "MARK_LENGTH", "Piece", "parse", "read_header"]

MARK_LENGTH = 9
"""A line's checksum and its end: with them a file is known again."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_HOLE = b"\0" * 16
_ZEROS = re.compile(rb"\0+")
_SECTOR = 512  # what a disk writes whole; a page is a number of them


@attrs.define
class Piece:
    """The rows in a piece of a file that reaches to its end.

    Attributes:
        rows: The cells of each record whose batch is complete.
        ends: The offset behind the line of each, within the piece.
        mark: The last bytes before the last of these offsets.
        size: How many bytes there are.
        torn: How many bytes of an unfinished write follow.
        lacks_end: Whether the last row is whole but for the end of its line.
    """

    rows: list[list[str]]
    ends: list[int]
    mark: bytes = b""
    size: int = 0
    torn: int = 0
    lacks_end: bool = False


def read_header(line: bytes, path: Path) -> Layout:
    """Read the first line of a file, its end included.

    Raises:
        StoreError: If it is no file of ours, of a newer format, or damaged.
    """
    found = HEADER_MARK.search(line)
    if not found:
        raise edited(path, "its header is another") if b"hpt-csv" in line else not_ours(path)
    if line.startswith(BYTE_ORDER_MARK):
        raise edited(path, "it begins with a byte order mark")
    if int(found[1]) > FORMAT:
        msg = (
            f"{path} was written by a newer hpt-store-csv (format {int(found[1])}, known: {FORMAT}). Update that "
            f"package; the file was left as it is."
        )
        raise StoreError(msg)
    if not line.endswith(b"\n") or not is_whole(line[:-1]):
        raise _broken(line.removesuffix(b"\n"), path, 1)
    try:
        return Layout.from_header(line[:-1])
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as err:
        raise damaged(path, 1, str(err)) from err


def parse(data: bytes, layout: Layout, position: int, path: Path, *, offset: int) -> Piece:
    """Read the end of a file.

    Args:
        data: The bytes behind the record at ``position``, up to the end of the file.
        layout: The columns.
        position: The position of the record before.
        path: The file, for messages.
        offset: Where in the file ``data`` begins.

    Raises:
        StoreError: If a line is not as it was written.
    """
    *lines, rest = data.split(b"\n")
    whole = next((i for i, line in enumerate(lines) if not is_whole(line)), len(lines))
    start = offset + sum(len(line) + 1 for line in lines[:whole])
    if whole < len(lines) and not _is_cut_off([*lines[whole:], rest], start, offset + len(data), layout):
        raise _broken(lines[whole], path, position + 2 + whole)
    lacks_end = whole == len(lines) and is_whole(rest)
    if whole == len(lines) and is_whole(rest[:-1]):
        raise damaged(path, position + 2 + whole, "it ends with another character than a line does")
    lines = [*lines[:whole], *[rest] * lacks_end]
    try:
        rows = layout.rows(lines)
    except ValueError as err:
        raise damaged(path, position + 2, f"it or a line below is no record ({err})") from err
    complete = _check_order(rows, layout, position, path)
    ends, end = [], 0
    for line in lines[:complete]:
        end += len(line) + 1
        ends.append(end)
    lacks_end = lacks_end and complete == len(rows)
    mark = lines[complete - 1][1 - MARK_LENGTH :] + b"\n" if complete else b""
    torn = 0 if lacks_end else len(data) - end
    return Piece(rows[:complete], ends, mark, len(data), torn, lacks_end)


def _is_cut_off(lines: list[bytes], start: int, end: int, layout: Layout) -> bool:
    """Whether the end of a file, from a line on that is not whole, is what a crash leaves of one write.

    Args:
        lines: The lines.
        start: Where in the file they begin.
        end: Where the file ends.
        layout: The columns.
    """
    whole = [line for line in lines if is_whole(line)]
    if not whole and any(_HOLE in line for line in lines):
        return True
    edges = [start + zeros.end() for zeros in _ZEROS.finditer(lines[0])]
    if not any(edge % _SECTOR == 0 or edge == end for edge in edges):
        return False
    try:
        rows = layout.rows(whole)
    except ValueError:
        return False
    return len({layout.cell(row, "last") or layout.cell(row, "seq") for row in rows}) <= 1


def _broken(line: bytes, path: Path, number: int) -> StoreError:
    if line.endswith(b"\r"):
        return edited(path, f"line {number} ends as on Windows")
    if not line.strip():
        return edited(path, f"line {number} is blank")
    return damaged(path, number, "its checksum is wrong")


def _check_order(rows: list[list[str]], layout: Layout, position: int, path: Path) -> int:
    """How many rows belong to complete batches.

    Raises:
        StoreError: If a record is missing, doubled or in the wrong place.
    """
    complete, together = 0, ""
    for i, row in enumerate(rows):
        seq, last = layout.cell(row, "seq"), layout.cell(row, "last")
        if seq != str(position + i + 1):
            raise damaged(path, position + i + 2, f"record {position + i + 1} is due, and it has {seq!r}")
        if together and (last or seq) != together:
            raise damaged(path, position + i + 2, "it was not written together with the record before it")
        together = last
        if not last:
            complete = i + 1
    return complete
