"""Changed code and data are reported when a study is resumed."""

from __future__ import annotations

import functools
import hashlib
import linecache
import math
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from hpt_core import Float, Study, UsageError
from hpt_core.builtin.memory import MemoryStore
from hpt_core.study.sources import digests


def here(params: dict[str, Any]) -> float:
    return float(params["x"])


@attrs.define
class Wrapping:
    sources: list[Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a script, a module and data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "code_of_user", None)  # so that it is removed at the end
    del sys.modules["code_of_user"]
    for name in ("script.py", "code_of_user.py", "data/rows.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("code_of_user:train", ["code_of_user.py"]),
        ({"use": "code_of_user:load", "seed": 3}, ["code_of_user.py"]),
        ({"file": "data/rows.csv", "target": "y"}, ["data/rows.csv"]),
        (Path("data/rows.csv"), ["data/rows.csv"]),
        ("python script.py --lr {lr}", ["script.py"]),
        (["python", "./script.py", "--lr={lr}"], ["script.py"]),
        ([["scale", "sklearn.preprocessing:StandardScaler"], Wrapping([["code_of_user:f"]])], ["code_of_user.py"]),
        (["no_such_module:f", "code_of_user.no_such:f", "a:b:c", "x" * 5000, "\0", "", ".", "data", None, 3, math], []),
        ([math.sqrt, len, functools.partial(len), lambda: 0, {"a": [1, {"b": None}]}], [__file__]),
        (here, [__file__]),
        (functools.partial(here, {}), [__file__]),
        (Wrapping, [__file__]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_finds_the_files_of_the_user(sources: object, expected: list[str]) -> None:
    found = digests(sources)
    assert list(found) == expected
    for name, digest in found.items():
        assert hashlib.sha256(Path(name).read_bytes()).hexdigest().startswith(digest)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that is in use")
def test_a_study_runs_although_the_current_directory_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert digests(here) == {}
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    assert study.run(here, trials=2) == "all 2 trials were started"
    with pytest.raises(UsageError, match="the current directory does not exist any more"):
        study.run(here, trials=4, workers=2)


def resumed(call: Any, store: MemoryStore, trials: int) -> None:
    Study({"x": Float(0, 1)}, name="s", store=store, sampler="random", seed=0).run(call, trials=trials)


def test_a_changed_file_is_reported_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, module = MemoryStore(), folder / "code_of_user.py"
    module.write_text("def train(params):\n    return params['x']\n")
    call = {"use": "function", "call": "code_of_user:train"}
    resumed(call, store, 2)
    resumed(call, store, 3)
    assert not caplog.records
    module.write_text("def train(params):\n    return params['x'] + 1000\n")
    sys.modules.pop("code_of_user")
    resumed(call, store, 4)
    assert "last run with other software or files" in caplog.text
    assert "still count: code_of_user.py has changed." in caplog.text
    caplog.clear()
    resumed(call, store, 5)
    assert not caplog.records


def cell(text: str, execution: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The function ``train`` of a cell, run as ipykernel does: under the name of a file that does not exist."""
    name, found = f"/tmp/ipykernel_1/{execution}.py", {"__name__": "__main__"}
    monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
    exec(compile(text, name, "exec"), found)
    return found["train"]


def test_each_cell_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = (cell(f"def train(params):\n    return {i}\n", i, monkeypatch) for i in range(3))
    first, *others = ([*digests(functions).values()] for functions in ([one, two], [three, two], [one, three]))
    assert len(first) == 1
    assert first not in others


def test_installed_code_in_a_traceback_is_no_cell() -> None:
    linecache.getlines(functools.__file__)  # as a traceback does
    assert functools.__file__ in linecache.cache
    assert digests(functools.wraps) == {}


def test_a_changed_cell_of_a_notebook_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, text = MemoryStore(), "def train(params):\n    return params['x']\n"
    resumed(cell(text, 1, monkeypatch), store, 2)
    resumed(cell(text, 2, monkeypatch), store, 3)
    assert not caplog.records
    resumed(cell(text.replace("'x']", "'x'] + 1000"), 3, monkeypatch), store, 4)
    assert "still count: the notebook's cell has changed." in caplog.text
    caplog.clear()
    resumed(cell(text.replace("'x']", "'x'] + 1000"), 4, monkeypatch), store, 5)
    assert not caplog.records
