"""Distributions of strangers, built as wheels and installed beside a built hpt-core in a fresh environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STRANGERS = sorted(path.parent for path in (Path(__file__).parent / "strangers").glob("*/pyproject.toml"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STUDY = """
name = "terraces"
objective = "minimize"
seed = 3
trials = 40

[space]
x = { low = -3, high = 3 }
y = { low = -3, high = 3 }

[evaluator]
use = "terraces"
calls = "calls"

[sampler]
use = "annealing"
temperature = 2.0

[store]
use = "jsonl"
path = "study.jsonl"

[[stop]]
use = "identical"
k = 4
"""

BOOSTING = """
name = "wines"
objective = "minimize"
seed = 1
trials = 6

[space]
learning_rate = { low = 0.01, high = 1.0, log = true }
max_leaf_nodes = { low = 2, high = 31, log = true }
min_samples_leaf = [5, 20]

[evaluator]
use = "boosting"

[sampler]
use = "annealing"

[store]
use = "jsonl"
path = "study.jsonl"
"""

Run = subprocess.CompletedProcess[str]
Hpt = Callable[..., Run]


def done(command: Sequence[object], folder: Path) -> None:
    run = subprocess.run([str(item) for item in command], cwd=folder, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def borrowed(folder: Path) -> Path:
    """All that is installed here but hpt itself, so that nothing has to be downloaded."""
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("hpt_", "_editable_", "__pycache__")) and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with built wheels of hpt-core and of all strangers."""
    place = tmp_path_factory.mktemp("strangers")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place / "wheels"]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda folder: done(build, folder), [ROOT, *STRANGERS]))
    done([sys.executable, "-m", "venv", "--without-pip", place / "venv"], place)
    python = place / "venv" / "bin" / "python"
    wheels = sorted((place / "wheels").glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", "--no-compile"]
    done([*pip, *wheels], place)
    (packages,) = (place / "venv").glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(f"{borrowed(place / 'borrowed')}\n")
    return place / "venv"


@pytest.fixture
def hpt(environment: Path, tmp_path: Path) -> Hpt:
    """The `hpt` of that environment, run in an empty folder."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("HPT_", "PYTHON"))}

    def run(*arguments: str, **variables: str) -> Run:
        command = [str(environment / "bin" / "hpt"), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env={**known, **variables}, check=False, capture_output=True, text=True
        )

    return run


def test_strangers_work_together_through_the_command_line(hpt: Hpt, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    run = hpt("run", "study.toml", HPT_NOTES=str(tmp_path / "notes"))
    assert run.returncode == 0, run.stderr
    trials = json.loads(hpt("trials", "--store", "study.jsonl", "--json").stdout)["trials"]
    assert [trial["value"] for trial in trials[-4:]] == [trials[-1]["value"]] * 4, "the rule stops it"
    assert 4 <= len(trials) < 40
    notes = (tmp_path / "notes").read_text().splitlines()
    assert notes[0] == "start terraces"
    assert notes[1:-1] == [f"trial {number} complete" for number in range(len(trials))]
    assert notes[-1].startswith("end the last 4 values are all")
    assert len((tmp_path / "calls").read_text().splitlines()) == len(trials)


def test_a_study_of_strangers_resumes_and_can_be_verified(hpt: Hpt, tmp_path: Path) -> None:
    for folder, budgets in (("whole", ["12"]), ("parts", ["5", "9", "12"])):
        (tmp_path / folder).mkdir()
        (tmp_path / "study.toml").write_text(STUDY.replace('"study.jsonl"', f'"{folder}/study.jsonl"'))
        for budget in budgets:
            assert hpt("run", "study.toml", f"trials={budget}", "stop=[]").returncode == 0
    whole, parts = (
        json.loads(hpt("trials", "--store", f"{folder}/study.jsonl", "--json").stdout)["trials"]
        for folder in ("whole", "parts")
    )
    points = [[(t["params.x"], t["params.y"], t["value"]) for t in trials] for trials in (whole, parts)]
    assert len(points[0]) == 12
    assert points[0] == points[1]
    assert hpt("verify", "--store", "parts/study.jsonl").returncode == 0


def test_a_strangers_model_reports_while_it_grows(hpt: Hpt, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(BOOSTING)
    run = hpt("run", "study.toml")
    assert run.returncode == 0, run.stderr
    trials = json.loads(hpt("trials", "--store", "study.jsonl", "--json").stdout)["trials"]
    assert [(trial["state"], trial["steps"]) for trial in trials] == [("complete", 4)] * 6
    assert hpt("verify", "--store", "study.jsonl").returncode == 0
    run = hpt("check", "study.toml", "space.depth=[1,2]")
    assert run.returncode == 2
    assert "space.depth: The model has no such parameter." in run.stderr


def test_several_workers_share_a_strangers_store(hpt: Hpt, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    run = hpt("run", "study.toml", "trials=8", "workers=2", "reproducible=true", "stop=[]")
    assert run.returncode == 0, run.stderr
    trials = json.loads(hpt("trials", "--store", "study.jsonl", "--json").stdout)["trials"]
    assert [trial["state"] for trial in trials] == ["complete"] * 8
    assert hpt("verify", "--store", "study.jsonl").returncode == 0
    for recorded in ('"hpt-stranger-annealing": "1.0"', '"info": {"from": '):
        assert recorded in (tmp_path / "study.jsonl").read_text()


def test_without_the_plugins_it_is_said_what_is_missing(hpt: Hpt, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    strangers = ("annealing", "identical", "jsonl", "terraces")
    run = hpt("run", "study.toml", HPT_DISABLE_PLUGINS=",".join(f"hpt-stranger-{name}" for name in strangers))
    assert run.returncode == 3
    for mistake in (
        "evaluator.use: There is no evaluator 'terraces'.",
        "sampler.use: There is no sampler 'annealing'.",
        "stop[0].use: There is no stopping rule 'identical'.",
        "store.use: There is no store 'jsonl'.",
        "The plugin annealing (hpt-stranger-annealing 1.0) is not in use: disabled by the user.",
    ):
        assert mistake in run.stderr


def test_a_strangers_cache_answers_for_the_evaluator(hpt: Hpt, tmp_path: Path) -> None:
    space = "[space]\nx = [1, 2]\n"
    head, _, tail = STUDY.partition("[space]")
    head = head.replace("seed = 3", 'seed = 3\nduplicates = "allow"')
    text = f"{head}{space}\n[evaluator]{tail.partition('[evaluator]')[2]}"
    (tmp_path / "study.toml").write_text(text)
    run = hpt("run", "study.toml", "trials=8", "stop=[]", HPT_NOTES=str(tmp_path / "notes"))
    assert run.returncode == 0, run.stderr
    trials = json.loads(hpt("trials", "--store", "study.jsonl", "--json").stdout)["trials"]
    assert [trial["state"] for trial in trials] == ["complete"] * 8
    assert len((tmp_path / "calls").read_text().splitlines()) == len({trial["params.x"] for trial in trials})
    notes = (tmp_path / "notes").read_text().splitlines()
    assert [note for note in notes if note.startswith("trial")] == [f"trial {n} complete" for n in range(8)]


def test_a_strangers_command_is_one_of_hpts(hpt: Hpt) -> None:
    assert hpt("greet").stdout == "Hello from a stranger.\n"
    assert "greet" in hpt("--help").stdout


def test_the_doctor_says_what_is_wrong_with_each(hpt: Hpt) -> None:
    run = hpt("plugins", "doctor", "--json")
    assert run.returncode == 3
    plugins = {plugin["name"]: plugin for plugin in json.loads(run.stdout)["plugins"]}
    assert len(plugins) == len(STRANGERS) + 1
    assert "libcudart" in plugins["unimportable"]["problem"]
    assert "Did you mean 'hpt_samplers'?" in plugins["misspelt"]["problem"]
    assert "requires plugin API 2" in plugins["future"]["problem"]
    for name in ("collides", "greeting"):
        (twin,) = plugins[name]["components"]
        assert "hpt-stranger-collides 0.1" in twin["problem"]
        assert "hpt-stranger-greeting 0.1" in twin["problem"]
    fine = {name for name, plugin in plugins.items() if plugin["status"] == "ok"}
    assert fine == {"annealing", "boosting", "builtin", "cache", "identical", "jsonl", "notifier", "terraces"}
    (sampler,) = plugins["annealing"]["components"]
    assert sampler["options"] == ["temperature", "cooling"]
    assert plugins["annealing"]["version"] == "1.0"
    assert plugins["annealing"]["origin"].endswith("site-packages/hpt_stranger_annealing.py")


def test_what_collides_is_told_and_can_be_left_out(hpt: Hpt, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    run = hpt("run", "study.toml", "sampler.use=twin", "trials=2")
    assert run.returncode == 3
    assert "hpt-stranger-collides" in run.stderr
    run = hpt("--no-plugin", "collides", "run", "study.toml", "sampler.use=twin", "trials=2")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["annealing"],
        ["boosting", "--study", "study.toml"],
        ["identical", "-o", "k=2", "--flag", "acts=false"],
        ["jsonl"],
        ["terraces"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_strangers_pass_the_kits_as_installed(hpt: Hpt, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "study.toml").write_text(BOOSTING)
    run = hpt("plugins", "test", *arguments)
    assert run.returncode == 0, run.stderr[-3000:]
