"""What a process knows of a file, so that it reads and adds without starting over."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import attrs

from hpt_core import Record, StoreError
from hpt_store_csv.layout import Layout, defined, finish
from hpt_store_csv.scan import MARK_LENGTH, Piece

__all__ = ["Known", "Progress", "lines_of"]


@attrs.define
class Progress:
    """What the lines so far mean for those to come.

    Attributes:
        objectives: The names of the objectives by now.
        views: A trial's cell -> its cells of parameters, for the trials that have not ended: the line of the end shows
            them again.
    """

    objectives: Sequence[str] = ()
    views: dict[str, Mapping[str, str]] = attrs.field(factory=dict)

    def copied(self) -> Progress:
        """A copy to go on with."""
        return Progress(self.objectives, dict(self.views))

    def note(self, layout: Layout, row: Sequence[str]) -> None:
        """Take in a line."""
        event, trial = layout.cell(row, "event"), layout.cell(row, "trial")
        if event in ("enqueued", "started"):
            self.views[trial] = layout.view(row)
        elif event == "finished":
            self.views.pop(trial, None)
        elif event in ("amended", "created"):
            self.objectives = defined(layout.record(row), "objectives")


@attrs.define
class Known:
    """What is known of one file.

    Attributes:
        file: Device and inode.
        layout: The columns.
        ends: The offset behind each record; that of the header first.
        mark: The last bytes before the last of these offsets.
        progress: What the records so far mean for those to come.
    """

    file: tuple[int, int]
    layout: Layout
    ends: array[int]
    mark: bytes
    progress: Progress = attrs.field(factory=Progress)

    @property
    def position(self) -> int:
        """The position of the last record that is known."""
        return len(self.ends) - 1

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.ends[-1]

    def note(self, piece: Piece) -> None:
        """Take in rows that were read behind the last record."""
        if piece.rows:
            start = self.end
            self.ends.extend(start + end for end in piece.ends)
            self.mark = piece.mark
            for row in piece.rows:
                self.progress.note(self.layout, row)

    def add(self, lines: Sequence[bytes], progress: Progress) -> None:
        """Take in lines that were added behind the last record."""
        for line in lines:
            self.ends.append(self.end + len(line))
        self.mark = lines[-1][-MARK_LENGTH:]
        self.progress = progress


def lines_of(records: Sequence[Record], layout: Layout, position: int, progress: Progress) -> list[bytes]:
    """The lines of records that are written together behind a position; the progress goes on with them.

    Raises:
        StoreError: If a record is no JSON.
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
