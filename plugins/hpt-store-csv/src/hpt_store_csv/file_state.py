"""What a process knows of a file, so that it can read and append without parsing it again."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import attrs

from hpt_core import Record, StoreError
from hpt_store_csv.layout import Layout, defined, finish
from hpt_store_csv.scan import MARK_LENGTH, Piece

__all__ = ["FileState", "Progress", "lines_of"]


@attrs.define
class Progress:
    """The state after the lines so far that later lines depend on.

    Attributes:
        objectives: The current names of the objectives.
        views: Cell of a trial -> its parameter cells, for trials that have not ended: their ``finished`` lines repeat
            the cells.
    """

    objectives: Sequence[str] = ()
    views: dict[str, Mapping[str, str]] = attrs.field(factory=dict)

    def copied(self) -> Progress:
        """Copy the state."""
        return Progress(self.objectives, dict(self.views))

    def note(self, layout: Layout, row: Sequence[str]) -> None:
        """Update the state by a line."""
        event, trial = layout.cell(row, "event"), layout.cell(row, "trial")
        if event in ("enqueued", "started"):
            self.views[trial] = layout.view(row)
        elif event == "finished":
            self.views.pop(trial, None)
        elif event in ("amended", "created"):
            self.objectives = defined(layout.record(row), "objectives")


@attrs.define
class FileState:
    """What is known of one file.

    Attributes:
        file: Device and inode.
        layout: The columns.
        ends: End offset of the header, then of each record.
        mark: The last bytes before the last of these offsets.
        progress: The state after these records.
    """

    file: tuple[int, int]
    layout: Layout
    ends: array[int]
    mark: bytes
    progress: Progress = attrs.field(factory=Progress)

    @property
    def position(self) -> int:
        """The position of the last known record."""
        return len(self.ends) - 1

    @property
    def end(self) -> int:
        """The end offset of the last known record."""
        return self.ends[-1]

    def note(self, piece: Piece) -> None:
        """Add rows that were read after the last known record."""
        if piece.rows:
            start = self.end
            self.ends.extend(start + end for end in piece.ends)
            self.mark = piece.mark
            for row in piece.rows:
                self.progress.note(self.layout, row)

    def add(self, lines: Sequence[bytes], progress: Progress) -> None:
        """Add lines that were appended after the last known record."""
        for line in lines:
            self.ends.append(self.end + len(line))
        self.mark = lines[-1][-MARK_LENGTH:]
        self.progress = progress


def lines_of(records: Sequence[Record], layout: Layout, position: int, progress: Progress) -> list[bytes]:
    """Make the lines of records that are written together after a position, and update ``progress`` by them.

    Raises:
        StoreError: If a record is not JSON.
    """
    last = position + len(records)
    lines = []
    for seq, record in enumerate(records, position + 1):
        try:
            row = layout.row(record, seq, last, objectives=progress.objectives, views=progress.views)
        except (RecursionError, TypeError, ValueError) as err:
            msg = f"A record must hold JSON values only, and finite numbers: {err}. Got {record!r:.200}."
            raise StoreError(msg) from err
        progress.note(layout, row)
        lines.append(finish(row))
    return lines
