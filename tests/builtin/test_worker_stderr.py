"""What workers write to stderr: shown by the process that runs the study, as it comes."""

from __future__ import annotations

import io
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpt_core import Int, Study
from hpt_core.builtin import worker_stderr
from hpt_core.builtin.worker_stderr import WorkerStderr

EVALUATORS = '''
    import logging, os, pathlib, sys, time

    def warns(params):
        logging.getLogger("hpt").warning("trial %d is odd", params["x"])
        sys.stderr.write(f"and {params['x']} has no end of line")
        return params["x"]

    def waits(params):
        """1 if what it writes is seen while it runs."""
        print("I am here", file=sys.stderr)
        heard = pathlib.Path(__file__).with_name("heard")
        for _ in range(2000):
            if heard.exists():
                return 1
            time.sleep(0.01)
        return 0

    def speaks_german(params):
        print("gr\u00fcn", file=sys.stderr)
        return params["x"]

    def dies(params):
        print("the last words", file=sys.stderr, flush=True)
        os._exit(3)
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    """Runs a study of three trials with one of the functions above, in worker processes."""
    module = f"evaluators_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(EVALUATORS))
    monkeypatch.syspath_prepend(tmp_path)

    def run(name: str, **given: Any) -> Study:
        study = Study({"x": Int(0, 2)}, sampler="grid", seed=0, max_failures=9, **given)
        study.run({"use": "function", "call": f"{module}:{name}"}, workers=2)
        return study

    return run


def test_the_stderr_of_trials_is_shown_once(run: Callable[..., Study], capsys: pytest.CaptureFixture[str]) -> None:
    run("warns")
    shown = capsys.readouterr().err
    for x in range(3):
        assert shown.count(f"trial {x} is odd\n") == 1
        assert shown.count(f"and {x} has no end of line\n") == 1


def test_stderr_is_shown_while_a_trial_runs(
    run: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Listener(io.StringIO):
        def write(self, text: str) -> int:
            if "I am here" in text:
                (tmp_path / "heard").touch()
            return len(text)

    monkeypatch.setattr(sys, "stderr", Listener())
    assert [trial.value for trial in run("waits").trials] == [1.0, 1.0, 1.0]


def test_the_stderr_of_a_trial_that_dies_is_shown_and_recorded(
    run: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    failures = [trial.failure for trial in run("dies").trials]
    assert [failure and failure.detail for failure in failures] == ["the last words"] * 3
    assert capsys.readouterr().err.count("the last words\n") == 3


@pytest.mark.parametrize("stderr", [None, "closed", "broken"])
def test_a_process_without_a_usable_stderr_shows_none(
    run: Callable[..., Study], stderr: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise RuntimeError(text)

    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", {None: None, "closed": closed, "broken": Broken()}[stderr])
    assert [trial.value for trial in run("warns").trials] == [0.0, 1.0, 2.0]


def test_stderr_is_shown_whatever_its_encoding(
    run: Callable[..., Study], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    run("speaks_german")
    assert capsys.readouterr().err.splitlines() == ["gr\u00fcn"] * 3


# --- what is shown of the file ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        pytest.param([b"one\ntw", b"o\n"], ["one\n", "two\n"], id="whole lines"),
        pytest.param([b"\r10 %", b"\r20 %", b"\r30 %"], ["\r", "10 %\r", "20 %\r"], id="a progress bar"),
        pytest.param([b"gr\xc3", b"\xbcn\n"], ["", "gr\u00fcn\n"], id="a character in two pieces"),
        pytest.param([b"\xff\n"], ["\ufffd\n"], id="no UTF-8"),
        pytest.param([b"x" * 100, b"x\n"], ["x" * 100 + "\n", "x\n"], id="a very long line"),
        pytest.param([b"x" * 60 + b"\n" + b"y" * 50, b"y\n"], ["x" * 60 + "\n", "y" * 51 + "\n"], id="much at once"),
    ],
)
def test_new_output_is_shown_by_line(
    pieces: list[bytes],
    shown: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_stderr, "_PART", 100)
    stderr = WorkerStderr(tmp_path / "stderr")
    seen = []
    for piece in pieces:
        with stderr.path.open("ab") as file:
            file.write(piece)
        stderr.show()
        seen.append(capsys.readouterr().err)
    assert seen == shown


def test_the_rest_is_shown_in_parts_of_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Stderr(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

        def flush(self) -> None:
            written.append("rich shows what is flushed as a line of its own")

    monkeypatch.setattr(sys, "stderr", Stderr())
    monkeypatch.setattr(worker_stderr, "_PART", 100)
    stderr = WorkerStderr(tmp_path / "stderr")
    lines = [f"{number:09d}\n" for number in range(25)]
    stderr.path.write_text("".join(lines) + "10 %\r20 %")
    stderr.show(rest=True)
    assert written == ["".join(lines[:10]), "".join(lines[10:20]), "".join(lines[20:]) + "10 %\r", "20 %\n"]


def test_clearing_shows_the_rest_and_starts_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stderr = WorkerStderr(tmp_path / "stderr")
    stderr.clear()  # before the worker has created the file
    assert not stderr.path.exists()
    stderr.path.write_text("one\nrest")
    stderr.clear()
    assert capsys.readouterr().err == "one\nrest\n"
    stderr.path.write_text("two\n")
    assert stderr.tail() == "two"
    stderr.show()
    assert capsys.readouterr().err == "two\n"
