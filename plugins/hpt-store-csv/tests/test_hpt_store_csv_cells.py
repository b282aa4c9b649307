"""Cells and names: exact values, nothing that a spreadsheet would run, nothing that a file system would follow."""

from __future__ import annotations

import csv
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpt_core import StoreError
from hpt_store_csv.cells import decode, encode, join, split
from hpt_store_csv.names import file_name, study_name

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")

PAYLOADS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://x.example","y")',
    "+1+1",
    "-1+1",
    "-x",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "\u00a0=1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20x",
    'a";=1+1',
    "a;=1+1",
    'a;"=1+1',
    "a; =1+1",
    "a,=1+1",
    "a|=1+1",
    "a\n=1+1",
    "a\r\n=1+1",
    '"=1+1',
    "'=1+1",
    "\ufeff=1+1",
    "\x00=1+1",
]


def same(a: Any, b: Any) -> bool:
    return repr(a) == repr(b)  # tells 1 from 1.0 and True, and 0.0 from -0.0


@given(JSON)
@example("")
@example("'")
@example("1")
@example("1.0")
@example("-0")
@example("1_000")
@example("\uff11\uff12")
@example("null")
@example("true")
@example("NaN")
@example("\ud800")
@example("a\u2028b\x85c\x7f\x00")
@example(-0.0)
@example(1e16)
@example(5e-324)
@example(10**30)
@example({"b": 1, "a": [{}, [], None]})
def test_a_value_comes_back_from_its_cell(value: Any) -> None:
    cell = encode(value)
    assert cell
    assert cell.isprintable()
    assert same(decode(cell), value)


@given(JSON)
def test_no_cell_of_a_text_is_a_formula_or_a_number(value: Any) -> None:
    cell = encode(value)
    if isinstance(value, str):
        assert not FORMULA.match(cell)
        assert not NUMBER.fullmatch(cell)
    elif FORMULA.match(cell):
        assert NUMBER.fullmatch(cell)  # a negative number, which must stay one


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_program_finds_a_formula_whatever_it_splits_at(payload: str, delimiter: str) -> None:
    line = join([encode(payload), encode({"note": payload}), encode([payload]), encode("end")])
    assert same([decode(cell) for cell in next(split([line]))], [payload, {"note": payload}, [payload], "end"])
    for cell in next(csv.reader([line], delimiter=delimiter)):
        assert not FORMULA.match(cell)


def test_without_the_apostrophe_the_search_for_formulas_finds_them() -> None:
    assert [p for p in PAYLOADS if FORMULA.match(p)] == PAYLOADS[:16]


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])), min_size=2, max_size=6))
def test_the_csv_module_reads_what_is_joined(cells: list[str]) -> None:
    line = join(cells)
    assert next(csv.reader([line], strict=True)) == cells == next(split([line]))


def test_a_cell_may_be_longer_than_the_csv_module_likes() -> None:
    limit = csv.field_size_limit()
    try:
        assert list(split([join(["x" * 500_000, "y"])])) == [["x" * 500_000, "y"]]
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize("cell", ["-x", "-", "-1 ", "[1", "[1] ", '"a', '{"a":NaN}', '{"a":1}x', "--1"])
def test_a_cell_that_is_never_written_is_refused(cell: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode(cell)


@pytest.mark.parametrize("line", ['"a', '"a"b', 'a,"b""'])
def test_a_line_that_is_never_written_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        list(split([line]))


# --- names --------------------------------------------------------------------------------------------------

NAMES = [
    "..",
    ".",
    "",
    "../../etc/passwd",
    "..\\x",
    "%2e%2e",
    "/abs",
    "C:\\x",
    "a\0b",
    "con",
    "NUL",
    "com1.x",
    "a b",
    "é",
]


@given(st.text(max_size=20))
def test_a_study_has_a_file_of_its_own_in_the_folder(name: str) -> None:
    file = file_name(name)
    assert study_name(file) == name
    assert re.fullmatch(r"[A-Za-z0-9_%~-][A-Za-z0-9_.%~-]*\.csv", file)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_mean_something_to_a_file_system_are_escaped(name: str) -> None:
    file = file_name(name)
    assert study_name(file) == name
    assert "%" in file
    assert not file.startswith(".")


@pytest.mark.parametrize("name", ["demo", "digits-svm_2", "v1.2", "Console", "com10"])
def test_plain_names_stay(name: str) -> None:
    assert file_name(name) == f"{name}.csv"


@pytest.mark.parametrize(
    "file", ["a b.csv", "..csv", ".hidden.csv", "con.csv", "%zz.csv", "a%2fb.csv", "notes.txt", "%FF.csv"]
)
def test_a_file_that_no_study_has_is_passed_over(file: str) -> None:
    assert study_name(file) is None


def test_a_name_that_is_too_long_for_a_file_is_refused() -> None:
    assert study_name(file_name("x" * 200)) == "x" * 200
    with pytest.raises(StoreError, match="is too long for a file name"):
        file_name("x" * 5000)
    with pytest.raises(StoreError, match="is too long for a file name"):
        file_name("é" * 100)
