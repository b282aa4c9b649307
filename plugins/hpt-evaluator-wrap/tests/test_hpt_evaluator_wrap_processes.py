"""Isolate with real processes: crashes, memory limits, and what is left when something is killed or interrupted."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest

from hpt_core import Float, Params, Study
from hpt_evaluator_wrap.trial_process import TrialProcess

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a new process cannot import this file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="isolate does not work there")

SPACE = {"x": Float(0, 1)}
PATIENCE = 30.0
MEGABYTE = 10**6


def run(inner: Any, trials: int = 1, memory_mb: float | None = None, **settings: Any) -> Study:
    evaluator = {"use": "isolate", "evaluator": inner, "memory_mb": memory_mb}
    study = Study(SPACE, evaluator=evaluator, sampler="random", seed=0, **settings)
    study.run(trials=trials)
    return study


def until(reached: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.02)
    return reached()


def has_ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def pids_in(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


# --- deaths ---------------------------------------------------------------------------------------


def killed_by(number: int) -> Callable[[Params], float]:
    def dies(params: Params) -> float:
        os.kill(os.getpid(), number)
        return 0.0

    return dies


@pytest.mark.parametrize(
    ("dies", "how"),
    [
        (killed_by(signal.SIGKILL), "was killed by SIGKILL (the system may have been out of memory)"),
        (killed_by(37), "was killed by signal 37"),
        (lambda params: ctypes.string_at(0), "was killed by SIGSEGV"),
        (lambda params: os._exit(0), "ended with exit code 0"),
        (lambda params: os._exit(3), "ended with exit code 3"),
    ],
)
def test_a_crash_costs_one_trial(dies: Callable[[Params], float], how: str) -> None:
    study = run(lambda params: dies(params) if params["x"] > 0.5 else params["x"], trials=4)
    failed = [trial for trial in study.trials if trial.params["x"] > 0.5]
    assert 0 < len(failed) < 4
    for trial in failed:
        assert trial.failure is not None
        assert (trial.failure.kind, trial.failure.message) == ("killed", f"The trial's process {how}.")
    assert [trial.state for trial in study.trials if trial not in failed] == ["complete"] * (4 - len(failed))


def test_the_stderr_of_a_crashed_trial_is_shown_and_its_end_recorded(capfd: pytest.CaptureFixture[str]) -> None:
    def dies(params: Params) -> float:
        os.write(2, b"begins\n" + b"." * 8_000 + b"\nends\n")
        os.abort()

    failure = run(dies).trials[0].failure
    assert failure is not None
    assert failure.detail.endswith("...\nends")
    assert "begins" not in failure.detail
    assert capfd.readouterr().err.startswith("begins\n...")


def test_a_process_that_a_crashed_one_has_forked_does_not_delay_the_study(tmp_path: Path) -> None:
    def forks_and_dies(params: Params) -> float:
        if os.fork() == 0:
            (tmp_path / str(os.getpid())).touch()
            time.sleep(600)  # it holds the connection to the study open
        while not pids_in(tmp_path):
            time.sleep(0.01)
        os._exit(5)

    failure = run(forks_and_dies).trials[0].failure
    os.kill(pids_in(tmp_path)[0], signal.SIGKILL)  # the study cannot know that it belongs to the trial
    assert failure is not None
    assert failure.message == "The trial's process ended with exit code 5."


# --- memory ---------------------------------------------------------------------------------------


def fill(megabytes: int) -> bytearray:
    block = bytearray(megabytes * MEGABYTE)
    block[:: 2**12] = b"x" * len(block[:: 2**12])  # each page
    return block


def too_much(params: Params) -> float:
    kept = fill(400) if params["x"] > 0.5 else b""
    time.sleep(600 if kept else 0)
    return 0.5


def grows_from_report_to_report(params: Params) -> Iterator[float]:
    kept = []
    for _ in range(40):
        kept.append(fill(20))
        time.sleep(0.05)  # the memory is measured four times a second
        yield float(len(kept))


def starts_a_hungry_one(params: Params) -> float:
    code = f"x = bytearray({400 * MEGABYTE}); x[::4096] = b'x' * len(x[::4096]); import time; time.sleep(600)"
    subprocess.run([sys.executable, "-c", code], check=True)
    return 0.5


def test_a_trial_beyond_the_limit_fails_and_the_next_one_runs() -> None:
    trials = run(too_much, trials=4, memory_mb=300).trials
    assert {str(trial.state) for trial in trials} == {"complete", "failed"}
    for trial in trials:
        assert (trial.failure is not None) == (trial.params["x"] > 0.5)
        if trial.failure is not None:
            assert trial.failure.kind == "out-of-memory"
            assert trial.failure.message.endswith("MB of memory. The limit (`memory_mb`) is 300.")
            assert 300 < float(trial.failure.message.split()[3]) < 700


@pytest.mark.parametrize("hungry", [grows_from_report_to_report, starts_a_hungry_one])
def test_the_limit_holds_for_descendants_and_between_reports(hungry: Callable[[Params], Any]) -> None:
    failure = run(hungry, memory_mb=300).trials[0].failure
    assert failure is not None
    assert failure.kind == "out-of-memory"


@pytest.mark.skipif(sys.platform != "linux", reason="shared pages are counted once on Linux only")
def test_memory_that_forked_processes_share_counts_once() -> None:
    def forks(params: Params) -> float:
        kept = fill(200)
        children = [os.fork() for _ in range(3)]  # makes eight processes
        time.sleep(2.0)
        if 0 in children:
            os._exit(0)
        for child in children:
            os.waitpid(child, 0)
        return len(kept)

    trial = run(forks, memory_mb=500).trials[0]
    assert trial.value == 200 * MEGABYTE, trial.failure


def test_memory_is_freed_after_each_trial() -> None:
    def hoards(params: Params) -> float:
        sys.hoard = [*getattr(sys, "hoard", []), fill(200)]  # type: ignore[attr-defined]
        return len(sys.hoard)  # type: ignore[attr-defined]

    assert [trial.value for trial in run(hoards, trials=3, memory_mb=400).trials] == [1.0] * 3


# --- nothing is left ------------------------------------------------------------------------------


def leave_behind(folder: Path) -> None:
    left = subprocess.Popen(["sleep", "600"])
    (folder / str(left.pid)).touch()
    (folder / str(os.getpid())).touch()


@pytest.mark.parametrize("memory_mb", [None, 300])
def test_what_a_trial_leaves_behind_is_ended(tmp_path: Path, memory_mb: float | None) -> None:
    def leaves(params: Params) -> float:
        leave_behind(tmp_path)
        return too_much({"x": 1.0}) if memory_mb else 0.5

    study = run(leaves, memory_mb=memory_mb)
    assert study.trials[0].state == ("failed" if memory_mb else "complete")
    assert len(pids_in(tmp_path)) == 2
    assert until(lambda: all(has_ended(pid) for pid in pids_in(tmp_path)))


def test_a_process_that_may_not_be_killed_costs_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a trial has started with sudo."""

    def leaves(params: Params) -> float:
        left = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
        (tmp_path / "pids").write_text(f"{left[0].pid} {left[1].pid}")
        return 0.5

    allowed = psutil.Process.kill

    def kill(process: psutil.Process) -> None:
        if (tmp_path / "pids").read_text().startswith(f"{process.pid} "):
            raise psutil.AccessDenied(process.pid)
        allowed(process)

    monkeypatch.setattr("hpt_evaluator_wrap.trial_process._GRACE_SECONDS", 0.1)
    monkeypatch.setattr(psutil.Process, "kill", kill)
    study = run(leaves)
    denied, other = map(int, (tmp_path / "pids").read_text().split())
    os.kill(denied, signal.SIGKILL)
    assert study.trials[0].value == 0.5
    assert until(lambda: has_ended(other))


def test_what_a_trial_leaves_behind_is_ended_even_if_the_study_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(TrialProcess):
        def __exit__(self, *error: object) -> None:
            time.sleep(1.0)  # the trial's process would have ended by then
            super().__exit__(*error)

    def leaves(params: Params) -> float:
        leave_behind(tmp_path)
        return 0.5

    monkeypatch.setattr("hpt_evaluator_wrap.isolate.TrialProcess", Slow)
    assert run(leaves).trials[0].value == 0.5
    assert len(pids_in(tmp_path)) == 2
    assert until(lambda: all(has_ended(pid) for pid in pids_in(tmp_path)))


@pytest.mark.skipif(sys.platform != "linux", reason="shared memory is a file on Linux only")
def test_shared_memory_of_a_trial_that_is_ended_is_freed(tmp_path: Path) -> None:
    def shares(params: Params) -> float:
        from multiprocessing.shared_memory import SharedMemory

        (tmp_path / SharedMemory(create=True, size=MEGABYTE).name).touch()
        return too_much({"x": 1.0})

    assert run(shares, memory_mb=300).trials[0].state == "failed"
    (name,) = (path.name for path in tmp_path.iterdir())
    assert not Path("/dev/shm", name).exists()


def test_a_trial_cleans_up_at_exit(tmp_path: Path) -> None:
    def registers(params: Params) -> float:
        import atexit

        atexit.register((tmp_path / "cleaned").touch)
        return 0.5

    run(registers)
    assert (tmp_path / "cleaned").exists()


TRAIN = """
    import os, pathlib, subprocess, time

    def train(params):
        here = pathlib.Path(__file__).parent
        left = subprocess.Popen(["sleep", "600"])
        (here / str(left.pid)).touch()
        (here / str(os.getpid())).touch()
        {hang}

    def process(params):
        return os.getpid()
"""

STUDY = """
    objective = { loss = "minimize" }
    trials = 3
    seed = 0
    [space]
    x = { low = 0.0, high = 1.0 }
    [sampler]
    use = "random"
    [evaluator]
    use = "isolate"
    evaluator = { use = "function", call = "train:train" }
    [store]
    use = "sqlite"
    path = "hpt.db"
"""


def write_study(folder: Path, hang: str) -> None:
    (folder / "train.py").write_text(textwrap.dedent(TRAIN).format(hang=hang))
    (folder / "study.toml").write_text(textwrap.dedent(STUDY))


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hpt_core", "run", "study.toml", *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kill", ["kill -9", "Ctrl-C"])
def test_no_process_outlives_the_study(tmp_path: Path, kill: str, workers: int) -> None:
    write_study(tmp_path, "time.sleep(600)")
    study = start(tmp_path, "--workers", str(workers))
    try:
        assert until(lambda: len(pids_in(tmp_path)) == 2 * workers)
        family = descendants(study.pid)
        if kill == "kill -9":
            study.kill()
        else:
            os.killpg(study.pid, signal.SIGINT)  # as a terminal sends it: to the foreground group
        _, text = study.communicate(timeout=PATIENCE)
        assert study.returncode == (-9 if kill == "kill -9" else 130), text
        assert "Traceback" not in text, text
        assert until(lambda: all(has_ended(pid) for pid in {*pids_in(tmp_path), *(p.pid for p in family)}))
    finally:
        for process in descendants(study.pid):
            process.kill()
        study.kill()
        study.wait()


def test_ctrl_c_does_not_reach_a_trial_not_even_at_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt = """
        import os, signal, sys
        if any("hpt_evaluator_wrap.child" in argument for argument in sys.orig_argv):
            os.kill(os.getpid(), signal.SIGINT)
    """
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(interrupt))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))

    def interrupted(params: Params) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        return float(Path(sys.modules["sitecustomize"].__file__ or "").parent == tmp_path)

    trial = run(interrupted).trials[0]
    assert trial.value == 1.0, trial.failure


def test_the_program_may_have_added_hpt_to_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", sys._base_executable)  # type: ignore[attr-defined] # without our packages
    trial = run(lambda params: len(sys.argv)).trials[0]
    assert trial.value == 1.0, trial.failure


def descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize(
    "hang",
    ["time.sleep(600)", "import re; re.match(r'(a|aa)+$', 'a' * 200 + 'b')"],
    ids=["asleep", "holds the interpreter's lock"],
)
def test_a_trial_over_the_time_limit_is_killed(tmp_path: Path, hang: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path, hang)
    monkeypatch.syspath_prepend(tmp_path)
    for limit in (2.0, 8.0, 32.0):  # until the machine is fast enough to start the trial within the limit
        study = run({"use": "function", "call": "train:train"}, trial_timeout=limit)
        assert [trial.failure and trial.failure.kind for trial in study.trials] == ["timeout"]
        if len(pids_in(tmp_path)) == 2:
            break
    assert len(pids_in(tmp_path)) == 2
    assert until(lambda: all(has_ended(pid) for pid in pids_in(tmp_path)))


@pytest.mark.parametrize("executor", ["local", "dask"])
def test_it_runs_in_several_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    if executor == "dask":
        pytest.importorskip("hpt_executor_dask")
    write_study(tmp_path, "pass")
    monkeypatch.syspath_prepend(tmp_path)
    inner = {"use": "function", "call": "train:process"}
    study = Study(SPACE, evaluator={"use": "isolate", "evaluator": inner}, sampler="random", executor={"use": executor})
    study.run(trials=4, workers=2)
    assert len({os.getpid(), *(trial.value for trial in study.trials)}) == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_function_of_a_script_needs_no_guard_for_one_worker(tmp_path: Path, workers: int) -> None:
    script = """
        import hpt_core as hpt

        SCALE = 2.0

        def train(params):
            return SCALE * params["x"]

        {guard}
            evaluator = {{"use": "isolate", "evaluator": train}}
            study = hpt.Study({{"x": hpt.Float(0, 1)}}, evaluator=evaluator, sampler="random", seed=0)
            study.run(trials=3, workers={workers})
            assert all(trial.value == 2 * trial.params["x"] for trial in study.trials), study.trials
            print("started")
    """
    guard = "if True:" if workers == 1 else 'if __name__ == "__main__":'
    (tmp_path / "script.py").write_text(textwrap.dedent(script).format(guard=guard, workers=workers))
    ended = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "started\n"), ended.stderr
