"""`hpt init`: the created study runs with what is installed, and nothing is overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import hpt_core
from hpt_core import builtin
from hpt_core.cli.group import hpt
from hpt_core.cli.session import Session
from hpt_core.cli.templates import EVALUATORS
from hpt_core.plugins.plugins import Plugins

Hpt = Callable[..., Result]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hpt:
    """`hpt` in an empty directory, with all installed plugins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "train", None)
    del sys.modules["train"]  # at the end, the module that a test imports is removed
    return lambda *args, plugins=None: CliRunner().invoke(hpt, args, obj=Session(plugins or Plugins()))


def shell(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hpt_core", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("evaluator", [name for name in EVALUATORS if name != "torch"])
def test_the_created_study_runs_also_from_another_directory(cli: Hpt, tmp_path: Path, evaluator: str) -> None:
    """The tutorial runs it in the file's own directory, see test_docs.py; the plugin for torch has its own test."""
    (tmp_path / "sub folder").mkdir()
    file = "sub folder/study.toml"
    made = cli("init", file, "--evaluator", evaluator)
    assert (made.exit_code, made.stdout) == (0, ""), made.stderr
    run = shell(tmp_path, "check", file)
    assert run.returncode == 0, run.stderr
    run = shell(tmp_path, "run", file, "trials=3")
    assert run.returncode == 0, run.stderr
    assert "3 trials: 3 complete" in run.stderr
    assert run.stdout.startswith("best ")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are not Unicode")
def test_a_file_name_that_is_not_unicode_is_accepted(cli: Hpt, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.toml")
    assert cli("init", name, "--evaluator", "function").exit_code == 0
    assert shell(tmp_path, "check", name).returncode == 0  # in a process of its own, as it imports train.py


def test_a_file_name_that_is_too_long_is_reported(cli: Hpt) -> None:
    result = cli("init", f"{'x' * 300}.toml")
    assert (result.exit_code, result.stderr.startswith("Error: Cannot write x")) == (2, True)


def test_the_next_steps_are_printed(cli: Hpt, tmp_path: Path) -> None:
    result = cli("init", "--evaluator", "function")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "Wrote study.toml and train.py. Next:",
        "  hpt check study.toml    check it",
        "  hpt run study.toml      run it",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.toml", "train.py"]


def test_a_study_file_is_not_overwritten(cli: Hpt, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("mine")
    result = cli("init", "--evaluator", "command")
    assert result.exit_code == 2
    assert "study.toml already exists. Choose another name" in result.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("study.toml", "mine")]


@pytest.mark.parametrize("evaluator", ["function", "command", "torch"])
def test_an_existing_train_py_is_kept_with_a_message(cli: Hpt, tmp_path: Path, evaluator: str) -> None:
    (tmp_path / "train.py").write_text("def train(params): return 0.5\n")
    result = cli("init", "--evaluator", evaluator)
    assert result.exit_code == 0
    assert result.stderr.startswith("train.py already exists and was not changed. ")
    assert "Wrote study.toml. Next:" in result.stderr
    assert (tmp_path / "train.py").read_text() == "def train(params): return 0.5\n"
    assert "train" in (tmp_path / "study.toml").read_text()


def test_a_study_file_must_have_the_extension_toml(cli: Hpt, tmp_path: Path) -> None:
    result = cli("init", "study.yaml")
    assert result.exit_code == 2
    assert "A study file must have the extension .toml. Got study.yaml." in result.stderr
    assert list(tmp_path.iterdir()) == []


class Few:
    """A plugin with few components."""

    __name__ = "few"

    @hpt_core.hookimpl
    def hpt_evaluators(self) -> dict[str, str]:
        return {"function": "hpt_core.builtin.function:FunctionEvaluator"}

    @hpt_core.hookimpl
    def hpt_samplers(self) -> dict[str, str]:
        return {"random": "nowhere:Sampler"}


def test_only_installed_components_are_used(cli: Hpt, tmp_path: Path) -> None:
    plugins = Plugins(discover=False)
    plugins.register(Few())
    assert cli("init", plugins=plugins).exit_code == 0
    written = tomllib.loads((tmp_path / "study.toml").read_text())
    assert written["evaluator"] == {"use": "function", "call": "train:train"}
    assert (written["sampler"], written["store"], "stop" in written) == ({"use": "random"}, {"use": "memory"}, False)
    result = cli("init", "other.toml", "--evaluator", "sklearn", plugins=plugins)
    assert result.exit_code == 3
    assert "hpt-evaluator-sklearn" in result.stderr


def test_without_a_sampler_the_created_file_leads_to_one(cli: Hpt, tmp_path: Path) -> None:
    plugins = Plugins(discover=False)
    plugins.register(builtin, "builtin")
    assert cli("init", "--evaluator", "function", plugins=plugins).exit_code == 0
    assert tomllib.loads((tmp_path / "study.toml").read_text())["sampler"] == {"use": "bayes"}
    result = cli("check", "study.toml", plugins=plugins)
    assert result.exit_code == 3
    assert "sampler.use: There is no sampler 'bayes'. Install hpt-sampler-bayes, which provides it." in result.stderr


def test_a_sampler_of_another_plugin_is_used_if_it_is_the_only_one(cli: Hpt, tmp_path: Path) -> None:
    class Own:
        @hpt_core.hookimpl
        def hpt_samplers(self) -> dict[str, str]:
            return {"hill": "nowhere:Sampler"}

    plugins = Plugins(discover=False)
    plugins.register(builtin, "builtin")
    plugins.register(Own(), "own")
    assert cli("init", plugins=plugins).exit_code == 0
    assert tomllib.loads((tmp_path / "study.toml").read_text())["sampler"] == {"use": "hill"}
