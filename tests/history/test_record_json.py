"""Records as JSON: what is read is what was written, and what cannot be is refused with its position."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import StoreError, decode_records, encode_record

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def damaged(position: int, cause: str) -> StoreError:
    return StoreError(f"{position}: {cause}")


def same(a: Any, b: Any) -> bool:
    return repr(a) == repr(b)  # unlike ==, it tells 1 from 1.0 and True, -0.0 from 0.0, and the order of keys


@given(records=st.lists(st.dictionaries(st.text(), values), max_size=5), after=st.integers(0, 9))
def test_records_are_read_as_they_were_written(records: list[dict[str, Any]], after: int) -> None:
    bodies = [encode_record(record) for record in records]
    assert all(body.isascii() and "\n" not in body and "\0" not in body for body in bodies)
    assert [json.loads(body) for body in bodies] == records
    assert same(decode_records([*enumerate(bodies, after + 1)], after, damaged), records)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", object(), {1j: 2}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(StoreError, match="A record must hold JSON values only, and finite numbers"):
        encode_record({"a": value})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(2, "{}")], "1: it is missing"),
        ([(1, "{}"), (3, "{}")], "2: it is missing"),
        ([(1, "{}"), (2, "{"), (3, "{}")], "2: it is not valid JSON"),
        ([(1, "{}"), (2, "[]")], "2: it is not a JSON object"),
        ([(1, "{}"), (2, "{}, {}")], "2: it is not valid JSON"),
        ([(1, '{"a": 1},{"b": 2}'), (2, "")], "1: it is not valid JSON"),
        ([(1, '{"a": NaN}')], "1: it is not valid JSON (NaN is not a finite number)"),
    ],
)
def test_the_damaged_record_is_named(rows: list[tuple[int, str]], message: str) -> None:
    with pytest.raises(StoreError) as caught:
        decode_records(rows, 0, damaged)
    assert str(caught.value).startswith(message)
