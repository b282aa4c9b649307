"""Records and names of studies, as the database has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from hpt_core import Record, StoreError
from hpt_store_postgres.problems import damaged_record

__all__ = ["checked_name", "decoded", "encoded"]


def checked_name(study: str) -> str:
    """The name of a study.

    Raises:
        StoreError: If it is no text that PostgreSQL can store.
    """
    try:
        study.encode()
    except UnicodeEncodeError as err:
        raise StoreError(f"The name of a study must be valid Unicode text. Got {study!r}.") from err
    if "\0" in study:
        raise StoreError(f"The name of a study must not contain the character NUL. Got {study!r}.")
    return study


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def encoded(record: Record) -> str:
    r"""A record as JSON in ASCII, so that the encoding of the database does not matter; NUL is ``\u0000``."""
    try:
        return _encode(record)
    except (TypeError, ValueError, RecursionError) as err:
        msg = f"A record must hold JSON values only, and finite numbers: {err}. Got {record!r:.200}."
        raise StoreError(msg) from err


def _refuse(constant: str) -> float:
    msg = f"{constant} is not a finite number"
    raise ValueError(msg)


_decode = json.JSONDecoder(parse_constant=_refuse).decode


def decoded(rows: Sequence[tuple[int, str]], after: int, study: str, where: str) -> list[Record]:
    """Decode rows of (position, body), which must follow position ``after`` without a gap.

    Raises:
        StoreError: If one is missing, or no JSON object.
    """
    if not rows:
        return []
    if rows[0][0] != after + 1 or rows[-1][0] != after + len(rows):
        missing = next(position for position, (seq, _) in enumerate(rows, after + 1) if seq != position)
        raise damaged_record(where, study, missing, "it is missing")
    with suppress(TypeError, ValueError, RecursionError):
        records: list[Record] = _decode(f"[{','.join(body for _, body in rows)}]")
        if len(records) == len(rows) and all(type(record) is dict for record in records):
            return records
    return [_decoded_alone(seq, body, study, where) for seq, body in rows]


def _decoded_alone(seq: int, body: str, study: str, where: str) -> Record:
    """Decode one row, so that an error names the row that is damaged."""
    try:
        record = _decode(body)
    except (TypeError, ValueError, RecursionError) as err:
        raise damaged_record(where, study, seq, f"it is not valid JSON ({err})") from err
    if not isinstance(record, dict):
        raise damaged_record(where, study, seq, "it is not a JSON object")
    return record
