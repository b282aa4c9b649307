"""Cache: what is cached, sharing between processes, damaged files, and that a hit looks like the evaluation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from hpt_core import Categorical, Report, Space, Stop, Study, TrialContext, UsageError, file_lock
from hpt_evaluator_wrap import result_cache
from hpt_evaluator_wrap.cache import CacheEvaluator

SPACE = {"x": Categorical(1, 2, 3), "c": Categorical("a", [1, 2])}


@attrs.define(kw_only=True)
class Counting:
    """Counts its calls; ``result`` makes the result of each."""

    result: Any = None
    calls: int = 0
    resumable: bool = False

    def evaluate(self, trial: TrialContext) -> Any:
        self.calls += 1
        return trial.params["x"] if self.result is None else self.result(trial)


def run(inner: Any, path: Path | None = None, **settings: Any) -> Study:
    options = {"use": "cache", "evaluator": inner, "path": path}
    study = Study(SPACE, evaluator=options, sampler="random", seed=0, duplicates="allow", **settings)
    study.run(trials=30)
    return study


def test_each_point_is_evaluated_once() -> None:
    inner = Counting()
    study = run(inner)
    assert inner.calls == len(study.history.keys) == 6
    assert all(trial.value == trial.params["x"] for trial in study.trials)


def test_a_cache_file_serves_other_studies(tmp_path: Path) -> None:
    first, second, other = Counting(), Counting(), Counting()
    path = tmp_path / "deep" / "cache.jsonl"
    assert [t.value for t in run(first, path).trials] == [t.value for t in run(second, path).trials]
    assert (first.calls, second.calls) == (6, 0)
    run(other, path, objective={"loss": "minimize"})
    assert other.calls == 6  # the objectives are part of the key
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 12
    assert rows[0].keys() == {"key", "reports", "result"}


def reports(trial: TrialContext) -> Iterator[Report]:
    yield Report(1, trial.params["x"] / 2, {"m": np.float64(3)})
    yield Report(2, np.float32(trial.params["x"]))  # type: ignore[arg-type]


def test_a_hit_gives_the_same_reports(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    for _ in range(2):
        inner = Counting(result=reports)
        study = run(inner, path)
        for trial in study.trials:
            assert [(r.step, r.value, r.metrics) for r in trial.reports] == [
                (1, trial.params["x"] / 2, {"m": 3.0}),
                (2, float(trial.params["x"]), {}),
            ]
    assert inner.calls == 0


@pytest.mark.parametrize("result", [{"value": np.float64(2), "m": 1}, 2, np.float32(2)])
def test_results_of_every_type_are_cached(result: Any, tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    first, second = run(Counting(result=lambda trial: result), path), run(Counting(), path)
    assert [(t.value, t.metrics) for t in first.trials] == [(t.value, t.metrics) for t in second.trials]
    assert second.trials[0].value == 2


BAD = [
    float("nan"),
    "text",
    [],
    (1.0,),
    {"other": 1.0},
    iter(()),
    object(),
    {"value": None},
    {"value": 1.0, "m": None},
    np.bool_(True),
    np.array([1.0]),
    np.ma.masked,
    np.complex128(1.0),
]
BAD_OF_TWO = [1.0, (1.0,), (1.0, 2.0, 3.0), {"a": 1.0}]


@pytest.mark.parametrize(("bad", "good"), [*((bad, 1.0) for bad in BAD), *((bad, (1.0, 2.0)) for bad in BAD_OF_TWO)])
def test_invalid_results_are_not_cached(bad: Any, good: Any) -> None:
    results = iter([bad])
    inner = Counting(result=lambda trial: next(results, good))
    study = run(inner, objective="minimize" if good == 1.0 else {"a": "minimize", "b": "minimize"})
    assert inner.calls == 7
    assert study.trials[0].failure is not None
    assert study.trials[0].failure.kind == "invalid-value"


def test_stopped_and_resumed_trials_are_not_cached() -> None:
    class AtOnce:
        def judge_trial(self, history: Any, trial: Any) -> Stop:
            return Stop("enough")

    stopped = Counting(result=reports)
    run(stopped, stop=[AtOnce()])
    assert stopped.calls == 30
    resumed = Counting(result=reports)
    evaluator = CacheEvaluator(evaluator=resumed)
    for step in (1, 1, 0, 0):
        assert len(list(evaluator.evaluate(TrialContext({"x": 1}, resume_step=step)))) == 2
    assert resumed.calls == 3


def test_a_torn_or_damaged_line_loses_only_that_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cache.jsonl"
    run(Counting(), path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b'{"key": 1}\n', *lines[2:5], lines[5][:-9]]))
    inner = Counting()
    run(inner, path)
    assert inner.calls == 2
    assert "damaged line" in caplog.text
    again = Counting()
    run(again, path)
    assert again.calls == 0


@pytest.mark.parametrize(
    "change",
    [
        {"result": 10**400},
        {"reports": [[1, "x", {}]]},
        {"reports": [["1", 0.5, {}]]},
        {"reports": [[1, 0.5, "x"]]},
        {"reports": [[1, 0.5, {"m": None}]]},
        "[" * 5000,
    ],
)
def test_a_line_with_wrong_values_is_evaluated_again(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "cache.jsonl"
    run(Counting(), path)
    first, *others = path.read_text(encoding="utf-8").splitlines(keepends=True)
    bad = change if isinstance(change, str) else json.dumps({**json.loads(first), **change})
    path.write_text(f"{bad}\n{''.join(others)}", encoding="utf-8")
    inner = Counting()
    study = run(inner, path)
    assert inner.calls == 1
    assert all(trial.value == trial.params["x"] for trial in study.trials)


WRITER = """
import sys
from pathlib import Path
from hpt_core import TrialContext
from hpt_evaluator_wrap.cache import CacheEvaluator

class Inner:
    def evaluate(self, trial):
        return {"value": trial.params["x"], **{f"metric{i}": 1.0 for i in range(50)}}

cache = CacheEvaluator(evaluator=Inner(), path=Path(sys.argv[1]))
for x in range(int(sys.argv[2]), int(sys.argv[2]) + 200):
    list(cache.evaluate(TrialContext({"x": x})))
"""


def test_a_line_that_another_process_is_writing_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    run(Counting(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    inner = Counting()
    evaluator = CacheEvaluator(evaluator=inner, path=path)
    evaluator.check(Space(SPACE), {"value": "minimize"})
    path.write_bytes(whole)
    Study(SPACE, evaluator=evaluator, sampler="random", seed=0, duplicates="allow").run(trials=30)
    assert inner.calls == 0


def test_processes_may_write_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    commands = [[sys.executable, "-c", WRITER, str(path), str(start)] for start in (0, 200)]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait(50) for process in processes] == [0, 0]
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert sorted(row["key"]["params"]["x"] for row in rows) == list(range(400))


def test_a_file_that_cannot_be_read_is_reported_before_the_first_trial(tmp_path: Path) -> None:
    inner = Counting()
    with pytest.raises(UsageError, match=r"evaluator\.path: Cannot read .*: Is a directory"):
        run(inner, tmp_path)
    assert inner.calls == 0


@pytest.mark.parametrize("content", [b"def f(p):\n    return 1\n", b"text without a line end", b"\x00\xff\n"])
def test_a_file_that_is_no_cache_is_refused_and_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_bytes(content)
    inner = Counting()
    with pytest.raises(UsageError, match=r"evaluator\.path: .*train\.py is not a cache: .* Give another path\."):
        run(inner, path)
    assert (inner.calls, path.read_bytes()) == (0, content)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cache.jsonl")
    with pytest.raises(UsageError, match=r"evaluator\.path: .* is a pipe, a socket or a device, not a file\."):
        run(Counting(), tmp_path / "cache.jsonl")


@pytest.mark.parametrize("length", [0, 1, 5, 6, 20])
def test_a_cache_whose_first_line_was_cut_off_is_still_a_cache(length: int, tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    run(Counting(), path)
    path.write_bytes(path.read_bytes()[:length])
    inner = Counting()
    run(inner, path)
    assert inner.calls == 6


def test_a_file_that_cannot_be_written_costs_no_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    inner = Counting()
    study = run(inner, tmp_path / "file" / "x")
    assert all(trial.value == trial.params["x"] for trial in study.trials)
    assert inner.calls == 6, "they are cached in memory"
    assert "which cannot be written: " in caplog.text


def test_a_file_that_another_process_keeps_locked_costs_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(result_cache, "_LOCK_TIMEOUT", 0.01)
    with file_lock(tmp_path / "cache.jsonl-lock", "the cache", 0):
        study = run(Counting(), tmp_path / "cache.jsonl")
    assert all(trial.value == trial.params["x"] for trial in study.trials)
    assert "holds it" in caplog.text
