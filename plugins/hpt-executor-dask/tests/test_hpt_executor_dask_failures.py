"""Failures on the way between the study's process, Dask and a worker's process."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, NoReturn

import dask
import pytest
from distributed import Client, Future, LocalCluster

from hpt_core import Failure, Float, HptError, Params, State, Store, Study, UsageError
from hpt_executor_dask import executor, pool
from hpt_executor_dask.executor import DaskExecutor
from hpt_executor_dask.pool import WorkerPool, _death, _idle_warning, _Worker


def study_on(address: str | None, **arguments: Any) -> Study:
    use = {"use": "dask"} if address is None else {"use": "dask", "address": address}
    return Study({"x": Float(-1.0, 1.0)}, sampler="random", seed=3, executor=use, **arguments)


def quick(params: Params) -> float:
    return float(params["x"])


class DiesBetweenTrials:
    """What an executor runs: the first worker starts and finishes a trial and then dies; the second one ends."""

    trial_timeout: float | None = None

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __call__(self, name: str, store: Store | None = None) -> str:
        assert store is not None
        (self.folder / name.rpartition("/")[2]).touch()
        if len(list(self.folder.iterdir())) == 1:
            for event in ("started", "finished"):
                store.append("idle", [{"event": event, "time": 0.0, "trial": 0, "worker": name}])
            os._exit(7)
        return "done"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for exit codes for as long as a busy machine may take."""
    monkeypatch.setattr(pool, "_EXIT_CODE_SECONDS", 30.0)


def losses_of(worker: DiesBetweenTrials, workers: int, address: str | None = None) -> list[Failure]:
    """Run workers that have no trial when they die; return the losses that the executor reports."""
    failures: list[Failure] = []

    def lost(_: str, failure: Failure) -> bool:
        failures.append(failure)
        return False

    DaskExecutor(address=address).run(worker, workers, lost)
    return failures


@pytest.mark.usefixtures("patient")
def test_replaces_a_worker_that_dies_between_two_trials(tmp_path: Path) -> None:
    failures = losses_of(DiesBetweenTrials(tmp_path, Study({"x": Float(0, 1)}).store), 1)
    assert ["exit code 7" in failure.message for failure in failures] == [True]
    assert len(list(tmp_path.iterdir())) == 2


class DiesAfterTheOther(DiesBetweenTrials):
    """What an executor runs: the first worker ends; the second one has no trial, and then dies."""

    def __call__(self, name: str, store: Store | None = None) -> str:
        first = self.folder / "1"
        if name.endswith("/1"):
            first.write_text(str(os.getpid()))
            return "done"
        while not first.exists() or Path(f"/proc/{first.read_text()}").exists():
            time.sleep(0.05)
        os._exit(7)


@pytest.mark.usefixtures("patient")
def test_a_run_that_has_ended_does_not_fail_because_an_idle_worker_dies(tmp_path: Path) -> None:
    failures = losses_of(DiesAfterTheOther(tmp_path, Study({"x": Float(0, 1)}).store), 2)
    assert ["exit code 7" in failure.message for failure in failures] == [True]


class LosesItsDaskWorker(DiesBetweenTrials):
    """What an executor runs: the first worker kills its Dask worker before its first trial; the second one ends."""

    def __call__(self, name: str, store: Store | None = None) -> str:
        (self.folder / name.rpartition("/")[2]).touch()
        if len(list(self.folder.iterdir())) == 1:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return "done"


def test_a_worker_whose_dask_worker_is_lost_before_its_first_trial_runs_on_another_one(tmp_path: Path) -> None:
    worker = LosesItsDaskWorker(tmp_path, Study({"x": Float(0, 1)}).store)
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        (failure,) = losses_of(worker, 1, cluster.scheduler_address)
    assert re.fullmatch(r"the Dask worker tcp://\S+ was lost", failure.message)
    assert len(list(tmp_path.iterdir())) == 2


class AlwaysDies(DiesBetweenTrials):
    """What an executor runs: each worker dies before its first trial."""

    def __call__(self, name: str, store: Store | None = None) -> str:
        (self.folder / name.rpartition("/")[2]).touch()
        os._exit(7)


def test_a_worker_that_dies_before_its_first_trial_is_not_replaced_if_its_exit_code_comes_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_EXIT_CODE_SECONDS", 0.0)
    with pytest.raises(HptError, match="A worker ended before it started a trial"):
        losses_of(AlwaysDies(tmp_path, Study({"x": Float(0, 1)}).store), 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_process_whose_dask_worker_has_died_at_once_ends_quietly() -> None:
    command = [sys.executable, "-P", "-m", "hpt_executor_dask.process"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("stopped", [False, True], ids=["connection closed", "connection open"])
def test_replaces_a_worker_whose_dask_worker_is_lost(tmp_path: Path, stopped: bool) -> None:
    """A stopped process keeps its connection open, as a machine does that loses its power."""
    began = tmp_path / "began"

    def loses_its_dask_worker_once(params: Params) -> float:
        if not began.exists():
            began.write_text(str(os.getpid()))
            subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -KILL {os.getppid()}"], start_new_session=True)
            if stopped:
                os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(60)
        return quick(params)

    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        study = study_on(cluster.scheduler_address, retries=0)
        try:
            study.run(loses_its_dask_worker_once, trials=2, workers=1)
        finally:
            if stopped:
                os.kill(int(began.read_text()), signal.SIGKILL)
    lost, complete = study.trials
    assert lost.failure is not None
    assert re.fullmatch(r"the Dask worker tcp://\S+ was lost", lost.failure.message)
    assert complete.state is State.COMPLETE


@pytest.mark.usefixtures("patient")
def test_reports_why_a_process_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(HptError, match=r"could not run its process: FileNotFoundError: .*/nowhere/python"):
        study_on(None).run(quick, trials=2, workers=2)


def test_a_silent_stranger_keeps_no_worker_out(monkeypatch: pytest.MonkeyPatch) -> None:
    strangers: list[socket.socket] = []

    class Visited(WorkerPool):
        def start_worker(self) -> None:
            strangers.append(socket.create_connection(self._listener.getsockname()))
            super().start_worker()

    monkeypatch.setattr(executor, "WorkerPool", Visited)
    study = study_on(None)
    try:
        study.run(quick, trials=4, workers=2)
    finally:
        for stranger in strangers:
            stranger.close()
    assert [t.state for t in study.trials] == [State.COMPLETE] * 4


def test_reports_that_workers_cannot_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(HptError, match=r"cannot reach the process that runs the study at 127\.0\.0\.1:\d+: refused"):
        study_on(None).run(quick, trials=2, workers=2)


def test_reports_that_the_current_directory_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match=r"No worker can be started: the current directory does not exist any more"):
        study_on(None).run(quick, trials=2, workers=2)


class OnlyHere:
    """An objective whose module no worker has."""

    def __call__(self, params: Params) -> float:
        return quick(params)

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, ("module_that_no_worker_has",)


def test_reports_that_a_worker_cannot_import_the_study() -> None:
    with pytest.raises(HptError, match=r"cannot load the study: ModuleNotFoundError: .*module_that_no_worker_has"):
        study_on(None).run(OnlyHere(), trials=2, workers=2)


def test_ends_when_the_scheduler_and_its_workers_are_lost(tmp_path: Path) -> None:
    file, pid = tmp_path / "scheduler.json", tmp_path / "pid"
    where = ["--no-dashboard", "--scheduler-file", str(file)]

    def loses_the_cluster(params: Params) -> float:
        for number in (int(pid.read_text()), os.getppid()):
            os.kill(number, signal.SIGKILL)
        time.sleep(60)
        return quick(params)

    def started(module: str, *options: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", module, *options, *where], stderr=subprocess.DEVNULL)

    with started("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0") as scheduler:
        pid.write_text(str(scheduler.pid))
        deadline = time.monotonic() + 20
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with started("distributed.cli.dask_worker", "--no-nanny") as worker:
            try:
                address = json.loads(file.read_text())["address"]
                study = study_on(address)
                with (
                    dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
                    pytest.raises(HptError, match=rf"The connection to the Dask scheduler at {address} is lost"),
                ):
                    study.run(loses_the_cluster, trials=1, workers=2)
            finally:
                worker.kill()
                scheduler.kill()
    assert [t.state for t in study.trials] == [State.WAITING]


def test_ends_when_the_client_closes_while_a_worker_is_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is closed by a thread of its own, at any time: here after all checks before the submission."""

    class Closes(WorkerPool):
        def start_worker(self) -> None:
            submit = self._client.submit

            def late(*arguments: Any, **options: Any) -> Any:
                self._client.close()
                return submit(*arguments, **options)

            monkeypatch.setattr(self._client, "submit", late)
            super().start_worker()

    monkeypatch.setattr(executor, "WorkerPool", Closes)
    study = study_on(None)
    with pytest.raises(HptError, match=r"The connection to the Dask scheduler at \S+ is lost"):
        study.run(quick, trials=2, workers=2)
    assert [t.state for t in study.trials] == []


def test_a_dask_worker_may_be_lost_before_the_exit_code_of_its_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask runs the task again then, if it ever can: waiting for its result may take for ever."""
    result = Future.result

    def late(future: Future, timeout: float | None = None) -> Any:
        while not future.done():
            time.sleep(0.05)
        cluster.sync(cluster.scheduler.remove_worker, address, stimulus_id="test")
        return result(future, timeout)

    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        (address,) = cluster.scheduler.workers
        monkeypatch.setattr(Future, "result", late)
        failure = _death(client.submit(int, 7), _Worker(name="w", pipe=Pipe()[0], dask_worker=address))
    assert failure == Failure("worker-lost", f"the Dask worker {address} was lost")


def test_a_failed_task_may_be_cancelled_before_its_error_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that loses its scheduler cancels all its futures. The next task fails, too, and its error is read."""
    exception = Future.exception

    def refuse(*_: object, **__: object) -> NoReturn:
        raise ConnectionRefusedError("refused")

    def late(future: Future, timeout: float | None = None) -> Any:
        monkeypatch.setattr(Future, "exception", exception)
        future.cancel()
        return exception(future, timeout)

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(Future, "exception", late)
    with pytest.raises(HptError, match=r"cannot reach the process that runs the study"):
        study_on(None).run(quick, trials=2, workers=2)
    assert Future.exception is exception


def test_a_client_may_close_before_it_is_asked_for_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        scheduler_info = client.scheduler_info

        def late(**arguments: int) -> Any:
            client.close()
            return scheduler_info(**arguments)

        monkeypatch.setattr(client, "scheduler_info", late)
        assert _idle_warning(client, "tcp://here").endswith("Waiting.")
        assert client.status == "closed"
