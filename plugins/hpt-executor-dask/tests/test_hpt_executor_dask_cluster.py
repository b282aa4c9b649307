"""On a real cluster on loopback: the conformance kit and whole studies, which give the same trials as one process."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import pytest
from distributed import LocalCluster
from numpy.random import default_rng

from hpt_core import Float, Int, Params, State, Study, UsageError
from hpt_core.testing import ExecutorKit
from hpt_executor_dask.executor import DaskExecutor
from hpt_executor_dask.task import _hung_up

if TYPE_CHECKING:
    from hpt_core import Executor


SPACE = {"x": Float(-1.0, 1.0), "n": Int(1, 5)}


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """The scheduler of a cluster for all tests of this file; nannies restart its workers."""
    with LocalCluster(n_workers=3, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


class TestDaskExecutor(ExecutorKit):
    @pytest.fixture
    def make_executor(self, dask_address: str) -> Callable[[], Executor]:
        return partial(DaskExecutor, address=dask_address)


def study_on(address: str | None, **arguments: Any) -> Study:
    executor = {"use": "dask"} if address is None else {"use": "dask", "address": address}
    return Study(SPACE, sampler="random", seed=3, executor=executor, **arguments)


def square(params: Params) -> float:
    time.sleep(0.02)
    return float(params["x"] ** 2 + params["n"])


def test_gives_the_trials_of_one_process(dask_address: str) -> None:
    there, here = study_on(dask_address), Study(SPACE, sampler="random", seed=3)
    there.run(square, trials=12, workers=3)
    here.run(square, trials=12)
    assert [(t.params, t.value, t.state) for t in there.trials] == [(t.params, t.value, t.state) for t in here.trials]


def test_starts_a_local_cluster_without_an_address() -> None:
    study = study_on(None)
    study.run(square, trials=4, workers=2)
    assert [t.state for t in study.trials] == [State.COMPLETE] * 4


def test_the_end_of_a_run_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A cluster that is closed while tasks end has Dask warn that it cancels them."""
    study_on(None).run(square, trials=4, workers=2)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_sends_functions_that_cannot_be_imported(dask_address: str) -> None:
    study = study_on(dask_address)
    study.run(lambda params: params["x"], trials=3, workers=2)
    assert [t.value for t in study.trials] == [t.params["x"] for t in study.trials]


def test_a_killed_worker_loses_no_trial(dask_address: str, tmp_path: Path) -> None:
    mark = tmp_path / "killed"

    def dies_once(params: Params) -> float:
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return square(params)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    study = study_on(dask_address)
    study.run(dies_once, trials=8, workers=2)
    assert [t.state for t in study.trials] == [State.COMPLETE] * 8
    assert sorted(t.attempt for t in study.trials) == [1] * 7 + [2]


def test_a_trial_over_its_time_limit_is_ended(dask_address: str) -> None:
    def hangs_at_first(params: Params) -> float:
        time.sleep(60 if params["n"] == first else 0)
        return float(params["x"])

    study = study_on(dask_address, trial_timeout=3.0)  # the other trials need some time, too
    first = study.sampler.suggest(study.history, default_rng([3, 0]))["n"]
    study.run(hangs_at_first, trials=3, workers=2)
    assert study.trials[0].failure is not None
    assert study.trials[0].failure.kind == "timeout"
    late = {t.number for t in study.trials if t.params["n"] == first}
    assert {t.number for t in study.trials if t.state is State.FAILED} == late


def test_reports_that_there_is_no_scheduler() -> None:
    study = study_on("tcp://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(UsageError, match=r"executor\.address: There is no Dask scheduler at 'tcp://127\.0\.0\.1:9'"),
    ):
        study.run(square, trials=2, workers=2)


def test_workers_of_a_killed_study_end_and_the_study_resumes(dask_address: str, tmp_path: Path) -> None:
    script = """
        import os, sys, time
        from pathlib import Path
        from hpt_core import Int, Study

        folder, address = Path(sys.argv[1]), sys.argv[2]

        def slow(params):
            (folder / f"began-{params['n']}").write_text(str(os.getpid()))
            time.sleep(60 if not (folder / "quick").exists() else 0)
            return params["n"]

        study = Study({"n": Int(1, 4)}, sampler="random", seed=0, store=folder / "hpt.db",
                      executor={"use": "dask", "address": address})
        study.run(slow, workers=2)
        print([(t.state.value, t.attempt) for t in study.trials])
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    command = [sys.executable, "script.py", str(tmp_path), dask_address]
    first = subprocess.Popen(command, cwd=tmp_path)
    assert until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    trials_in = [int(path.read_text()) for path in tmp_path.glob("began-*")]
    first.kill()
    first.wait()
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in trials_in))
    (tmp_path / "quick").touch()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert again.stdout.strip() == str([("complete", 2), ("complete", 2), ("complete", 1), ("complete", 1)])


@pytest.mark.parametrize(
    ("unread", "ended"), [(None, False), (False, True), (True, True)], ids=["open", "closed", "reset"]
)
def test_a_worker_notices_that_the_process_of_the_study_is_gone(unread: bool | None, ended: bool) -> None:
    """A process that is killed with a message unread resets the connection instead of closing it."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as worker:
        study, _ = server.accept()
        with study:
            worker.sendall(b"a message")
            study.recv(1 if unread else 9)
            if unread is not None:
                study.close()
            assert until(lambda: _hung_up(worker), seconds=5 if ended else 0.5) is ended


def until(reached: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.05)
    return reached()
