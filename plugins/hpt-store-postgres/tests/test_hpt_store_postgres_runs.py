"""Whole studies on a server: two workers, a kill, resuming, verifying, reading; and the password in none of it."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import hpt_core as hpt
from hpt_core.cli.group import hpt as hpt_command
from hpt_store_postgres.store import PostgresStore

server = runpy.run_path(str(Path(__file__).with_name("test_hpt_store_postgres_server.py")))["server"]

PASSWORD = "s3cr%25t"
STUDY = """
name = "demo"
objective = "minimize"
seed = 3
trials = 12
reproducible = true
space = { x = { low = 0.0, high = 1.0 } }
sampler = "random"
evaluator = { use = "function", call = "objective:train" }
store = "URL"
"""
CODE = """
import time

def train(params):
    for step in range(3):
        time.sleep(0.02)
        yield params["x"] + 1 / (1 + step)
"""


@pytest.fixture
def url(server: Any) -> str:
    """The database of a user who has a password and owns it."""
    name = server.database()
    user = f"owner_{name}"
    server.execute(f"CREATE ROLE {user} LOGIN PASSWORD 's3cr%t'")
    server.execute(f"ALTER DATABASE {name} OWNER TO {user}")
    return str(server.url(name, f"{user}:{PASSWORD}"))


@pytest.fixture
def folder(tmp_path: Path, url: str) -> Path:
    (tmp_path / "s.toml").write_text(STUDY.replace("URL", url), encoding="utf-8")
    (tmp_path / "objective.py").write_text(CODE, encoding="utf-8")
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`hpt run --workers 2` in a process group of its own."""
    command = [sys.executable, "-m", "hpt_core", "run", "s.toml", "--workers", "2", *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, start_new_session=True, **pipes)


def finish(running: subprocess.Popen[str]) -> str:
    """Wait for the end; returns all that was printed."""
    said, _ = running.communicate()
    assert running.returncode == 0, said
    return said


def wait_for_trials(running: subprocess.Popen[str], store: PostgresStore, count: int) -> None:
    while sum(record["event"] == "finished" for record in store.read("demo")) < count:
        assert running.poll() is None, finish(running)
        time.sleep(0.02)


def hpt_says(*arguments: str) -> str:
    ended = CliRunner().invoke(hpt_command, arguments, prog_name="hpt", env={"PGPASSWORD": "s3cr%t"})
    assert ended.exit_code == 0, ended.output
    return ended.output


def points(history: hpt.History) -> list[float]:
    return [trial.params["x"] for trial in history.trials]


def test_a_study_with_two_workers_that_was_killed_goes_on_as_if_it_had_not_been(
    folder: Path, url: str, server: Any
) -> None:
    running = start(folder)
    with closing(PostgresStore(url=url)) as store:
        wait_for_trials(running, store, 3)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        said = finish(start(folder, f"store={url}"))
        found = hpt.load_history(store)
    assert f"The results are in {store.location}" in said
    study = hpt.Study({"x": hpt.Float(0, 1)}, objective="minimize", sampler="random", seed=3)
    study.run(lambda params: params["x"], trials=12)
    assert points(found) == points(study.history)
    assert {trial.state for trial in found.trials} == {"complete"}
    for command in ("verify", "show", "trials", "best"):
        said += hpt_says(command, "--store", store.location)
    assert "s3cr" not in said + hpt_says("check", str(folder / "s.toml"))
    database = url.rpartition("/")[2]
    for table in ("studies", "events"):
        rows = server.execute(f"SELECT x::text FROM hpt.{table} x", database=database)
        assert rows
        assert "s3cr" not in str(rows)


def test_a_study_goes_on_while_the_server_restarts(folder: Path, url: str, server: Any) -> None:
    running = start(folder)
    with closing(PostgresStore(url=url)) as store:
        wait_for_trials(running, store, 3)
        server.stop()
        server.start()
        said, _ = running.communicate()
        if running.returncode:  # the server stopped while a decision was made
            assert "lost while this process held the lock of the study 'demo'" in said
            finish(start(folder))
        assert len(points(hpt.load_history(store))) == 12
    hpt_says("verify", "--store", url)


def test_processes_share_a_study_from_python(url: str) -> None:
    space = {"x": hpt.Float(0, 1)}
    studies = [hpt.Study(space, objective="minimize", sampler="random", store=url, seed=0) for _ in range(2)]
    for _ in range(3):
        for study in studies:
            trial = study.ask()
            study.tell(trial, trial.params["x"])
    assert [trial.number for trial in hpt.load_history(url).trials] == list(range(6))
    for study in studies:
        study.store.close()


@pytest.fixture(autouse=True)
def no_store_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPT_STORE", raising=False)
