"""No process outlives its trial: real kills, orphans looked for in /proc, floods, hangs."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpt_core import EvaluationError, TrialContext
from hpt_evaluator_command.evaluator import CommandEvaluator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

FAMILY = """
import os, signal, sys, time
for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) if len(sys.argv) > 1 else ():
    signal.signal(s, lambda *_: open(sys.argv[1], "w").close())
def rest():
    while True:
        time.sleep(60)
if os.fork() == 0:            # a child in the group
    rest()
if os.fork() == 0:            # a child with a session of its own, and a grandchild whose parent is gone
    os.setsid()
    if os.fork() == 0:
        rest()
    os._exit(0)
print('{"step": 1, "value": 1}', flush=True)
rest()
"""
"""A command that leaves the group and loses its parent: 3 processes. With an argument, it only creates the file of that
name on SIGTERM."""

REPORT = '{{"step": 1, "value": 1}}'
"""A report, as a template of a command has it."""


@pytest.fixture
def mark() -> Iterator[str]:
    """A word in the environment of all processes of a test, which are killed at its end."""
    word = f"hpt-test-{uuid.uuid4().hex}"
    yield word
    for pid in marked(word):
        os.kill(pid, signal.SIGKILL)


def marked(word: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def supervisors(word: str) -> list[int]:
    return [pid for pid in marked(word) if b"supervise.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]


class Clock:
    """The module ``time`` with a monotonic clock that can be set ahead."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which a command's time is measured."""
    clock = Clock()
    monkeypatch.setattr("hpt_evaluator_command.process.time", clock)
    return clock


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def family(mark: str, *arguments: str, grace: float = 0.2, timeout: float | None = None) -> CommandEvaluator:
    code = FAMILY.replace("{", "{{").replace("}", "}}")
    command = [sys.executable, "-I", "-S", "-c", code, *arguments]
    return CommandEvaluator(command=command, env={"MARK": mark}, grace=grace, timeout=timeout)


@pytest.mark.parametrize("arguments", [[], [os.devnull]], ids=["ends at SIGTERM", "ignores SIGTERM"])
def test_closing_the_generator_ends_all(mark: str, arguments: list[str]) -> None:
    generator = family(mark, *arguments).evaluate(TrialContext({}))
    next(generator)
    assert wait_for(lambda: len(marked(mark)) == 4)  # the three processes and their supervisor
    generator.close()
    assert not marked(mark)


@pytest.mark.parametrize("arguments", [[], [os.devnull]], ids=["ends at SIGTERM", "ignores SIGTERM"])
def test_a_timeout_ends_all(mark: str, arguments: list[str], clock: Clock) -> None:
    generator = family(mark, *arguments, timeout=50).evaluate(TrialContext({}))
    next(generator)
    clock.ahead = 50
    with pytest.raises(EvaluationError, match=r"exceeded its `timeout` of 50 s") as caught:
        next(generator)
    assert caught.value.kind == "timeout"
    assert not marked(mark)


def test_an_exception_in_the_evaluation_ends_all(mark: str) -> None:
    generator = family(mark).evaluate(TrialContext({}))
    next(generator)
    with pytest.raises(KeyboardInterrupt):
        generator.throw(KeyboardInterrupt)
    assert not marked(mark)


def test_what_a_finished_command_leaves_running_is_ended(mark: str) -> None:
    code = FAMILY.replace("print(", "print(5); sys.exit()\nprint(")
    command = [sys.executable, "-I", "-S", "-c", code.replace("{", "{{").replace("}", "}}"), os.devnull]
    evaluator = CommandEvaluator(command=command, env={"MARK": mark}, grace=0.1)
    with pytest.raises(StopIteration) as end:
        next(evaluator.evaluate(TrialContext({})))
    assert end.value.value == 5.0
    assert not marked(mark)


DRIVER = """
import sys
from hpt_core import TrialContext
from hpt_evaluator_command.evaluator import CommandEvaluator
command = [sys.executable, "-I", "-S", "-c", sys.argv[1], *sys.argv[2:]]
generator = CommandEvaluator(command=command, grace=GRACE).evaluate(TrialContext({}))
next(generator)
BEFORE
try:
    print("running", flush=True)
    next(generator)
finally:
    generator.close()
"""


def start_driver(mark: str, *arguments: str, before: str = "", grace: float = 0.2) -> subprocess.Popen[bytes]:
    code = FAMILY.replace("{", "{{").replace("}", "}}")
    program = DRIVER.replace("BEFORE", before).replace("GRACE", repr(grace))
    driver = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, code, *arguments],
        env=os.environ | {"MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == b"running\n"
    return driver


@pytest.mark.parametrize("arguments", [[], [os.devnull]], ids=["ends at SIGTERM", "ignores SIGTERM"])
def test_kill_9_of_hpt_ends_all(mark: str, arguments: list[str]) -> None:
    with start_driver(mark, *arguments) as driver:
        assert wait_for(lambda: len(marked(mark)) == 5)
        driver.send_signal(signal.SIGKILL)
    assert wait_for(lambda: not marked(mark))


def test_ctrl_c_ends_all(mark: str) -> None:
    with start_driver(mark) as driver:
        driver.send_signal(signal.SIGINT)
        assert driver.stderr is not None
        assert b"KeyboardInterrupt" in driver.stderr.read()
    assert not marked(mark)


def test_a_second_ctrl_c_does_not_wait_for_the_grace(mark: str, tmp_path: Path) -> None:
    asked_to_end = tmp_path / "asked to end"
    with start_driver(mark, str(asked_to_end), grace=50.0) as driver:
        assert wait_for(lambda: len(marked(mark)) == 5)
        driver.send_signal(signal.SIGINT)
        assert wait_for(asked_to_end.exists)
        assert driver.poll() is None
        driver.send_signal(signal.SIGINT)
        driver.wait(30)
    assert not marked(mark)


def test_the_command_is_ended_even_if_its_supervisor_hangs(
    mark: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpt_evaluator_command.process._MARGIN", 0.2)
    command = ["sh", "-c", f"echo '{REPORT}'; sleep 60; true"]
    generator = CommandEvaluator(command=command, env={"MARK": mark}, timeout=50).evaluate(TrialContext({}))
    next(generator)
    assert wait_for(lambda: len(marked(mark)) == 3)
    for pid in supervisors(mark):
        os.kill(pid, signal.SIGSTOP)
    clock.ahead = 50
    with pytest.raises(EvaluationError) as caught:
        next(generator)
    assert caught.value.kind == "timeout"
    assert wait_for(lambda: not marked(mark))


def test_a_command_that_ended_in_time_is_not_late_because_its_report_took_long_to_record(clock: Clock) -> None:
    command = ["sh", "-c", f"echo '{REPORT}'; echo 5"]
    generator = CommandEvaluator(command=command, timeout=50).evaluate(TrialContext({}))
    before = children()
    next(generator)
    (supervisor,) = children() - before
    os.waitid(os.P_PID, supervisor, os.WEXITED | os.WNOWAIT)
    clock.ahead = 50
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == 5.0


def test_kill_9_of_hpt_ends_all_even_if_a_fork_of_it_lives_on(mark: str) -> None:
    with start_driver(mark, before="import os, time\nif os.fork() == 0: time.sleep(60)") as driver:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert wait_for(lambda: len(marked(mark)) == 1)  # the fork, which does not belong to the trial
        os.kill(marked(mark)[0], signal.SIGKILL)


@pytest.mark.parametrize("rest", ["exec sleep 60", "sleep 60; true"], ids=["one process", "its child, too"])
def test_a_killed_supervisor_takes_the_command_with_it(mark: str, rest: str) -> None:
    evaluator = CommandEvaluator(command=["sh", "-c", f"echo '{REPORT}'; {rest}"], env={"MARK": mark})
    generator = evaluator.evaluate(TrialContext({}))
    next(generator)
    for pid in supervisors(mark):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(EvaluationError, match="ended from outside") as caught:
        next(generator)
    assert caught.value.kind == "killed"
    assert wait_for(lambda: not marked(mark))


def children() -> set[int]:
    """The child processes of this process."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def test_fifty_hanging_commands_leave_no_orphan(mark: str) -> None:
    evaluator = CommandEvaluator(command="sleep 60", env={"MARK": mark}, timeout=0.05)
    before = children()  # of other tests in this process
    for _ in range(50):
        with pytest.raises(EvaluationError, match="exceeded its `timeout`"):
            list(evaluator.evaluate(TrialContext({})))
    assert not marked(mark)
    assert children() <= before  # and no zombie


def test_no_descriptor_is_left_open() -> None:
    evaluator = CommandEvaluator(command="echo 1")
    list(evaluator.evaluate(TrialContext({})))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        list(evaluator.evaluate(TrialContext({})))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("line", ["y" * 79, "y" * 8191, ""], ids=["short lines", "long lines", "one line"])
def test_a_flood_of_output_takes_little_memory(line: str) -> None:
    code = f"""
        import sys
        line = {line!r}.encode()
        block = (line + b"\\n") * (1_000_000 // len(line)) if line else b"z" * 1_000_000
        for _ in range(100):
            sys.stdout.buffer.write(block)
        for _ in range(20):
            sys.stderr.buffer.write(b"e" * 1_000_000)
        print()
        print(0.5)
    """
    evaluator = CommandEvaluator(command=[sys.executable, "-I", "-S", "-c", textwrap.dedent(code)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StopIteration) as end:
        next(evaluator.evaluate(TrialContext({})))
    assert end.value.value == 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KiB
