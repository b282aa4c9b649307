"""The trials in the formats for other programs: CSV, JSON, JSON Lines, Parquet."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpt_core.errors import UsageError

if TYPE_CHECKING:
    from hpt_core.cli.reading import Opened
    from hpt_core.history.history import History

__all__ = ["as_csv", "as_json", "as_json_lines", "as_parquet"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUOTED = re.compile(r'[,"\r\n]')

Row = Mapping[str, Any]


def as_csv(rows: Sequence[Row], known: Sequence[str] = ()) -> bytes:
    """CSV with a header, for spreadsheets: the columns of the rows, or the ``known`` ones if there are no rows.

    Text that a spreadsheet would read as a formula is prefixed with ``'`` (OWASP, "CSV Injection"); numbers are
    unchanged. Other values are written as JSON, None as an empty cell.
    """
    columns = _columns(rows) if rows else known
    lines = [map(_cell, columns), *(map(_cell, map(row.get, columns)) for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines).encode(errors="backslashreplace")


def _columns(rows: Sequence[Row]) -> list[str]:
    """The columns of all rows; metrics that only later trials have are placed next to the other metrics."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    metrics = [name for name in names if name.startswith("metrics.")]
    others = [name for name in names if not name.startswith("metrics.")]
    last = max((i for i, name in enumerate(others) if name.startswith("params.")), default=-1)
    return [*others[: last + 1], *metrics, *others[last + 1 :]]


def _cell(value: Any) -> str:
    if type(value) in (float, int):
        return repr(value)
    if isinstance(value, str):
        text = f"'{value}" if value.startswith(_FORMULA) else value
    else:
        text = "" if value is None else json.dumps(value)
    # Python's csv module would leave a lone carriage return unquoted, which its own reader then refuses
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def as_json(opened: Opened, rows: Iterable[Row]) -> bytes:
    """The JSON document of `hpt trials --json`, with one row per line: Python indents a large document slowly."""
    head = {"schema": "hpt/trials/1", **opened.head, "objectives": opened.history.definition["objectives"]}
    buffer = io.BytesIO()
    buffer.write(json.dumps(head, indent=2, allow_nan=False).removesuffix("\n}").encode() + b',\n  "trials": [')
    separator = "\n    "
    for row in rows:
        buffer.write(f"{separator}{json.dumps(row, allow_nan=False)}".encode())
        separator = ",\n    "
    buffer.write(b"\n  ]\n}\n")
    return buffer.getvalue()


def as_json_lines(rows: Iterable[Row]) -> bytes:
    """One JSON object per line."""
    buffer = io.BytesIO()
    buffer.writelines(json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows)
    return buffer.getvalue()


def as_parquet(history: History) -> bytes:
    """Parquet; a column of mixed types, lists or integers beyond 64 bits becomes text that holds JSON.

    Raises:
        UsageError: If pandas or pyarrow is not installed.
    """
    from hpt_core.history.export import to_dataframe

    frame = to_dataframe(history)
    for name in frame.columns:
        kinds = {type(value) for value in frame[name] if value is not None}
        if frame[name].dtype == object and (len(kinds) > 1 or kinds & {int, list, dict}):
            frame[name] = [v if v is None or isinstance(v, str) else json.dumps(v) for v in frame[name]]
    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer, index=False)
    except ImportError as err:
        msg = "Parquet needs pyarrow: pip install pyarrow."
        raise UsageError(msg) from err
    return buffer.getvalue()
