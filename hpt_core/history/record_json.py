"""Records as JSON, for stores that keep one text per record."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hpt_core.errors import StoreError

__all__ = ["decode_records", "encode_record"]

_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def encode_record(record: dict[str, Any]) -> str:
    r"""A record as JSON on one line, in ASCII: other characters, among them NUL, are written as ``\u0000``.

    Raises:
        StoreError: If it has anything but JSON values with finite numbers.
    """
    try:
        return _encode(record)
    except (TypeError, ValueError, RecursionError) as err:
        msg = f"A record must hold JSON values only, and finite numbers: {err}. Got {record!r:.200}."
        raise StoreError(msg) from err


def _refuse(constant: str) -> float:
    msg = f"{constant} is not a finite number"
    raise ValueError(msg)


_decode = json.JSONDecoder(parse_constant=_refuse).decode


def decode_records(
    rows: Sequence[tuple[int, str]], after: int, damaged: Callable[[int, str], StoreError]
) -> list[dict[str, Any]]:
    """Records from rows of (position, JSON), which must follow a position without a gap.

    Args:
        rows: In order of position.
        after: The position before the first row.
        damaged: Makes the error for a record from its position and what is wrong with it.

    Raises:
        StoreError: The error that ``damaged`` makes, for the first record that is missing or is no JSON object.
    """
    if not rows:
        return []
    if rows[0][0] != after + 1 or rows[-1][0] != after + len(rows):
        missing = next(position for position, (seq, _) in enumerate(rows, after + 1) if seq != position)
        raise damaged(missing, "it is missing")
    with suppress(TypeError, ValueError, RecursionError):
        records: list[dict[str, Any]] = _decode(f"[{','.join(body for _, body in rows)}]")  # faster than one by one
        if len(records) == len(rows) and all(type(record) is dict for record in records):
            return records
    return [_decoded_alone(seq, body, damaged) for seq, body in rows]


def _decoded_alone(position: int, body: str, damaged: Callable[[int, str], StoreError]) -> dict[str, Any]:
    """Decode one row, so that an error names the row that is damaged."""
    try:
        record = _decode(body)
    except (TypeError, ValueError, RecursionError) as err:
        raise damaged(position, f"it is not valid JSON ({err})") from err
    if not isinstance(record, dict):
        raise damaged(position, "it is not a JSON object")
    return record
