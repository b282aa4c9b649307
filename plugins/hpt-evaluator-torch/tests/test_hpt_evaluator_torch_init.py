"""The study of a torch model that `hpt init` writes runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")


@pytest.mark.timeout(240)
def test_the_study_that_init_writes_runs(tmp_path: Path) -> None:
    def hpt(*arguments: str) -> str:
        command = [sys.executable, "-m", "hpt_core", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    hpt("init", "--evaluator", "torch")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.toml", "train.py"]
    hpt("check", "study.toml")
    hpt("run", "study.toml", "trials=2", "evaluator.epochs=3")
    trials = json.loads(hpt("trials", "--json"))["trials"]
    assert [(trial["state"], trial["steps"]) for trial in trials] == [("complete", 3)] * 2
    assert all(0.3 < trial["accuracy"] <= 1 for trial in trials)  # a coin has 0.5
