"""The raw rows, one per run, in a CSV file that several environments append to."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import attrs

__all__ = ["SCALE", "Row", "Rows", "append", "read", "write"]

SCALE = "(scale)"
"""Used in place of an optimiser: the row holds the two ends of a problem's regret scale."""


@attrs.frozen
class Row:
    """One run.

    Attributes:
        family: The problem's family.
        problem: Its name.
        optimiser: The optimiser, or `SCALE`.
        version: The version of the optimiser's package.
        seed: The seed.
        workers: Number of simultaneous simulated evaluations.
        first: How the first point was chosen.
        seconds: CPU seconds of the optimiser itself.
        values: The values in the order in which they became known.
    """

    family: str
    problem: str
    optimiser: str
    version: str
    seed: int
    workers: int
    first: str
    seconds: float
    values: list[float]

    @property
    def key(self) -> tuple[str, str, int, int]:
        """The identity of a run, which is run only once."""
        return self.problem, self.optimiser, self.seed, self.workers

    def cells(self) -> list[str]:
        """The row as cells of the file."""
        *rest, seconds, values = attrs.astuple(self)
        return [*map(str, rest), f"{seconds:.3f}", json.dumps([float(f"{value:.7g}") for value in values])]


Rows = dict[tuple[str, str, int, int], Row]
"""(problem, optimiser, seed, workers) -> row."""

_FIELDS = [field.name for field in attrs.fields(Row)]


def read(path: Path) -> Rows:
    """The rows of a file, compressed or not; none if the file does not exist."""
    if not path.exists():
        return {}
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        found = [
            Row(
                cells["family"],
                cells["problem"],
                cells["optimiser"],
                cells["version"],
                int(cells["seed"]),
                int(cells["workers"]),
                cells["first"],
                float(cells["seconds"]),
                json.loads(cells["values"]),
            )
            for cells in csv.DictReader(file)
        ]
    return {row.key: row for row in found}


def append(path: Path, rows: Rows, row: Row) -> None:
    """Append one row to ``rows`` and to the file.

    Raises:
        SystemExit: If the file holds runs with another kind of first point, which are not comparable.
    """
    if any(other.first != row.first for other in rows.values()):
        raise SystemExit(f"{path} holds runs with another --first than {row.first!r}: choose another file with --out.")
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(_FIELDS)
        writer.writerow(row.cells())
    rows[row.key] = row


def write(path: Path, rows: Rows) -> None:
    """Write all rows, sorted and compressed, so that the same rows give the same file."""
    lines = [_FIELDS, *(row.cells() for _, row in sorted(rows.items()))]
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
        text = io.TextIOWrapper(packed, newline="", write_through=True)
        csv.writer(text).writerows(lines)
        text.flush()
