"""Workers that are started from unusual processes: those of other libraries, and without standard streams."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpt_core import Int, Params, Study


def objective(params: Params) -> int:
    return int(params["x"])


def run_with(workers: int, **settings: Any) -> str:
    """Run a study and return how many trials it has, and the start method afterwards; or the error."""
    study = Study({"x": Int(0, 9)}, objective="minimize", seed=0, **settings)
    try:
        study.run(objective, trials=3, workers=workers)
    except Exception as err:  # noqa: BLE001 - the test compares it
        return f"{type(err).__name__}: {err}"
    return f"{len(study.trials)} {multiprocessing.get_start_method()}"


def test_a_process_of_joblib_can_run_workers() -> None:
    joblib = pytest.importorskip("joblib")
    outcomes = joblib.Parallel(2, "loky")(joblib.delayed(run_with)(workers) for workers in (1, 2))
    assert outcomes == ["3 loky", "3 loky"]


@pytest.mark.parametrize("settings", [{"workers": 2}, {"workers": 1, "trial_timeout": 9.0}], ids=["workers", "timeout"])
def test_a_daemonic_process_is_refused_workers_with_a_remedy(settings: dict[str, Any]) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(run_with, (1,)) == "3 spawn"
        refusal = pool.apply(run_with, kwds=settings)
    assert refusal.startswith("UsageError: ")
    assert "daemonic" in refusal
    assert "ProcessPoolExecutor" in refusal


def starts_as(params: Params) -> int:
    """The start method of processes that a trial starts, as its position in the list of all."""
    return multiprocessing.get_all_start_methods().index(multiprocessing.get_start_method())


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "method", [None, *(m for m in ("fork", "spawn", "forkserver") if m in multiprocessing.get_all_start_methods())]
)
def test_trials_start_processes_as_the_program_does(method: str | None, workers: int) -> None:
    """In a worker they were always spawned, which is slow and refuses a lambda in a DataLoader."""
    study = Study({"x": Int(0, 9)}, seed=0)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(method, force=True)
    try:
        study.run(starts_as, trials=2, workers=workers)
        expected = multiprocessing.get_all_start_methods().index(multiprocessing.get_start_method())
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert [trial.value for trial in study.trials] == [expected, expected]


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", ["2>&-", "<&- 1>&- 2>&-"])
def test_a_process_without_standard_streams_can_run_workers(closed: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    code = "import pathlib, sys, test_worker_process as t; pathlib.Path(sys.argv[1]).write_text(t.run_with(2))"
    script.write_text(f"if __name__ == '__main__':\n    {code}\n")
    command = f'exec "$0" "$1" "$2" {closed}'
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, script, tmp_path / "out"], env=env, timeout=60, check=False
    )
    assert (tmp_path / "out").read_text().startswith("3 ")
