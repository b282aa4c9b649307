"""The columns of a file, and the mapping of records to rows.

Each line is one record. The keys that people look at have columns of their own; the rest of the record is JSON in the
column ``more``. The last column, also of the header, is the CRC-32 of the line up to there. The column ``last`` marks
records that were written together: all but the last of them have the position of the last one there.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs

from hpt_store_csv.cells import decode, encode, join, split

if TYPE_CHECKING:
    from hpt_core import Record

__all__ = ["FORMAT", "HEADER_MARK", "Layout", "defined", "finish", "is_whole"]

FORMAT = 1
"""Version of the file format, in the header; a file with a higher version is refused."""

HEADER_MARK = re.compile(rb'""hpt-csv"":([0-9]+)')
"""Present in the first line of every format version."""

_CRC_LENGTH = 8
_BEFORE = ("seq", "date", "event", "trial", "state", "step", "value")
_AFTER = ("reason", "kind", "message", "source", "worker", "attempt", "time", "last")
_VALUES, _PARAMS = "values.", "params."
_OWN = ("event", "trial", "state", "step", "value", "reason", "kind", "message", "source", "worker", "attempt", "time")
"""The keys of a record that have a column of the same name."""


def _checksum(line: bytes) -> bytes:
    return b"%08x" % zlib.crc32(line)


def is_whole(line: bytes) -> bool:
    """Whether the checksum of a line (without its line ending) is correct."""
    return line[-_CRC_LENGTH:] == _checksum(line[:-_CRC_LENGTH])


def finish(cells: Iterable[str]) -> bytes:
    """Make a line of cells, with its checksum and line ending."""
    line = f"{join(cells)},".encode()
    return b"%b%b\n" % (line, _checksum(line))


@attrs.frozen
class Layout:
    """The columns of one file.

    Attributes:
        study: The study's name, in the header.
        created: Creation time of the file, in Unix seconds.
        objectives: Names that have a column ``values.<name>``.
        params: Names that have a column ``params.<name>``.
    """

    study: str
    created: float
    objectives: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    _columns: tuple[str, ...] = attrs.field(init=False, repr=False)
    _at: Mapping[str, int] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        values = [f"{_VALUES}{name}" for name in self.objectives]
        params = [f"{_PARAMS}{name}" for name in self.params]
        columns = (*_BEFORE, *values, *params, *_AFTER, "more")
        object.__setattr__(self, "_columns", columns)
        object.__setattr__(self, "_at", {name: i for i, name in enumerate(columns)})

    # --- the header ---------------------------------------------------------------------------------------

    def header(self) -> bytes:
        """The first line of the file."""
        about = {"hpt-csv": FORMAT, "study": self.study, "created": self.created}
        names = [encode(name) for name in self._columns[:-1]]
        return finish([*names, f"more {json.dumps(about, separators=(',', ':'))}"])

    @classmethod
    def from_header(cls, line: bytes) -> Layout:
        """Read a line that `header` made, without its line ending.

        Raises:
            ValueError: If it is not such a line.
        """
        (cells,) = split([line.decode()])
        *names, about_cell, _ = [decode(cell) for cell in cells]
        about = json.loads(about_cell.removeprefix("more "))
        layout = cls(
            about["study"],
            about["created"],
            tuple(name.removeprefix(_VALUES) for name in names if name.startswith(_VALUES)),
            tuple(name.removeprefix(_PARAMS) for name in names if name.startswith(_PARAMS)),
        )
        is_sane = isinstance(layout.study, str) and type(layout.created) in (int, float)
        if not is_sane or layout.header() != line + b"\n":
            msg = "it is not a header of hpt"
            raise ValueError(msg)
        return layout

    def extended(self, records: Iterable[Record]) -> Layout:
        """A layout with a column for every parameter and objective that the records define."""
        objectives, params = dict.fromkeys(self.objectives), dict.fromkeys(self.params)
        for record in records:
            objectives |= dict.fromkeys(defined(record, "objectives"))
            params |= dict.fromkeys(defined(record, "space"))
        if len(objectives) == len(self.objectives) and len(params) == len(self.params):
            return self
        return attrs.evolve(self, objectives=tuple(objectives), params=tuple(params))

    # --- lines --------------------------------------------------------------------------------------------

    def row(
        self,
        record: Record,
        seq: int,
        last: int,
        *,
        objectives: Sequence[str],
        views: Mapping[str, Mapping[str, str]],
    ) -> list[str]:
        """The cells of a record, without the checksum's.

        Args:
            record: The record.
            seq: Its position.
            last: The position of the last record that is written together with it.
            objectives: The current names of the objectives, in order.
            views: Cell of a trial -> its parameter cells. A ``finished`` row repeats them for people; they are not
                read back.

        Raises:
            TypeError: If the record holds a value that is not JSON.
            ValueError: If it holds a number that is not finite.
        """
        more = dict(record)
        cells = {name: encode(more.pop(name)) for name in _OWN if name in more}
        cells |= self._values(more, objectives)
        ends = record.get("event") == "finished"
        cells |= views.get(cells.get("trial", ""), {}) if ends else self._params(more)
        cells |= {"seq": str(seq), "date": _date(record.get("time")), "last": "" if seq == last else str(last)}
        cells["more"] = encode(more) if more else ""
        return [cells.get(name, "") for name in self._columns]

    def _values(self, more: Record, objectives: Sequence[str]) -> dict[str, str]:
        values = more.get("values")
        if not isinstance(values, list):
            return {}
        columns = [f"{_VALUES}{name}" for name in objectives]
        places = [self._at.get(name, -1) for name in columns]
        fits = len(values) == len(columns) > 0 and places[0] >= 0
        if not fits or any(b <= a for a, b in pairwise(places)):
            return {}
        return {name: encode(value) for name, value in zip(columns, more.pop("values"), strict=True)}

    def _params(self, more: Record) -> dict[str, str]:
        params = more.get("params")
        if not isinstance(params, dict):
            return {}
        shown = {name: encode(params[name]) for name in self.params if name in params}
        others = {name: value for name, value in params.items() if name not in shown}
        if shown and not others:
            del more["params"]
        elif shown:
            more["params"] = others
        return {f"{_PARAMS}{name}": cell for name, cell in shown.items()}

    def cell(self, row: Sequence[str], name: str) -> str:
        """One cell of a row, by column name."""
        return row[self._at[name]]

    def view(self, row: Sequence[str]) -> dict[str, str]:
        """The parameter cells of a row, by column name."""
        start = len(_BEFORE) + len(self.objectives)
        return {name: row[start + i] for i, name in enumerate(self._columns[start : start + len(self.params)])}

    def rows(self, lines: Sequence[bytes]) -> list[list[str]]:
        """The cells of whole lines, each row with its checksum.

        Raises:
            ValueError: If they are no lines of this layout.
        """
        rows = list(split([line.decode() for line in lines]))
        if len(rows) != len(lines) or any(len(row) != len(self._columns) + 1 for row in rows):
            msg = "it has another number of cells than the header"
            raise ValueError(msg)
        return rows

    def record(self, row: Sequence[str]) -> Record:
        """Decode the record of a row.

        Raises:
            ValueError: If the row is not a record.
        """
        middle = len(_BEFORE)
        end = middle + len(self.objectives)
        record: Record = {name: decode(cell) for name in _OWN if (cell := row[self._at[name]])}
        values = [decode(cell) for cell in row[middle:end] if cell]
        if values:
            record["values"] = values
        if record.get("event") != "finished":
            params = {name: decode(cell) for name, cell in zip(self.params, row[end:], strict=False) if cell}
            if params:
                record["params"] = params
        more = row[self._at["more"]]
        if more:
            others = decode(more)
            if not isinstance(others, dict):
                msg = f"{more!r:.80} is not a table"
                raise ValueError(msg)
            if "params" in record and "params" in others:
                record["params"] |= others.pop("params")
            record |= others
        return record

    def moved(self, row: Sequence[str], new: Layout) -> list[str]:
        """The cells of a row in a layout with more columns, without the checksum's."""
        cells = dict(zip(self._columns, row, strict=False))
        return [cells.get(name, "") for name in new._columns]


def defined(record: Record, part: str) -> list[str]:
    """The names in one part of the definition in a ``created`` or ``amended`` record; none for other records."""
    definition = record.get("definition")
    names = definition.get(part) if isinstance(definition, Mapping) else None
    return list(names) if isinstance(names, Mapping) else []


def _date(time: object) -> str:
    """The time as readable text, to the second; empty if there is none."""
    if not isinstance(time, (int, float)):
        return ""
    try:
        return f"{datetime.fromtimestamp(time, UTC).isoformat(timespec='seconds')[:19]}Z"
    except (OverflowError, OSError, ValueError):
        return ""
