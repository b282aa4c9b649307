"""`hpt run` as a real process: Ctrl-C, a second Ctrl-C, and the output on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HPT = [sys.executable, "-m", "hpt_core"]

STUDY = """
objective = { loss = "minimize" }
seed = 1
trials = 4

[space]
x = { low = 0, high = 3 }

[evaluator]
use = "function"
call = "slow:train"
steps = 3

[sampler]
use = "grid"
"""

# a trial takes a fraction of a second until the file `fast` exists
SLOW = """
import pathlib, time

def train(params):
    for step in range(3):
        if params["x"] == 2 and not pathlib.Path("fast").exists():
            pathlib.Path("reached").touch()
            time.sleep(60)
        yield params["x"] / (step + 1)
"""

STUBBORN = """
import pathlib, time

def train(params):
    while not pathlib.Path("fast").exists():
        pathlib.Path("reached").touch()
        try:
            time.sleep(60 if not pathlib.Path("ignored").exists() else 0.1)
        except KeyboardInterrupt:
            pathlib.Path("ignored").touch()
    return params["x"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.toml").write_text(STUDY)
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "NO_COLOR", "HPT_STORE", "COLUMNS")}
    return {**kept, "TERM": "xterm-256color", **more}


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def start(folder: Path, *arguments: str, hpt: Sequence[str] = HPT) -> subprocess.Popen[str]:
    """Start `hpt run` as a terminal does; the test runner may ignore SIGINT, and children inherit that."""
    return subprocess.Popen(
        [*hpt, "run", "s.toml", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads
    )


def trials(folder: Path) -> list[tuple[int, str, int]]:
    run = subprocess.run([*HPT, "trials", "--json"], cwd=folder, capture_output=True, text=True, check=True)
    return [(row["number"], row["state"], row["attempt"]) for row in json.loads(run.stdout)["trials"]]


# --- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_the_first_signal_stops_cleanly_and_the_same_command_resumes(
    folder: Path, number: signal.Signals, workers: int
) -> None:
    process = start(folder, f"--workers={workers}")
    wait_for((folder / "reached").exists)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Stopping cleanly. Press Ctrl-C again to stop immediately.\n" in err
    assert "Interrupted. All results so far are recorded.\n" in err
    assert f"  hpt run s.toml --workers={workers}    continues the study\n" in err
    assert "Traceback" not in err
    before = trials(folder)
    assert before[2] == (2, "waiting", 1)
    assert {state for _, state, _ in before} <= {"complete", "waiting"}  # released: neither lost nor still running
    waiting = [trial for trial, state, _ in before if state == "waiting"]
    (folder / "fast").touch()
    again = start(folder, f"--workers={workers}")
    _, err = again.communicate(timeout=50)
    assert again.returncode == 0
    assert f"{len(before)} trials ({len(waiting)} to be run again)." in err
    assert trials(folder) == [(trial, "complete", 2 if trial in waiting else 1) for trial in range(4)]


def test_the_second_signal_stops_immediately_whatever_a_trial_does(folder: Path) -> None:
    (folder / "slow.py").write_text(STUBBORN)
    process = start(folder)
    wait_for((folder / "reached").exists)
    process.send_signal(signal.SIGINT)
    wait_for((folder / "ignored").exists)
    assert process.poll() is None
    time.sleep(0.3)  # an earlier signal would count as the same request
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Stopped immediately" in err
    assert trials(folder) == [(0, "running", 1)]
    (folder / "fast").touch()
    again = start(folder)
    _, err = again.communicate(timeout=50)
    assert again.returncode == 0
    assert "with 1 trial (1 to be run again)." in err
    assert trials(folder) == [(0, "complete", 2), *((i, "complete", 1) for i in (1, 2, 3))]


def test_one_request_sent_as_two_signals_stops_cleanly(folder: Path) -> None:
    """timeout(1) sends its signal to the process and immediately afterwards to its process group.

    On a busy machine, "immediately" may take long.
    """
    (folder / "slow.py").write_text(STUBBORN)
    patient = "from hpt_core.cli import interrupts, main; interrupts._ONE_REQUEST_SECONDS = 60.0; main()"
    process = start(folder, hpt=[sys.executable, "-c", patient])
    wait_for((folder / "reached").exists)
    process.send_signal(signal.SIGTERM)
    wait_for((folder / "ignored").exists)
    process.send_signal(signal.SIGTERM)
    (folder / "fast").touch()
    _, err = process.communicate(timeout=60)
    assert "Stopping cleanly" in err
    assert "Stopped immediately" not in err


def test_json_is_complete_after_an_interrupt(folder: Path) -> None:
    process = start(folder, "--json")
    wait_for((folder / "reached").exists)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    found = json.loads(out)
    assert (found["interrupted"], found["reason"]) == (True, "interrupted")
    assert found["states"] == {"complete": 2, "waiting": 1}


# --- a terminal -----------------------------------------------------------------------------------


def on_a_terminal(folder: Path, columns: int, *command: str, **more: str) -> str:
    """Run a command with all its streams on a terminal, and return the output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], list(command), environment(**more))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    sent = b""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # Linux reports the end like this
            break
        if not chunk:
            break
        sent += chunk
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, sent.decode()
    return sent.decode().replace("\r\n", "\n")


def test_a_terminal_shows_progress_in_place(folder: Path) -> None:
    pytest.importorskip("rich")
    (folder / "fast").touch()
    sent = on_a_terminal(folder, 100, *HPT, "run", "s.toml")
    assert "\x1b[?25l" in sent  # the cursor is hidden
    assert "\x1b[?25h" in sent.partition("\x1b[?25l")[2]  # and restored
    assert "\x1b[2K" in sent  # the display is removed
    assert "4/4 trials" in sent
    assert "━" in sent
    assert "trial 0 complete loss=0 (best so far)" in sent
    assert "trial 1 complete" not in sent  # not a new best, so only in the display
    end = sent.rpartition("\x1b")[2]
    assert "The study ended: all 4 trials were started." in end
    assert "best loss=0 (trial 0)" in end


def test_failures_stay_on_the_screen_and_cannot_control_it(folder: Path) -> None:
    pytest.importorskip("rich")
    (folder / "slow.py").write_text(
        "def train(params):\n    if params['x'] == 1: raise ValueError('\\x1b]0;owned\\x07[red]')\n    return 1.0\n"
    )
    sent = on_a_terminal(folder, 100, *HPT, "run", "s.toml")
    assert "trial 1 failed (error): ValueError: \\x1b]0;owned\\x07[red]" in sent
    assert "\x1b]0;" not in sent
    assert "failed 1: 1 error" in sent


def test_progress_fits_a_narrow_terminal(folder: Path) -> None:
    pytest.importorskip("rich")
    (folder / "fast").touch()
    sent = on_a_terminal(folder, 40, *HPT, "run", "s.toml")
    assert "4/4 trials" in sent
    assert "━" not in sent
    table = on_a_terminal(folder, 30, *HPT, "trials")
    assert max(map(len, table.splitlines())) == 30
    assert all(line.endswith("…") for line in table.splitlines() if len(line) == 30)


@pytest.mark.parametrize("variable", [{"CI": "true"}, {"TERM": "dumb"}])
def test_plain_lines_on_a_terminal_without_cursor_control(folder: Path, variable: dict[str, str]) -> None:
    (folder / "fast").touch()
    sent = on_a_terminal(folder, 100, *HPT, "run", "s.toml", **variable)
    assert "\x1b" not in sent
    assert "trial 3 complete loss=1 (best 0, trial 0)" in sent


def test_plain_lines_without_rich(folder: Path) -> None:
    (folder / "fast").touch()
    program = "import sys; sys.modules['rich.console'] = None; from hpt_core.cli import main; main()"
    sent = on_a_terminal(folder, 100, sys.executable, "-c", program, "run", "s.toml")
    assert "\x1b" not in sent
    assert "trial 3 complete loss=1 (best 0, trial 0)" in sent


def test_no_color_is_honoured(folder: Path) -> None:
    pytest.importorskip("rich")
    (folder / "fast").touch()
    sent = on_a_terminal(folder, 100, *HPT, "run", "s.toml", NO_COLOR="1")
    assert "\x1b[3" not in sent  # no colour
    assert "4/4 trials" in sent


def test_a_pipe_gets_no_escape_sequence(folder: Path) -> None:
    (folder / "fast").touch()
    command = [*HPT, "run", "s.toml"]
    forced = environment(FORCE_COLOR="1", CLICOLOR_FORCE="1")
    run = subprocess.run(command, cwd=folder, env=forced, capture_output=True, text=True, check=True)
    assert "\x1b" not in run.stdout + run.stderr
    assert "trial 3 complete" in run.stderr


def test_output_of_a_trial_is_not_lost_next_to_the_display(folder: Path) -> None:
    pytest.importorskip("rich")
    code = """
    import sys

    def train(params):
        print("to stdout", params["x"])
        print("to stderr", params["x"], file=sys.stderr)
        return 1.0
    """
    (folder / "slow.py").write_text(textwrap.dedent(code))
    sent = on_a_terminal(folder, 100, *HPT, "run", "s.toml")
    for x in range(4):
        assert f"to stdout {x}\n" in sent
        assert f"to stderr {x}\n" in sent
    on_a_terminal(folder, 100, "sh", "-c", f"'{sys.executable}' -m hpt_core run s.toml --name b > out.txt")
    assert (folder / "out.txt").read_text().startswith("to stdout 0\nto stdout 1\n")
