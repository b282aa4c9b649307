"""Stores that were damaged by hand, and the commands that read them: the truth, or a message; never a traceback."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpt_core import Categorical, Failure, Float, Int, Params, Stop, StoreError, Study
from hpt_core.cli.group import hpt
from hpt_core.plugins.plugins import default_plugins

COMMANDS = (("show", "--json"), ("best",), ("export",), ("verify",), ("studies",))
PLACES = 200
_CAPBSET_DROP, _DAC_OVERRIDE, _DAC_READ_SEARCH = 24, 1, 2  # of Linux
Answers = list[tuple[int, str]]


def evaluate(params: Params) -> dict[str, float]:
    return {"accuracy": params["x"], "ms": params["n"]}


def study_in(store: str) -> None:
    """A study with records of nearly all kinds."""
    space = {"x": Float(0, 1, default=0.5), "n": Int(1, 9), "m": Categorical("a", "b")}
    study = Study(space, objective={"accuracy": "maximize"}, sampler="random", store=store, seed=3)
    study.run(evaluate, trials=6)
    stopped = study.ask()
    study.report(stopped, 1, 0.5, ms=3.0)
    study.tell(stopped, Stop("enough"))
    study.tell(study.ask(), Failure("error", "no", "trace"))
    study.enqueue({"x": 0.25, "n": 3, "m": "a"})
    study.invalidate(2, "wrong")
    study.close()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpt_store_csv.log._SETTLING_SECONDS", 0)
    log = logging.getLogger("hpt")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


def answers(store: str) -> Answers:
    """Exit code and output of each command; an error has a message of one paragraph and one of the documented codes."""
    found = []
    for command in COMMANDS:
        result = CliRunner().invoke(hpt, [*command, "--store", store], prog_name="hpt")
        assert result.exit_code in {0, 1, 2, 4}, (command, result.stderr)
        assert "Traceback" not in result.stderr
        if result.exit_code not in {0, 1}:
            assert result.stderr.startswith("Error: ")
            assert store in result.stderr
            assert len(result.stderr) < 1000
        found.append((result.exit_code, result.stdout))
    return found


def damaged(content: bytes, dice: random.Random) -> bytes:
    """The content with some bytes changed, gone, doubled or cut off."""
    at, size = dice.randrange(len(content)), dice.randrange(1, 40)
    before, hit, behind = content[:at], content[at : at + size], content[at + size :]
    return dice.choice(
        [
            before + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :],
            before + dice.randbytes(len(hit)) + behind,
            before + bytes(len(hit)) + behind,
            before + behind,
            before + hit + hit + behind,
            before,
        ]
    )


def answers_when_damaged(path: Path) -> Iterator[Answers]:
    """What is answered while the file is damaged, at one place after another."""
    content, dice = path.read_bytes(), random.Random(0)
    for _ in range(PLACES):
        path.write_bytes(damaged(content, dice))
        yield answers(path.name)


def test_a_damaged_csv_file_is_told_or_gives_what_is_before_a_torn_end() -> None:
    study_in("runs.csv")
    path = Path("runs.csv")
    lines = path.read_bytes().splitlines(keepends=True)
    true: list[Answers] = []
    for count in range(len(lines) + 1):
        path.write_bytes(b"".join(lines[:count]))
        true.append(answers("runs.csv"))
    untold = [found for found in answers_when_damaged(path) if found[0][0] != 4]
    assert all(found in true for found in untold)
    assert 0 < len(untold) < 100


def test_a_damaged_database_is_told_or_has_all_its_records() -> None:
    """SQLite keeps no checksums, so that another digit in a number cannot be told; a record that is missing can be."""
    study_in("hpt.db")
    count = len(records_in("hpt.db"))
    untold = [len(records_in("hpt.db")) for found in answers_when_damaged(Path("hpt.db")) if found[0][0] != 4]
    assert set(untold) == {count}
    assert len(untold) < PLACES - 50


def records_in(location: str) -> list[Any]:
    store = default_plugins().make_store(location)
    try:
        return list(store.read("study"))
    finally:
        store.close()


def test_no_byte_of_a_page_head_hides_records() -> None:
    """A key that is out of order ends a search early, for which SQLite has no error."""
    study_in("hpt.db")
    path, dice = Path("hpt.db"), random.Random(0)
    content, records = path.read_bytes(), records_in("hpt.db")
    hidden = 0
    for page in range(0, len(content), 4096):
        for place in range(page, page + 60):
            changed = bytearray(content)
            changed[place] = dice.randrange(256)
            path.write_bytes(changed)
            try:
                hidden += len(records_in("hpt.db")) not in {len(records), 0}
            except StoreError:
                continue
    assert hidden == 0


NONSENSE: Sequence[Any] = ("abc", "", -1, 10**400, 1.5, None, True, [], {}, ["x"], {"a": 1}, 1e300)


def places(value: Any, within: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*within, key)
        yield from places(part, (*within, key))


def test_nonsense_in_a_record_is_told_or_shown() -> None:
    study_in("hpt.db")
    content, dice = Path("hpt.db").read_bytes(), random.Random(0)
    for _ in range(100):
        Path("hpt.db").write_bytes(content)
        connection = sqlite3.connect("hpt.db")
        seq, body = dice.choice(connection.execute("SELECT seq, body FROM events ORDER BY seq").fetchall())
        record = json.loads(body)
        *way, last = dice.choice(list(places(record)))
        part = record
        for key in way:
            part = part[key]
        part[last] = dice.choice(NONSENSE)
        connection.execute("UPDATE events SET body = ? WHERE seq = ?", (json.dumps(record), seq))
        connection.commit()
        connection.close()
        answers("hpt.db")


@pytest.mark.parametrize("store", ["runs.csv", "hpt.db"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"name,value\nx,1\n"),
        lambda path: path.write_bytes(bytes(8192)),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["empty", "another file", "zeros", "its head", "a folder"],
)
def test_what_is_no_store_is_told(store: str, spoil: Callable[[Path], Any]) -> None:
    study_in(store)
    spoil(Path(store))
    assert {code for code, _ in answers(store)[:4]} == {4}


def without_the_right_to_read_everything() -> None:
    """Give up what root may do beyond its own files' modes: `capabilities(7)`, in force from the next exec on."""
    if os.geteuid() == 0:
        for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
            assert ctypes.CDLL(None).prctl(_CAPBSET_DROP, capability, 0, 0, 0) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a file there has no mode that keeps its owner out")
@pytest.mark.parametrize("store", ["runs.csv", "hpt.db"])
def test_a_file_that_may_not_be_read_is_told(store: str) -> None:
    study_in(store)
    Path(store).chmod(0)
    program = f"import {__name__.rpartition('.')[2]} as here; print({{code for code, _ in here.answers({store!r})}})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        preexec_fn=without_the_right_to_read_everything,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("{4}\n", "")
