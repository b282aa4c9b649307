"""Every sampler on every store: stopped, killed and resumed is the same as never stopped."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hpt_core import Params, Study
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify

SAMPLERS: dict[str, dict[str, Any]] = {
    "random": {"use": "random"},
    "sobol": {"use": "random", "method": "sobol"},
    "halton": {"use": "random", "method": "halton"},
    "latin-hypercube": {"use": "random", "method": "latin-hypercube"},
    "grid": {"use": "grid", "points": 3},
    "shuffled grid": {"use": "grid", "points": 3, "order": "shuffled"},
    "bayes": {"use": "bayes", "n_initial": 4},
    "auto": {"use": "auto"},
}
STORES = ("sqlite", "csv")
SPACE = """{
    "model": ["svm", "forest"],
    "C": {"low": 1e-3, "high": 1e3, "log": True, "when": {"model": "svm"}},
    "depth": {"low": 2, "high": 9, "when": {"model": "forest"}},
    "scale": [True, False],
}"""
TRIALS = 12

SCRIPT = """
    import json, math, os, sys
    import hpt_core as hpt

    sampler, store, kill_at, log = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]

    def evaluate(params, trial):
        if trial.number == kill_at and trial.resume_step == 0:
            os.kill(os.getpid(), 9)
        loss = math.log10(params["C"]) ** 2 if params["model"] == "svm" else abs(params["depth"] - 5)
        if loss > 7:
            raise ValueError("too far out")
        yield loss + 1
        if trial.number == -kill_at:
            os.kill(os.getpid(), 9)
        yield loss + (0.5 if params["scale"] else 0)

    study = hpt.Study(SPACE, sampler=sampler, store=store, seed=11, max_failures=99)
    study.run(evaluate, trials=TRIALS)
    with open(log, "w") as file:
        json.dump([[t.number, t.params, t.values, t.state, [r.value for r in t.reports]] for t in study.trials], file)
"""


def available(kind: str, name: str) -> bool:
    return name in default_plugins().names(kind)


def run(folder: Path, sampler: dict[str, Any], store: str, kills: Sequence[int] = ()) -> list[Any]:
    """Run the script to its end, killed on the way at these trials (negative: after the trial's first report)."""
    folder.mkdir()
    source = textwrap.dedent(SCRIPT).replace("SPACE", SPACE).replace("TRIALS", str(TRIALS))
    (folder / "script.py").write_text(source)
    location = str(folder / f"study.{'db' if store == 'sqlite' else store}")
    log = folder / "log.json"
    for kill_at in (*kills, 99):
        command = [sys.executable, "script.py", json.dumps(sampler), location, str(kill_at), str(log)]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=50)
        assert ended.returncode == (0 if kill_at == 99 else -9), ended.stderr
        assert log.exists() == (kill_at == 99)
    found: list[Any] = json.loads(log.read_text())
    return found


def evaluate(params: Params) -> float:
    return float(params["x"] ** 2 + params["n"])


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_study_in_pieces_is_a_study_at_once(tmp_path: Path, name: str, store: str) -> None:
    """In memory at once; in a file in pieces, with a new study object and a new store object for each."""
    sampler = SAMPLERS[name]
    if not available("sampler", sampler["use"]) or not available("store", store):
        pytest.skip("not installed")
    space = {"x": {"low": 0.0, "high": 1.0}, "n": {"low": 1, "high": 9}}

    def study_on(where: Any) -> Study:
        return Study(space, sampler=dict(sampler), store=where, seed=3)

    def told(study: Study) -> list[Any]:
        return [(t.number, t.params, t.values, t.state, t.source, dict(t.info)) for t in study.trials]

    at_once = study_on("memory")
    at_once.run(evaluate, trials=TRIALS)
    location = str(tmp_path / f"study.{'db' if store == 'sqlite' else store}")
    for budget in (1, 5, 6, TRIALS):
        study = study_on(location)
        study.run(evaluate, trials=budget)
        study.close()
    study = study_on(location)
    assert told(study) == told(at_once)
    assert verify(study.store, "study", default_plugins()).differences == []
    study.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Any]]:
    """What a sampler finds that nobody kills, in SQLite: run once for all stores."""
    return cache(lambda name: run(tmp_path_factory.mktemp("undisturbed") / "study", SAMPLERS[name], "sqlite"))


KILLED = [
    ("random", "sqlite", (3, -7)),
    ("shuffled grid", "csv", (3, -7)),
    ("bayes", "sqlite", (-6,)),
    ("bayes", "csv", (-6, 8)),
]


@pytest.mark.parametrize(("name", "store", "kills"), KILLED)
def test_a_killed_study_goes_on_as_if_it_had_not_been(
    tmp_path: Path, undisturbed: Callable[[str], list[Any]], name: str, store: str, kills: list[int]
) -> None:
    sampler = SAMPLERS[name]
    if not available("sampler", sampler["use"]) or not all(available("store", kind) for kind in ("sqlite", store)):
        pytest.skip("not installed")
    expected = undisturbed(name)
    assert run(tmp_path / "killed", sampler, store, kills) == expected
    assert len(expected) == TRIALS
    assert {state for _, _, _, state, _ in expected} <= {"complete", "failed"}
