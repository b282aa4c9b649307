"""What an author sees who inherits a kit and forgets the fixture that makes the component."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FIXTURES = {
    "EvaluatorKit": "make_evaluator",
    "ExecutorKit": "make_executor",
    "SamplerKit": "make_sampler",
    "StoppingRuleKit": "make_rule",
    "StoreKit": "make_store",
}


@pytest.mark.parametrize("kit", FIXTURES)
def test_a_kit_without_its_fixture_says_which_to_override(kit: str, tmp_path: Path) -> None:
    mine = tmp_path / "test_mine.py"
    mine.write_text(f"from hpt_core.testing import {kit}\n\n\nclass TestMine({kit}):\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mine.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Override the fixture `{FIXTURES[kit]}` to return a callable that makes your" in done.stdout
