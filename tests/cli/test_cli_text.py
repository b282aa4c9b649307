"""What the CLI prints: numbers, tables, configurations to paste, files for other programs."""

from __future__ import annotations

import ast
import csv
import io
import json
import shlex
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpt_core
from hpt_core import Failure, Float, PluginError, Study, Suggestion
from hpt_core.cli import export_formats, problems, render, text
from hpt_core.cli.formats import FORMATS
from hpt_core.cli.session import Session
from hpt_core.cli.tally import Tally

scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = scalars | texts | st.lists(st.integers() | texts, max_size=3)
configurations = st.dictionaries(texts.filter(bool), values, max_size=4)


# --- errors ---------------------------------------------------------------------------------------


def test_a_plugin_whose_path_begins_with_that_of_the_core_sees_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = f"{Path(hpt_core.__file__).parent}_more.py"
    scope: dict[str, Any] = {}
    exec(compile("def suggest():\n    raise KeyError('here')\n", file, "exec"), scope)
    with pytest.raises(KeyError) as caught:
        scope["suggest"]()
    cause = caught.value.with_traceback(caught.tb.tb_next)  # as if the core had called it
    error = PluginError("The sampler failed.")
    error.__cause__ = cause
    assert problems.report(error, Session()) == 3
    printed = capsys.readouterr().err.splitlines()
    assert printed[1:] == [
        "Traceback (most recent call last):",
        f'  File "{file}", line 2, in suggest',
        "KeyError: 'here'",
    ]
    assert problems.report(cause, Session()) == problems.INTERNAL_ERROR
    assert f"Raised through {file}, line 2, in suggest." in capsys.readouterr().err


# --- studies --------------------------------------------------------------------------------------


def test_sources_are_named_for_the_user_and_a_single_sampler_is_not_named() -> None:
    def sources(*recorded: tuple[str, int]) -> str:
        study = Study({"x": Float(0.0, 1.0)}, sampler="random", duplicates="allow")
        for source, count in recorded:
            for _ in range(count):
                study.add_trial(Suggestion({"x": 0.5}, {"why": "in turn"}, source), 1.0)
        study.invalidate(0, "wrong")
        return render.sources(study.history)

    assert sources(("sampler", 3)) == sources(("given", 2), ("sampler", 2)) == sources(("bayes", 1)) == ""
    by_core = "by the core (at random, as the sampler gave known or forbidden points) (in turn)"
    assert sources(("sampler", 3), ("fill", 1)) == f"2 by the sampler, 1 {by_core}"
    assert sources(("warm-start", 3), ("sampler", 1)) == "2 by the warm start, 1 by the sampler (in turn)"
    assert sources(("given", 2), ("bayes", 2), ("seq/tpe", 1)) == "1 by the user, 2 by bayes, 1 by seq/tpe (in turn)"


def test_the_display_without_a_budget_counts_trials_in_words() -> None:
    live = pytest.importorskip("hpt_core.cli.live", reason="rich is not installed")
    study = Study({"x": Float(0.0, 1.0)}, sampler="random")
    shown = []
    for _ in range(3):
        shown.append(str(live.LiveProgress(Tally(study.history, None))._head()).partition("  ")[0])
        study.tell(study.ask(), 1.0)
    assert shown == ["0 trials", "1 trial", "2 trials"]


def test_the_display_estimates_the_time_left_from_the_trials_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("hpt_core.cli.tally.time", SimpleNamespace(monotonic=lambda: now))
    study = Study({"x": Float(0.0, 1.0)}, sampler="random")
    study.add_trial({"x": 0.5}, 1.0)
    study.add_trial({"x": 0.6}, Failure("error", ""))
    study.invalidate(study.add_trial({"x": 0.65}, Failure("error", "")).number, "wrong data")
    tally = Tally(study.history, 8)
    assert tally.left is None
    for result in (2.0, 0.5, Failure("error", ""), Failure("timeout", "")):
        trial = study.ask()
        tally.started(trial)
        assert (tally.done, list(tally.running)) == (trial.number - 1, [trial.number])
        assert tally.finished(study.tell(trial, result)) == (result == 0.5)
    assert (tally.done, tally.running, tally.failures) == (6, {}, {"error": 2, "timeout": 1})
    now = 110.0
    assert tally.elapsed == 10.0
    assert tally.left == 2 * 10.0 / 4
    study.add_trial({"x": 0.7}, 3.0)
    study.add_trial({"x": 0.8}, 3.0)
    study.add_trial({"x": 0.9}, 3.0)
    assert tally.left == 0.0


def test_output_of_trials_is_no_markup_to_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was an error if it was flushed without an end of line and had a path in brackets."""
    live = pytest.importorskip("hpt_core.cli.live", reason="rich is not installed")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with live.LiveProgress(Tally(Study({"x": Float(0.0, 1.0)}, sampler="random").history, None)):
        assert sys.stderr is not terminal
        sys.stderr.write("[/data/train.csv] [b]1[/b] :smile:")
        sys.stderr.flush()
    assert "[/data/train.csv] [b]1[/b] :smile:" in terminal.getvalue()


# --- text -----------------------------------------------------------------------------------------


@given(st.text())
def test_no_control_character_reaches_a_terminal(given_text: str) -> None:
    shown = text.clean(given_text)
    assert all(c.isprintable() or c in "\n\t" for c in shown)


@given(texts.filter(str.isprintable))
def test_plain_text_is_unchanged(given_text: str) -> None:
    assert text.clean(given_text) == given_text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0421, "0.042 s"),
        (3.14159, "3.1 s"),
        (12.3, "12 s"),
        (59.6, "60 s"),
        (60, "1 min 00 s"),
        (245, "4 min 05 s"),
        (7800, "2 h 10 min"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_durations_as_text(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1 / 3, "0.333333"), (1e-9, "1e-09"), (True, "true"), (None, "null"), ("a b", "a b"), ([1, "x"], '[1, "x"]')],
)
def test_values_as_text(value: object, shown: str) -> None:
    assert text.number(value) == shown


def test_a_table_is_aligned_and_numbers_are_right_aligned() -> None:
    found = text.table(["name", "n"], [["a", "5"], ["日本", "123"], ["x\ny", ""]], "  ")
    assert found.splitlines() == ["  name    n", "  a       5", "  日本  123", "  x y"]


def test_a_table_is_cut_to_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    rows = [["b", "a" * 30], ["b", "日" * 15]]
    assert max(map(len, text.table(["x", "y"], rows).splitlines())) > 20  # nothing is cut in a pipe
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    lines = text.table(["x", "y"], rows).splitlines()
    assert [len(lines[1]), lines[1][-1]] == [20, "…"]
    assert len(lines[2]) == 12  # each of these characters is two columns wide


def test_a_wide_column_does_not_hide_the_others_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    found = text.table(["parameter", "value"], [["a" * 30, "0.5"], ["日" * 15, "x"]])
    assert found.splitlines() == ["parameter   value", "aaaaaaaaa…  0.5", "日日日日…   x"]
    fits = [["a" * 15, "0.5"]]
    assert text.table(["p", "v"], fits).splitlines() == ["p" + " " * 18 + "v", "a" * 15 + "  0.5"]


def test_the_last_column_continues_on_further_lines_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    rows = [["n", "one two three four five"], ["seed", ""], ["日", "日" * 12]]
    in_pipe = text.table(["o", "meaning"], rows, wrap=True)
    assert in_pipe == text.table(["o", "meaning"], rows)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    lines = text.table(["o", "meaning"], rows, wrap=True).splitlines()
    assert lines[:4] == ["o     meaning", "n     one two three four", "      five", "seed"]
    assert lines[4:] == ["日    " + "日" * 9, "      " + "日" * 3]  # such a character takes two columns
    monkeypatch.setenv("COLUMNS", "20")
    assert text.table(["o", "meaning"], rows, wrap=True) == text.table(["o", "meaning"], rows)  # too little room


def test_a_long_line_is_shortened() -> None:
    assert text.shorten("one two three", 20) == "one two three"
    assert text.shorten("one\n two   three", 8) == "one two…"


def test_a_space_as_text() -> None:
    from hpt_core.space.space import Categorical, Constant, Float, Int, Ordinal, Space

    space = Space(
        {
            "model": Categorical("svm", "forest"),
            "C": Float(1e-3, 1e3, log=True, default=1.0, when={"model": "svm"}),
            "depth": Int(2, 30, step=2, when={"model": ["forest"]}),
            "size": Ordinal("s", "m", "l"),
            "fixed": Constant(3),
        }
    )
    assert render.size_of(space) == "5 parameters, 2 of them conditional, infinite"
    assert render.space_table(space).splitlines() == [
        "  parameter  type         values              default  active when",
        "  model      categorical  svm, forest",
        "  C          float        0.001 to 1000, log        1  model is svm",
        "  depth      int          2 to 30, step 2              model is forest",
        "  size       ordinal      s < m < l",
        "  fixed      constant     3",
    ]
    plain = Space({"x": Int(1, 3)})
    assert render.size_of(plain) == "1 parameter, 3 configurations"
    assert render.space_table(plain).splitlines() == ["  parameter  type  values", "  x          int   1 to 3"]


def test_a_thousand_choices_are_counted_and_not_listed() -> None:
    from hpt_core.space.space import Categorical, Space

    _, line = render.space_table(Space({"word": Categorical(*(f"w{i}" for i in range(1500)))})).splitlines()
    assert line.startswith("  word       categorical  w0, w1, w2,")
    assert line.endswith("… (1500 choices)")
    assert len(line) < 160


# --- configurations to paste ----------------------------------------------------------------------


@given(configurations)
def test_json_and_python_read_back_the_same(params: dict[str, Any]) -> None:
    assert json.loads(FORMATS["json"](params)) == params
    assert ast.literal_eval(FORMATS["python"](params)) == params


@given(configurations)
def test_toml_reads_back_the_same_except_null(params: dict[str, Any]) -> None:
    found = FORMATS["toml"](params)
    assert tomllib.loads(found) == {name: value for name, value in params.items() if value is not None}
    assert text.clean(found) == found  # control characters are already escaped by TOML's rules


def test_toml_has_a_list_with_null_as_a_comment() -> None:
    found = FORMATS["toml"]({"a b": ["x\n", None], "c": None, "d": [1]})
    assert found == '# "a b" is ["x\\n", null]\n# c is null\nd = [1]'
    assert tomllib.loads(found) == {"d": [1]}


@given(configurations)
def test_arguments_survive_a_shell(params: dict[str, Any]) -> None:
    arguments = shlex.split(FORMATS["args"](params))
    assert len(arguments) == len(params)
    for argument, (name, value) in zip(arguments, params.items(), strict=True):
        assert argument.startswith(f"--{name}=")
        found = argument.removeprefix(f"--{name}=")
        assert found == value if isinstance(value, str) else json.loads(found) == value


# --- files ----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(), texts, values), max_size=4))
def test_csv_has_no_formula_and_reads_back(cells_of: list[tuple[Any, ...]]) -> None:
    rows = [dict(zip(("number", "state", "params.a"), cells, strict=True)) for cells in cells_of]
    found = list(csv.reader(io.StringIO(export_formats.as_csv(rows).decode(), newline="")))
    if not rows:
        return
    assert found[0] == ["number", "state", "params.a"]
    for row, cells in zip(rows, found[1:], strict=True):
        assert int(cells[0]) == row["number"]  # a negative number is not a formula
        for value, cell in zip([row["state"], row["params.a"]], cells[1:], strict=True):
            if isinstance(value, str):
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
                assert cell in (value, f"'{value}")
            else:
                assert cell == "" if value is None else json.loads(cell) == value


@pytest.mark.parametrize("payload", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"])
def test_csv_neutralises_formulas_in_cells_and_headers(payload: str) -> None:
    content = export_formats.as_csv([{payload: payload, "x": -1.5}]).decode()
    header, cells = csv.reader(io.StringIO(content, newline=""))
    assert header == [f"'{payload}", "x"]
    assert cells == [f"'{payload}", "-1.5"]


def test_csv_groups_metrics_that_only_later_trials_have() -> None:
    rows = [{"number": 0, "params.a": 1, "reason": ""}, {"number": 1, "params.a": 1, "metrics.m": 2.5, "reason": ""}]
    assert export_formats.as_csv(rows).decode().splitlines() == [
        "number,params.a,metrics.m,reason",
        "0,1,,",
        "1,1,2.5,",
    ]
