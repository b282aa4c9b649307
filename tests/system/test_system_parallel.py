"""Several processes on one study, some of which are killed; and workers on every store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpt_core import State, Study
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.loading import load_history
from hpt_core.study.verify import verify

STORES = [name for name in ("sqlite", "csv") if name in default_plugins().names("store")]
pytestmark = pytest.mark.skipif(
    not STORES or "grid" not in default_plugins().names("sampler"), reason="needs a store on disk and the grid sampler"
)

SCRIPT = """
    import multiprocessing, sys, time
    import hpt_core as hpt

    def evaluate(params):
        print(f"trial {params['x']}\\n", end="", flush=True)  # one write, so that workers do not mix their lines
        yield params["x"] + 1.0
        time.sleep(0.02)
        yield float(params["x"])

    class Forks:
        # its workers open the store themselves, and are called as those of any other such executor may be

        def run(self, worker, count, lost):
            fork = multiprocessing.get_context("fork")
            processes = [fork.Process(target=worker, args=(f"worker-{i}",)) for i in range(count)]
            for process in processes:
                process.start()
            for process in processes:
                process.join()

    if __name__ == "__main__":
        executor = {"local": None, "forks": Forks()}[sys.argv[3]]
        study = hpt.Study(
            {"x": hpt.Int(0, 29)}, sampler="grid", store=sys.argv[1], seed=0, retries=3, executor=executor
        )
        study.run(evaluate, workers=int(sys.argv[2]))
"""


class Party:
    """Processes that work on one study."""

    def __init__(self, folder: Path, store: str) -> None:
        self.location = str(folder / f"study.{'db' if store == 'sqlite' else store}")
        self.script = folder / "party.py"
        self.script.write_text(textwrap.dedent(SCRIPT))
        self.processes: list[subprocess.Popen[str]] = []

    def join(self, workers: int = 1, executor: str = "local") -> subprocess.Popen[str]:
        command = [sys.executable, str(self.script), self.location, str(workers), executor]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.processes.append(process)
        return process

    def finish(self) -> list[str]:
        """Wait for all; what each evaluated."""
        outs = [process.communicate(timeout=50) for process in self.processes]
        for process, (_, err) in zip(self.processes, outs, strict=True):
            assert process.returncode in {0, -9}, err
        return [line.split()[1] for out, _ in outs for line in out.splitlines() if line.startswith("trial ")]


@pytest.fixture(params=STORES)
def party(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Party]:
    made = Party(tmp_path, request.param)
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("executor", ["local", "forks"])
def test_killed_processes_cost_nothing_but_time(party: Party, executor: str) -> None:
    """Three join; one is killed while it works, then a supervisor with its worker; a last one ends the study."""
    killed = party.join()
    party.join()
    assert killed.stdout is not None
    for _ in range(3):
        killed.stdout.readline()
    killed.kill()
    supervisor = party.join(2, executor)
    assert supervisor.stdout is not None
    supervisor.stdout.readline()
    supervisor.kill() if executor == "local" else os.killpg(supervisor.pid, signal.SIGKILL)
    time.sleep(0.2)
    party.finish()
    last = party.join()
    last.communicate(timeout=50)
    assert last.returncode == 0
    plugins = default_plugins()
    store = plugins.make_store(party.location)
    history = load_history(store)
    assert Counter(t.params["x"] for t in history.trials) == Counter(range(30))
    assert [t.number for t in history.trials if t.state is not State.COMPLETE] == []
    assert all(t.value == t.params["x"] for t in history.trials)
    assert verify(store, "study", plugins).differences == []
    store.close()


def test_workers_and_processes_share_the_work_without_doubles(party: Party) -> None:
    party.join(2)
    party.join(1)
    evaluated = Counter(party.finish())
    store = default_plugins().make_store(party.location)
    trials = load_history(store).trials
    store.close()
    assert [(t.number, t.state, t.failure) for t in trials if t.state is not State.COMPLETE] == []
    assert evaluated == Counter(map(str, range(30)))


@pytest.mark.parametrize("store", [*STORES, "memory"])
def test_workers_work_on_every_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    (tmp_path / "squares.py").write_text("def square(params):\n    return params['x'] ** 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    locations = {"sqlite": str(tmp_path / "s.db"), "csv": str(tmp_path / "s.csv"), "memory": "memory"}
    study = Study(
        {"x": {"low": 0, "high": 7}},
        sampler="grid",
        evaluator={"use": "function", "call": "squares:square"},
        store=locations[store],
        seed=0,
    )
    assert study.run(workers=2) == "space exhausted"
    assert sorted((t.params["x"], t.value) for t in study.trials) == [(i, float(i * i)) for i in range(8)]
    workers = {t.worker.rpartition("/")[2] for t in study.trials}
    assert workers <= {"1", "2"}
    study.close()
