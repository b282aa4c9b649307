"""Workers on a real cluster on loopback that are missing, of another version, killed, stopped or hanging."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from hpt_core import Float, HptError, Params, State, Study, UsageError
from hpt_executor_dask import pool


def cluster_of(workers: int) -> LocalCluster:
    return LocalCluster(n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0")


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    with cluster_of(2) as cluster:
        yield cluster.scheduler_address


def study_on(address: str, **arguments: Any) -> Study:
    executor = {"use": "dask", "address": address, **arguments.pop("executor", {})}
    return Study({"x": Float(-1.0, 1.0)}, sampler="random", seed=3, executor=executor, **arguments)


def quick(params: Params) -> float:
    return float(params["x"])


def until(reached: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.05)
    return reached()


def test_each_run_imports_the_modules_of_the_study_anew(
    dask_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for number in ("1.0", "2.25"):
        (tmp_path / "changing.py").write_text(f"def loss(params):\n    return {number}\n")
        study = study_on(dask_address, evaluator={"use": "function", "call": "changing:loss"})
        study.run(trials=2, workers=2)
        assert [t.value for t in study.trials] == [float(number)] * 2


def test_a_single_worker_runs_on_the_cluster(dask_address: str) -> None:
    study = study_on(dask_address)
    study.run(lambda _: float(os.getpid()), trials=1, workers=1)
    assert study.trials[0].value != os.getpid()


def test_a_nested_function_has_the_same_traceback_in_a_worker(dask_address: str) -> None:
    def raises(params: Params) -> float:
        raise OSError("the disk is full")

    details = []
    for study in (study_on(dask_address), Study({"x": Float(-1.0, 1.0)}, sampler="random", seed=3)):
        study.run(raises, trials=1)
        assert study.trials[0].failure is not None
        details.append(study.trials[0].failure.detail)
    assert details[0] == details[1]
    assert 'raise OSError("the disk is full")' in details[0]


def test_a_trial_runs_in_the_working_folder_of_the_study_with_empty_standard_input(
    dask_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.txt").write_text("7.5")
    study = study_on(dask_address)
    study.run(lambda _: float(Path("data.txt").read_text()) + len(sys.stdin.read()), trials=2, workers=2)
    assert [t.value for t in study.trials] == [7.5, 7.5]


def test_reports_the_signal_that_killed_a_worker_and_ends_what_its_trial_started(
    dask_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_EXIT_CODE_SECONDS", 30.0)  # a busy machine may take long

    def dies(params: Params) -> float:
        if params["x"] != first:
            return 0.0
        started = subprocess.Popen(["sleep", "600"])
        (tmp_path / "started").write_text(str(started.pid))
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    first = -0.5
    study = study_on(dask_address, retries=0)
    study.enqueue({"x": first})
    study.run(dies, trials=2, workers=2)
    failure = study.trials[0].failure
    assert failure is not None
    assert failure.kind == "worker-lost"
    assert "killed by SIGKILL" in failure.message
    assert study.trials[1].state is State.COMPLETE
    child = Path("/proc") / (tmp_path / "started").read_text()
    assert until(lambda: not child.exists() or "\nState:\tZ" in (child / "status").read_text())


def test_ctrl_c_releases_the_trials_and_ends_their_processes(dask_address: str, tmp_path: Path) -> None:
    script = f"""
import os, sys, time
from pathlib import Path
from hpt_core import Float, Study

def train(params):
    Path("began-" + str(os.getpid())).touch()
    time.sleep(600)

study = Study({{"x": Float(0, 1)}}, sampler="random", executor={{"use": "dask", "address": {dask_address!r}}})
try:
    study.run(train, trials=9, workers=2)
except KeyboardInterrupt:
    print([trial.state.value for trial in study.trials])
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as run:
        assert until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
        run.send_signal(signal.SIGINT)
        assert run.communicate(timeout=30)[0] == "['waiting', 'waiting']\n"
    trained = [path.name.removeprefix("began-") for path in tmp_path.glob("began-*")]
    assert not any(Path("/proc", pid).exists() for pid in trained)


def test_a_late_trial_that_holds_the_interpreter_is_ended(dask_address: str) -> None:
    study = study_on(dask_address, trial_timeout=1.0)
    study.run(lambda _: ctypes.PyDLL(None).sleep(600), trials=1, workers=2)
    assert [t.failure and t.failure.kind for t in study.trials] == ["timeout"]
    again = study_on(dask_address)
    again.run(quick, trials=2, workers=2)  # no Dask worker is blocked by it
    assert [t.state for t in again.trials] == [State.COMPLETE] * 2


def test_warns_while_it_waits_for_a_dask_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool, "_IDLE_SECONDS", 0.3)
    with cluster_of(0) as cluster, caplog.at_level(logging.WARNING, logger="hpt"):
        study = study_on(cluster.scheduler_address)
        run = threading.Thread(target=study.run, args=(quick,), kwargs={"trials": 3, "workers": 2})
        run.start()
        assert until(lambda: "No Dask worker" in caplog.text)
        assert "it has no workers" in caplog.text
        cluster.scale(1)
        run.join(40)
        assert [t.state for t in study.trials] == [State.COMPLETE] * 3
    assert until(lambda: all(thread.name != "hpt-dask-arrival" for thread in threading.enumerate()))


def test_does_not_wait_for_workers_that_are_no_longer_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops_its_dask_worker(params: Params) -> float:
        (tmp_path / "stopped").write_text(str(os.getppid()))
        os.kill(os.getppid(), signal.SIGSTOP)
        return quick(params)

    monkeypatch.setattr(pool, "_IDLE_SECONDS", 0.3)
    with cluster_of(1) as cluster:
        study = study_on(cluster.scheduler_address)
        study.enqueue({"x": 0.5})
        study.enqueue({"x": 0.25})
        try:
            study.run(lambda p: stops_its_dask_worker(p) if p["x"] == 0.25 else quick(p), trials=2, workers=2)
        finally:
            os.kill(int((tmp_path / "stopped").read_text()), signal.SIGCONT)
        assert [t.state for t in study.trials] == [State.COMPLETE] * 2


def test_refuses_workers_of_another_version(dask_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "VERSIONS", "hpt-core 0.0.0 on Python 3.1")
    with pytest.raises(
        HptError,
        match=r"The Dask worker tcp\S+ has hpt-core .*, this process has hpt-core 0\.0\.0 on Python 3\.1\. Both need",
    ):
        study_on(dask_address).run(quick, trials=2, workers=2)


def test_a_dask_worker_without_hpt_is_reported_and_left_alive(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['hpt_executor_dask'] = None\n")
    command = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny", "--no-dashboard"]
    with cluster_of(0) as cluster:
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        with subprocess.Popen([*command, cluster.scheduler_address], cwd=tmp_path, env=env) as other:
            try:
                with pytest.raises(HptError, match=r"cannot run the study: .*hpt_executor_dask.* must be installed"):
                    study_on(cluster.scheduler_address).run(quick, trials=2, workers=2)
                assert len(cluster.scheduler.workers) == 1
            finally:
                other.kill()


def test_reports_that_the_study_cannot_be_pickled(dask_address: str) -> None:
    lock = threading.Lock()
    with pytest.raises(UsageError, match=r"cannot be sent to Dask workers: TypeError: .*lock"):
        study_on(dask_address).run(lambda _: float(lock.locked()), trials=2, workers=2)


def test_a_cluster_may_have_ipv6_addresses() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as err:
        pytest.skip(f"this machine has no IPv6: {err}")
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="tcp://[::1]", dashboard_address="127.0.0.1:0"
    ) as cluster:
        study = study_on(cluster.scheduler_address)
        study.run(quick, trials=2, workers=2)
        assert [t.state for t in study.trials] == [State.COMPLETE] * 2


def test_a_default_timeout_of_sockets_ends_no_worker() -> None:
    def slow(params: Params) -> float:
        time.sleep(0.5)
        return quick(params)

    study = Study({"x": Float(-1.0, 1.0)}, sampler="random", executor="dask", retries=0)
    socket.setdefaulttimeout(0.1)  # in this process, which also runs the Dask workers
    try:
        study.run(slow, trials=2, workers=2)
    finally:
        socket.setdefaulttimeout(None)
    assert [t.state for t in study.trials] == [State.COMPLETE] * 2


def test_reports_that_the_host_is_not_this_machine(dask_address: str) -> None:
    with pytest.raises(
        UsageError, match=r"executor\.host: Must be a name or address of this machine\. Got '192\.0\.2\.1'"
    ):
        study_on(dask_address, executor={"host": "192.0.2.1"}).run(quick, trials=2, workers=2)


@pytest.mark.parametrize("address", ["scheduler", "tcp://127.0.0.1", "http://127.0.0.1:8786"])
def test_a_malformed_address_ends_the_program(address: str) -> None:
    script = f"""
from hpt_core import Float, Study
study = Study({{"x": Float(0, 1)}}, executor={{"use": "dask", "address": {address!r}}})
study.run(abs, trials=2, workers=2)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert f"UsageError: executor.address: There is no Dask scheduler at {address!r}: " in done.stderr
