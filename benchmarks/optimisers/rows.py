"""The raw rows: one per run, in a CSV file that several environments add to."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import attrs

__all__ = ["SCALE", "Row", "Rows", "append", "read", "write"]

SCALE = "(scale)"
"""In place of an optimiser: the row holds the ends of a problem's regret."""


@attrs.frozen
class Row:
    """One run.

    Attributes:
        family: The problem's family.
        problem: Its name.
        optimiser: Who ran, or `SCALE`.
        version: Of the optimiser's package.
        seed: The seed.
        workers: How many simulated evaluations ran at the same time.
        first: What the first point was.
        seconds: CPU seconds of the optimiser itself.
        values: In the order in which they became known.
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
        """What is run once only."""
        return self.problem, self.optimiser, self.seed, self.workers

    def cells(self) -> list[str]:
        """The row as it is written."""
        *rest, seconds, values = attrs.astuple(self)
        return [*map(str, rest), f"{seconds:.3f}", json.dumps([float(f"{value:.7g}") for value in values])]


Rows = dict[tuple[str, str, int, int], Row]
"""(problem, optimiser, seed, workers) -> row."""

_FIELDS = [field.name for field in attrs.fields(Row)]


def read(path: Path) -> Rows:
    """The rows of a file, packed or not; none where there is no file."""
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
    """Add one row, to the file as well.

    Raises:
        SystemExit: If the file holds runs that began at another first point, as the two must not be compared.
    """
    if any(other.first != row.first for other in rows.values()):
        raise SystemExit(f"{path} holds runs with another --first than {row.first!r}: name another file with --out.")
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(_FIELDS)
        writer.writerow(row.cells())
    rows[row.key] = row


def write(path: Path, rows: Rows) -> None:
    """All rows, sorted, packed so that the same rows make the same file."""
    lines = [_FIELDS, *(row.cells() for _, row in sorted(rows.items()))]
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
        import io

        text = io.TextIOWrapper(packed, newline="", write_through=True)
        csv.writer(text).writerows(lines)
        text.flush()
