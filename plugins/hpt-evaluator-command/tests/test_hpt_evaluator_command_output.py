"""What a command prints: lines in bounded memory, reports, results."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Report
from hpt_evaluator_command.output import MAX_LINE, Lines, Tail, report_of, result_of


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [*pieces, data[start:]]


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"\xff", b"long"])), st.lists(st.integers(0, 5)))
def test_lines_equal_those_of_split_for_any_chunks(parts: list[bytes], sizes: list[int]) -> None:
    data, lines = b"".join(parts), Lines()
    got = [line for piece in cut(data, sizes) for line in lines.feed(piece)]
    assert [*got, lines.flush()] == data.split(b"\n")


def test_a_long_line_is_truncated() -> None:
    lines = Lines()
    for _ in range(100):
        assert not list(lines.feed(b"x" * MAX_LINE))
    assert list(lines.feed(b"end\nnext")) == [b"x" * MAX_LINE]
    assert lines.flush() == b"next"


@given(st.binary(max_size=50), st.lists(st.integers(0, 9)))
def test_a_tail_is_the_end_of_the_stream(data: bytes, sizes: list[int]) -> None:
    tail = Tail(10)
    for piece in cut(data, sizes):
        tail.feed(piece)
    assert tail.text(1000) == data[-10:].decode("utf-8", "replace").strip()
    assert len(tail.text(3)) <= 3


numbers = st.floats(allow_nan=False) | st.integers()


@given(st.integers(0, 10**6), numbers, st.dictionaries(st.text(min_size=1), st.floats(allow_nan=False)))
def test_a_report_is_read_as_json_reads_it(step: int, value: float, metrics: dict[str, float]) -> None:
    metrics = {k: v for k, v in metrics.items() if k not in ("step", "value", "loss")}
    for name in ("value", "loss"):
        line = json.dumps({"step": step, name: value, **metrics}).encode()
        assert report_of(b"  " + line + b" \r", ["loss"]) == Report(step, float(value), metrics)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"0.5", b"step 3", b'{"step": 3}', b'{"step": 3.5, "value": 1}', b'{"step": "3", "value": 1}',
        b'{"step": 3, "value": "1"}', b'{"step": true, "value": 1}', b'{"step": 3, "value": null}', b'["step", 3]',
        b'{"step": 3, "value": 1', b'{"step": 3, "value": 1}\xff',
        b'{"step": NaN, "value": 1}', b"{" * 100_000 + b'"step"',
    ],
)  # fmt: skip
def test_a_line_that_is_not_a_report_gives_none(line: bytes) -> None:
    assert report_of(line, ["value"]) is None


def test_the_first_objective_takes_precedence_over_value_and_strings_are_not_metrics() -> None:
    line = b'{"step": 2.0, "acc": 0.5, "value": 3, "note": "hi", "ok": true}'
    assert report_of(line, ["acc", "time"]) == Report(2, 0.5, {"value": 3.0})


def test_a_report_that_is_not_finite_is_left_to_the_core() -> None:
    report = report_of(b'{"step": 1, "value": NaN}', ["value"])
    assert report is not None
    assert math.isnan(report.value)


@given(st.floats(allow_nan=False) | st.integers(-(10**30), 10**30))
def test_a_bare_number_is_read_as_float_does(value: float) -> None:
    assert result_of(f" {value!r}\n".encode(), ["value"]) == float(value)


@pytest.mark.parametrize(
    "text", [b"", b"abc", b"1_000", b"0x10", b"1,5", b"1 2", "\uff11\uff12".encode(), b"true", b"[1]", b"\xff"]
)
def test_text_that_is_not_a_number_is_not_a_result(text: bytes) -> None:
    assert result_of(text, ["value"]) is None


@pytest.mark.parametrize(
    ("text", "objectives", "expected"),
    [
        ('{"value": 1}', ["value"], {"value": 1}),
        ('{"value": 1, "time": 3, "note": "x"}', ["loss"], {"loss": 1, "time": 3.0}),
        ('{"loss": 2, "value": 1}', ["loss"], {"loss": 2, "value": 1.0}),
        ('{"a": 1, "b": 2, "c": 3}', ["a", "b"], {"a": 1, "b": 2, "c": 3.0}),
        ('{"a": "text", "b": 2}', ["a", "b"], {"a": "text", "b": 2}),
        ('{"a": 1}', ["a", "b"], None),
        ('{"value": 1}', ["a", "b"], None),
        ("{}", ["a"], None),
        ('\ufeff{"value": 1}', ["value"], {"value": 1}),
    ],
)
def test_a_json_object_is_a_result_if_it_has_the_objectives(
    text: str, objectives: list[str], expected: dict[str, Any] | None
) -> None:
    assert result_of(text.encode(), objectives) == expected


def test_a_number_of_five_thousand_digits_is_infinite_not_a_crash() -> None:
    assert result_of(b"9" * 5000, ["value"]) == math.inf
    assert report_of(b'{"step": 1, "value": ' + b"9" * 400 + b"}", ["value"]) == Report(1, math.inf)
