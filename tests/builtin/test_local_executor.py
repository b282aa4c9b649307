"""The local executor with real workers that die, hang, fork and leave processes, and a supervisor that is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import connection
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hpt_core import Float, History, HptError, Int, Params, State, Study, UsageError
from hpt_core.builtin import children, local, worker_process
from hpt_core.builtin.children import ctrl_c_blocked
from hpt_core.builtin.local import LocalExecutor
from hpt_core.builtin.worker_stderr import WorkerStderr
from hpt_core.loop import serving

if TYPE_CHECKING:
    from numpy.random import Generator

PATIENCE = 20.0


class Counting:
    """Suggests x = 0, 1, 2, ..."""

    def suggest(self, history: History, rng: Generator) -> Params:
        return {"x": history.next_number}


EVALUATORS = '''
    import ctypes, os, pathlib, shutil, signal, subprocess, sys, threading, time
    from multiprocessing import connection

    def fine(params):
        return params["x"]

    def dies(params):
        """Each trial dies in another way, and all but the first write to stderr before."""
        x = params["x"]
        sys.stderr.write(f"trial {x} was here\\n")
        sys.stderr.flush()
        if x == 1:
            os._exit(0)
        if x == 2:
            os._exit(3)
        if x == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if x == 4:
            ctypes.string_at(0)
        if x == 5:
            os.abort()
        if x == 6:
            os.kill(os.getpid(), 37)  # a real-time signal, which has no name
        if x == 7:
            raise MemoryError("as asked")
        if x == 8:
            sys.exit(4)
        return x

    def hangs(params):
        if params["x"] == 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            pathlib.Path(__file__).with_name("hangs").write_text("now")
            while True:
                time.sleep(1)
        if params["x"] == 2:
            leave("sleep", "4711").wait()
        return params["x"]

    def forks(params):
        """Before one trial that completes and one that crashes. The child keeps the open files of this process."""
        if params["x"] in (1, 3):
            child = os.fork()
            if child == 0:
                time.sleep(4714)
            pathlib.Path(__file__).with_name("left.pid").write_text(str(child))
        if params["x"] == 1:
            os._exit(5)
        return params["x"]

    def cuts_off(params):
        """One worker dies in the middle of a message, and a process that it forked keeps its open files."""
        if params["x"] == 1:
            child = os.fork()
            if child == 0:
                time.sleep(4714)
            pathlib.Path(__file__).with_name("left.pid").write_text(str(child))

            def send(self, message):
                os.write(self.fileno(), len(message).to_bytes(4, "big") + bytes(message)[:-1])
                os._exit(5)

            connection.Connection._send_bytes = send
        return params["x"]

    def chatters(params):
        before = os.fstat(2).st_size
        sys.stderr.write("progress " * 100_000)
        return before

    def interrupts(params):
        if params["x"] == 1:
            raise KeyboardInterrupt
        if params["x"] == 2:
            try:
                yield 1.0
            finally:
                raise KeyboardInterrupt
        yield params["x"]

    def cleans(params):
        """The first trial removes the temporary files of the run, as a cleaner of old ones does, and dies."""
        if params["x"] == 0:
            for folder in pathlib.Path(__file__).with_name("temporary").iterdir():
                shutil.rmtree(folder)
            os._exit(3)
        return params["x"]

    NUMBER = os.environ.get("HPT_WORKER")

    def meets(params):
        folder, meeting = pathlib.Path(__file__).parent, f"meeting{params['x'] // 3}"
        (folder / f"{meeting}.{NUMBER}").touch()
        end = time.monotonic() + 20
        while len(list(folder.glob(f"{meeting}.*"))) < 3:
            assert time.monotonic() < end
            time.sleep(0.02)
        if params["x"] in (1, 4):
            os._exit(3)
        return params["x"]

    def leave(*command):
        """Start a process and write its process ID beside this file."""
        process = subprocess.Popen(command)
        pathlib.Path(__file__).with_name("left.pid").write_text(str(process.pid))
        return process

    def litters(params):
        x = params["x"]
        if x == 0:
            threading.Thread(target=time.sleep, args=(4711,)).start()
        if x == 1:
            leave("sleep", "4712")
        if x == 2:
            print("flood " * 100_000)
        if x == 3 and os.fork() == 0:
            return -1.0
        if x == 6:
            sys.stdout.close()
        return x
'''


@pytest.fixture
def evaluators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, str]]:
    """Makes functions of a module that workers can import."""
    module = f"evaluators_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(EVALUATORS))
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name: {"use": "function", "call": f"{module}:{name}"}


def study_of(trials: int, **given: Any) -> Study:
    return Study({"x": Int(0, trials - 1)}, sampler=Counting(), seed=0, **given)


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def until(reached: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if reached():
            return True
        time.sleep(0.02)
    return False


def test_pipes_may_be_of_another_class_as_on_windows(
    evaluators: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = vars(connection)["_ConnectionBase"]
    other: Any = type("OtherConnection", (base,), dict(vars(connection.Connection)))

    def pipe() -> tuple[Any, Any]:
        ours, theirs = multiprocessing.Pipe()
        with ours:
            return other(os.dup(ours.fileno())), theirs

    monkeypatch.setattr(local._CONTEXT, "Pipe", pipe)
    study = study_of(3, evaluator=evaluators("fine"))
    assert study.run(workers=2) == "space exhausted"
    assert [t.value for t in study.trials] == [0.0, 1.0, 2.0]


# --- dying workers --------------------------------------------------------------------------------


def test_each_worker_has_a_number_that_no_other_running_worker_has(
    evaluators: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three workers meet three times, and one dies after the first two meetings."""
    monkeypatch.setenv("HPT_WORKER", "of the supervisor")
    study = study_of(9, retries=0)
    study.run(evaluators("meets"), trials=9, workers=3)
    assert [t.state for t in study.trials].count(State.FAILED) == 2
    for meeting in range(3):
        assert {path.suffix for path in tmp_path.glob(f"meeting{meeting}.*")} == {".0", ".1", ".2"}
    assert os.environ["HPT_WORKER"] == "of the supervisor"


def test_a_worker_that_dies_loses_only_its_own_trial(evaluators: Callable[[str], Any]) -> None:
    study = study_of(12, evaluator=evaluators("dies"))
    assert study.run(workers=2) == "space exhausted"
    failed = {t.number: t.failure for t in study.trials if t.failure is not None}
    said = {
        1: ("killed", "ended with exit code 0"),
        2: ("killed", "ended with exit code 3"),
        3: ("killed", "SIGKILL"),
        4: ("killed", "SIGSEGV"),
        5: ("killed", "SIGABRT"),
        6: ("killed", "signal 37"),
        7: ("out-of-memory", "MemoryError: as asked"),
        8: ("error", "SystemExit: 4"),
    }
    assert failed.keys() == said.keys()
    for number, (kind, message) in said.items():
        assert failed[number].kind == kind
        assert message in failed[number].message
        if kind == "killed":
            assert f"trial {number} was here" in failed[number].detail
    complete = [t for t in study.trials if t.state is State.COMPLETE]
    assert [(t.number, t.value) for t in complete] == [(i, float(i)) for i in (0, 9, 10, 11)]
    assert all(t.attempt == 1 for t in study.trials)


def advance_clock(monkeypatch: pytest.MonkeyPatch, *files: Path) -> None:
    """Set the clock of trial limits 100 seconds ahead once trials have written all these files."""

    def monotonic() -> float:
        return time.monotonic() + 100.0 * all(file.exists() and file.stat().st_size for file in files)

    monkeypatch.setattr(serving, "time", SimpleNamespace(monotonic=monotonic))


def test_a_trial_that_hangs_is_killed_with_all_it_started(
    evaluators: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "GRACE_SECONDS", 0.3)
    advance_clock(monkeypatch, tmp_path / "hangs", tmp_path / "left.pid")
    study = study_of(5, evaluator=evaluators("hangs"), trial_timeout=99.0)
    assert study.run(workers=2) == "space exhausted"
    kinds = [t.failure and t.failure.kind for t in study.trials]
    assert kinds == [None, "timeout", "timeout", None, None]
    assert study.trials[1].failure is not None
    assert study.trials[1].failure.message == "the trial took longer than 99 s"
    left = int((tmp_path / "left.pid").read_text())
    assert until(lambda: not is_running(left))


class Process:
    """A stand-in for a child's process that records whether it was ended."""

    ended = False

    def terminate(self) -> None:
        self.ended = True


def test_a_trial_whose_end_is_still_unread_is_not_late(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    process: Any = Process()
    child = local._Child(name="w", pipe=ours, process=process, slot=0, stderr=WorkerStderr(tmp_path / "stderr"))
    worker = SimpleNamespace(store=None, trial_timeout=1.0)
    supervisor = local._Supervisor(worker, lambda *_: False, tmp_path)
    supervisor._children = [child]
    child.trial_since = time.monotonic() - 9.0  # the supervisor was waiting for its store
    theirs.send(("append", "study", [{"event": "finished"}]))
    supervisor._kill_late_children()
    assert not process.ended


def test_one_worker_with_a_time_limit_runs_in_its_own_process(
    evaluators: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "GRACE_SECONDS", 0.3)
    advance_clock(monkeypatch, tmp_path / "hangs")
    study = study_of(2, evaluator=evaluators("hangs"), trial_timeout=99.0)
    study.run()
    assert [t.state for t in study.trials] == [State.COMPLETE, State.FAILED]


def test_leftovers_of_a_trial_do_not_block_the_run(evaluators: Callable[[str], Any], tmp_path: Path) -> None:
    """Threads, processes, a closed stdout, a fork that returns, a flood of output."""
    study = study_of(7, evaluator=evaluators("litters"))
    assert study.run(workers=2) == "space exhausted"
    assert [(t.state, t.value) for t in study.trials if t.number != 3] == [
        (State.COMPLETE, float(i)) for i in range(7) if i != 3
    ]
    assert study.trials[3].state is State.COMPLETE
    assert study.history.position == len(study.store.read("study"))
    left = int((tmp_path / "left.pid").read_text())
    assert until(lambda: not is_running(left))


def test_a_process_that_a_trial_forked_does_not_hide_the_end_of_its_worker(
    evaluators: Callable[[str], Any], tmp_path: Path
) -> None:
    study = study_of(4, evaluator=evaluators("forks"), max_failures=9)
    outcome: list[object] = []
    thread = threading.Thread(target=lambda: outcome.append(study.run(workers=2)), daemon=True)
    thread.start()
    thread.join(2 * PATIENCE)
    assert outcome == ["space exhausted"]
    assert [t.state is State.COMPLETE for t in study.trials] == [True, False, True, True]
    assert study.trials[1].failure is not None
    assert study.trials[1].failure.message == "its process ended with exit code 5"
    left = int((tmp_path / "left.pid").read_text())
    assert until(lambda: not is_running(left))


def test_a_forked_process_does_not_keep_a_message_open_in_which_its_worker_died(
    evaluators: Callable[[str], Any], tmp_path: Path
) -> None:
    study = study_of(3, evaluator=evaluators("cuts_off"))
    outcome: list[object] = []
    thread = threading.Thread(target=lambda: outcome.append(study.run(workers=2)), daemon=True)
    thread.start()
    thread.join(2 * PATIENCE)
    left = int((tmp_path / "left.pid").read_text())
    try:
        assert outcome == ["space exhausted"]
        assert study.trials[1].failure is not None
        assert study.trials[1].failure.message == "its process ended with exit code 5"
        assert until(lambda: not is_running(left))
    finally:
        if is_running(left):  # its supervisor waits for it
            os.kill(left, signal.SIGKILL)
            thread.join()


def test_a_trial_in_a_worker_that_raises_keyboard_interrupt_has_failed(evaluators: Callable[[str], Any]) -> None:
    """Ctrl-C reaches the supervisor only, so the trial raised it itself and the user did not interrupt."""
    study = study_of(4, evaluator=evaluators("interrupts"))
    assert study.run(workers=2) == "space exhausted"
    failures = [t.failure and (t.failure.kind, t.failure.message) for t in study.trials]
    assert failures == [None, *[("error", "KeyboardInterrupt")] * 2, None]
    assert [t.attempt for t in study.trials] == [1] * 4


def test_too_many_workers_for_this_system_are_refused(evaluators: Callable[[str], Any]) -> None:
    resource = pytest.importorskip("resource")
    study = study_of(99, evaluator=evaluators("fine"))
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 12, most))
    try:
        with pytest.raises(UsageError, match=r"cannot be started: Too many open files\. Use fewer workers"):
            study.run(workers=9)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    assert all(t.state in {State.COMPLETE, State.WAITING} for t in study.trials)


REMOVED_FOLDER = """
    import os
    from multiprocessing import resource_tracker
    import hpt_core as hpt

    class Counting:
        def suggest(self, history, rng):
            return {"x": history.next_number}

    def evaluate(params):
        return params["x"]

    if __name__ == "__main__":
        home = os.getcwd()
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir(os.path.join(home, "gone"))
        study = hpt.Study({"x": hpt.Int(0, 3)}, sampler=Counting(), seed=0)
        try:
            study.run(evaluate, workers=2)
        except hpt.UsageError as err:
            print(err)
        print(resource_tracker._resource_tracker._fd)
        os.chdir(home)
        print(study.run(evaluate, workers=2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that is in use")
def test_no_process_is_started_in_a_removed_folder(tmp_path: Path) -> None:
    """Python 3.13.0 cannot start the resource tracker there: it would die, and a later run would warn."""
    (tmp_path / "removed.py").write_text(textwrap.dedent(REMOVED_FOLDER))
    done = subprocess.run(
        [sys.executable, "removed.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    refused = "No worker can be started: the current directory does not exist any more. Change to another one."
    assert done.stdout.splitlines() == [refused, "None", "space exhausted"]
    assert not done.stderr


def test_the_stderr_of_earlier_trials_is_discarded(evaluators: Callable[[str], Any]) -> None:
    study = study_of(4, evaluator=evaluators("chatters"), trial_timeout=60)
    study.run()
    assert [t.value for t in study.trials] == [0.0] * 4


# --- what cannot be sent to a worker --------------------------------------------------------------


def test_a_function_that_cannot_be_sent_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_HAS_CLOUDPICKLE", False)
    study = study_of(3)
    with pytest.raises(UsageError, match=r"can be imported from a module\. Lambdas, and"):
        study.run(lambda params: params["x"], workers=2)
    assert not study.trials


def test_what_cloudpickle_cannot_send_is_refused_with_a_remedy() -> None:
    study, lock = study_of(3), threading.Lock()
    with pytest.raises(UsageError, match=r"cannot pickle '_thread.lock' object.*can be imported from a module"):
        study.run(lambda params: params["x"] if lock else 0, workers=2)
    assert not study.trials


def test_with_cloudpickle_a_lambda_and_its_closure_are_sent() -> None:
    pytest.importorskip("cloudpickle")
    study, factor = study_of(3), 2
    study.run(lambda params: factor * params["x"], workers=2)
    assert sorted(t.value for t in study.trials if t.value is not None) == [0, 2, 4]


def test_a_nested_function_has_the_same_traceback_in_a_worker() -> None:
    pytest.importorskip("cloudpickle")

    def raises(params: Params) -> float:
        raise OSError("the disk is full")

    details = []
    for workers in (1, 2):
        study = study_of(1)
        study.run(raises, workers=workers)
        assert study.trials[0].failure is not None
        details.append(study.trials[0].failure.detail)
    assert details[0] == details[1]
    assert 'raise OSError("the disk is full")' in details[1]


NOTEBOOK = """
import hpt_core as hpt
from hpt_core.builtin import worker_process

worker_process._HAS_CLOUDPICKLE &= {has_cloudpickle}

class Counting:
    def suggest(self, history, rng):
        return {{"x": history.next_number}}

def train(params):
    return params["x"] ** 2

study = hpt.Study({{"x": hpt.Int(0, 2)}}, sampler=Counting(), seed=0)
try:
    study.run(train, workers=2)
except hpt.HptError as err:
    print(err)
print(sorted(t.value for t in study.trials))
"""


@pytest.mark.parametrize("has_cloudpickle", [True, False])
@pytest.mark.parametrize("how", ["prompt", "standard input", "its device"])
def test_an_interactive_function_needs_cloudpickle(how: str, has_cloudpickle: bool) -> None:
    """The function exists only in the memory of this process, as in a notebook."""
    if has_cloudpickle:
        pytest.importorskip("cloudpickle")
    program = NOTEBOOK.format(has_cloudpickle=has_cloudpickle)
    told = None if how == "prompt" else program
    options = {"prompt": ["-c", program], "standard input": ["-"], "its device": ["/dev/stdin"]}[how]
    done = subprocess.run(
        [sys.executable, *options], input=told, capture_output=True, text=True, check=True, timeout=60
    )
    assert "No such file" not in done.stderr  # no process looked for a file <stdin>
    if has_cloudpickle:
        assert done.stdout.splitlines()[-1] == "[0.0, 1.0, 4.0]"
    else:
        assert "need cloudpickle (pip" in done.stdout


class DiesOnArrival(Counting):
    def __setstate__(self, state: object) -> None:
        os._exit(7)

    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}


def test_workers_that_die_before_their_first_trial_are_not_replaced_forever(evaluators: Callable[[str], Any]) -> None:
    study = Study({"x": Int(0, 2)}, sampler=DiesOnArrival(), evaluator=evaluators("fine"), seed=0)
    with pytest.raises(HptError, match="A worker ended before it started a trial: its process ended with exit code 7"):
        study.run(workers=2)


class OneDies(Counting):
    """Of two workers, the second one dies on arrival: before the first one starts, or after that one has ended."""

    def __init__(self, folder: Path, order: str) -> None:
        self.folder, self.order = folder, order

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        first, second = self.folder / "first.pid", self.folder / "second.pid"
        own, other = (second, first) if first.exists() else (first, second)
        try:
            own.touch(exist_ok=False)
        except FileExistsError:  # both looked at the same time
            own, other = second, first
        own.write_text(str(os.getpid()))
        if (own == second) == (self.order == "late"):
            assert until(lambda: other.exists() and bool(other.read_text()))
            assert until(lambda: not is_running(int(other.read_text())))
        if own == second:
            os._exit(9)


@pytest.mark.parametrize("order", ["early", "late"])
def test_a_run_goes_on_without_a_worker_that_dies_before_its_first_trial_and_warns(
    evaluators: Callable[[str], Any], tmp_path: Path, order: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = Study({"x": Int(0, 2)}, sampler=OneDies(tmp_path, order), evaluator=evaluators("fine"), seed=0)
    assert study.run(workers=2) == "space exhausted"
    assert [t.value for t in study.trials] == [0.0, 1.0, 2.0]
    (warning,) = (record.getMessage() for record in caplog.records)
    assert warning.startswith("Workers that ended before they started a trial, and so were not replaced: 1.")
    assert warning.endswith("its process ended with exit code 9.")


class DiesBetween(Counting):
    """Dies once, when trial 1 is due."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def suggest(self, history: History, rng: Generator) -> Params:
        if history.next_number == 1 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().suggest(history, rng)


def test_a_worker_that_dies_between_two_trials_is_replaced(evaluators: Callable[[str], Any], tmp_path: Path) -> None:
    sampler = DiesBetween(tmp_path / "died")
    study = Study({"x": Int(0, 2)}, sampler=sampler, evaluator=evaluators("fine"), seed=0, trial_timeout=60)
    assert study.run() == "space exhausted"
    assert [(t.state, t.attempt) for t in study.trials] == [(State.COMPLETE, 1)] * 3
    assert sampler.mark.exists()


def test_a_worker_is_replaced_after_the_temporary_files_were_removed(
    evaluators: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    study = study_of(4, evaluator=evaluators("cleans"), trial_timeout=60)
    assert study.run() == "space exhausted"
    assert [t.state for t in study.trials] == [State.FAILED, *[State.COMPLETE] * 3]
    assert [*temporary.iterdir()] == []


class Fails(Counting):
    def suggest(self, history: History, rng: Generator) -> Params:
        if history.next_number == 2:
            raise ZeroDivisionError("in the worker")
        return super().suggest(history, rng)


def test_an_error_of_a_worker_is_raised_here(evaluators: Callable[[str], Any]) -> None:
    study = Study({"x": Int(0, 5)}, sampler=Fails(), evaluator=evaluators("fine"), seed=0)
    with pytest.raises(HptError, match="Fails failed: ZeroDivisionError: in the worker"):
        study.run(workers=2)
    assert all(t.state in {State.COMPLETE, State.WAITING} for t in study.trials)


def test_the_executor_has_no_options() -> None:
    assert LocalExecutor() == LocalExecutor()


# --- timing ---------------------------------------------------------------------------------------

DELAYED = """
    import math, os, random, time

    def delayed(params):
        time.sleep(random.random() * 0.05)
        return math.sin(20 * params["x"])
"""

LEARNING = '''
    import math

    class Learning:
        """A sampler whose points depend on every visible result and on the pending trials."""

        def suggest(self, history, rng):
            complete = history.complete
            seen = sum((i + 1) * v for i, v in zip(complete, history.losses[complete, 0]))
            return {"x": math.modf(abs(seen) + rng.random() / (1 + len(history.pending)))[0]}
'''


def test_a_reproducible_study_does_not_depend_on_timing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "delays_of_chance.py").write_text(textwrap.dedent(DELAYED) + textwrap.dedent(LEARNING))
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for _ in range(2):
        study = Study(
            {"x": Float(0, 1)},
            sampler={"use": "delays_of_chance:Learning"},
            evaluator={"use": "function", "call": "delays_of_chance:delayed"},
            seed=1,
            reproducible=True,
        )
        study.run(trials=10, workers=3)
        found.append([(t.number, t.params, t.values, t.state) for t in study.trials])
    assert found[0] == found[1]
    assert len({params["x"] for _, params, _, _ in found[0]}) == 10


# --- scripts that are interrupted and killed ------------------------------------------------------

SCRIPT = """
    import os, signal, sys, time
    import hpt_core as hpt

    class Learning:
        def suggest(self, history, rng):
            seen = sum((i + 1) * v for i, v in zip(history.complete, history.losses[history.complete, 0]))
            return {"x": (seen + rng.random()) % 1}

    def evaluate(params, trial):
        print(f"trial {trial.number} {os.getpid()}\\n", end="", flush=True)
        if len(sys.argv) > 2 and trial.number >= int(sys.argv[2]):
            time.sleep(4713)
        return params["x"] ** 2

    if __name__ == "__main__":
        study = hpt.Study({"x": hpt.Float(0, 1)}, sampler=Learning(), store="sqlite:///study.db", seed=4)
        try:
            print(study.run(evaluate, trials=6, workers=int(sys.argv[1])), flush=True)
        finally:
            for t in study.trials:
                print(t.number, t.state, t.params, t.values, t.attempt, flush=True)
"""


class Script:
    """The script above in a folder, run in separate processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        (folder / "script.py").write_text(textwrap.dedent(SCRIPT))

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "script.py", *map(str, arguments)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def finish(self, *arguments: object) -> list[str]:
        out, err = self.start(*arguments).communicate(timeout=PATIENCE * 2)
        assert "Traceback" not in err, err
        return [line for line in out.splitlines() if not line.startswith("trial ")]

    def copy_to(self, folder: Path) -> Script:
        folder.mkdir()
        return Script(folder)


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    pytest.importorskip("hpt_store_sqlite")
    made = Script(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], beginning: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(beginning):
            return lines
    raise AssertionError(lines)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_records_the_state_and_the_next_run_resumes(script: Script, tmp_path: Path, workers: int) -> None:
    process = script.start(workers, 3)
    read_until(process, "trial 3")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in err
    assert process.returncode != 0
    states = {line.split()[0]: line.split()[1] for line in out.splitlines() if line[:1].isdigit()}
    assert states["3"] == "waiting"
    assert "running" not in states.values()
    lines = script.finish(workers)
    assert lines[0] == "all 6 trials were started"
    attempts = [line.rsplit(" ", 1)[1] for line in lines[1:]]
    assert attempts[3] == "2"
    if workers == 1:
        undisturbed = script.copy_to(tmp_path / "undisturbed").finish(1)
        assert [line.rsplit(" ", 1)[0] for line in lines] == [line.rsplit(" ", 1)[0] for line in undisturbed]


def test_a_killed_script_resumes_as_if_uninterrupted(script: Script, tmp_path: Path) -> None:
    for last in (2, 4):
        process = script.start(1, last)
        read_until(process, f"trial {last}")
        process.kill()
        process.wait()
    lines = script.finish(1)
    undisturbed = script.copy_to(tmp_path / "undisturbed").finish(1)
    assert [line.rsplit(" ", 1)[0] for line in lines] == [line.rsplit(" ", 1)[0] for line in undisturbed]
    assert [line.rsplit(" ", 1)[1] for line in lines[1:]] == ["1", "1", "2", "1", "2", "1"]


def test_workers_end_with_their_supervisor_and_their_trials_are_recovered(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    process = script.start(2, 0)
    pids = [int(line.split()[2]) for _ in range(2) for line in read_until(process, "trial ")[-1:]]
    assert len({*pids, process.pid}) == 3
    assert len([*temporary.glob("*/stderr-*")]) == 2
    process.kill()
    process.wait()
    assert until(lambda: not any(is_running(pid) for pid in pids))
    assert [*temporary.iterdir()] == []
    lines = script.finish(2)
    assert len(lines) == 7
    assert all(line.split()[1] == "complete" for line in lines[1:])
    assert sorted(line.rsplit(" ", 1)[1] for line in lines[1:]) == ["1", "1", "1", "1", "2", "2"]


def test_the_same_script_twice_at_once_shares_the_work(script: Script) -> None:
    first, second = script.start(1), script.start(1)
    outs = [process.communicate(timeout=PATIENCE * 2) for process in (first, second)]
    assert not any("Traceback" in err for _, err in outs), outs
    evaluated = sorted(line.split()[1] for out, _ in outs for line in out.splitlines() if line.startswith("trial "))
    assert evaluated == [str(i) for i in range(6)]
    lines = script.finish(1)
    assert [line.split()[1] for line in lines[1:]] == ["complete"] * 6
    assert len({line.split("{")[1] for line in lines[1:]}) == 6


SLOW_TO_START = """
    import signal, time
    import hpt_core as hpt

    if __name__ != "__main__":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so that it would have time to report
        print("starts", flush=True)
        time.sleep(4715)

    def evaluate(params):
        return params["x"]

    if __name__ == "__main__":
        hpt.Study({"x": hpt.Float(0, 1)}, sampler="random", seed=4).run(evaluate, trials=2, workers=2)
"""


def test_ctrl_c_while_workers_start_is_reported_by_the_supervisor_only(tmp_path: Path) -> None:
    """A terminal sends it to all processes, and their imports may take long."""
    (tmp_path / "slow.py").write_text(textwrap.dedent(SLOW_TO_START))
    with subprocess.Popen(
        [sys.executable, "slow.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        read_until(process, "starts")
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert err.count("Traceback") == err.count("KeyboardInterrupt") == 1, err


def test_ctrl_c_does_not_cut_off_the_start_of_a_worker() -> None:
    """A half-started worker would have no owner. The signal may arrive in another thread."""
    waits = threading.Event()
    thread = threading.Thread(target=waits.wait)
    done = []

    def start() -> None:
        with ctrl_c_blocked():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            done.append(True)

    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
    finally:
        waits.set()
        thread.join()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


STUBBORN = """
    import os, pathlib, signal, subprocess, time
    import hpt_core as hpt

    def evaluate(params, trial):
        if trial.number == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            left = subprocess.Popen(["sleep", "4718"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            pathlib.Path("left.pid").write_text(str(left.pid))
        print(f"trial {trial.number}\\n", end="", flush=True)
        time.sleep(4719)

    if __name__ == "__main__":
        hpt.Study({"x": hpt.Float(0, 1)}, sampler="random", seed=4).run(evaluate, trials=2, workers=2)
"""


def test_what_trials_started_is_killed_even_if_the_supervisor_is_killed_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(textwrap.dedent(STUBBORN))
    with subprocess.Popen(
        [sys.executable, "stubborn.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for _ in range(2):
            read_until(process, "trial")
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.kill()
        left = int((tmp_path / "left.pid").read_text())
        assert until(lambda: not is_running(left))


LEFT_ALONE = """
    import os, pathlib, subprocess
    from hpt_core.builtin import worker_process

    os.setpgrp()
    print(subprocess.Popen(["sleep", "4716"], stdout=subprocess.DEVNULL).pid, flush=True)
    worker_process._end(pathlib.Path("stderr"))
"""


def test_a_worker_without_a_supervisor_kills_what_its_trials_started() -> None:
    """It may notice before the thread that waits for the supervisor's end."""
    command = [sys.executable, "-c", textwrap.dedent(LEFT_ALONE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert until(lambda: not is_running(int(done.stdout)))
