"""What an author sees who inherits from a kit and forgets its fixture, or runs it where Python drops assertions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FIXTURES = {
    "EvaluatorKit": "make_evaluator",
    "ExecutorKit": "make_executor",
    "SamplerKit": "make_sampler",
    "StoppingRuleKit": "make_rule",
    "StoreKit": "make_store",
}


def test_a_kit_without_its_fixture_says_which_to_override(tmp_path: Path) -> None:
    classes = [f"class Test{kit}(testing.{kit}):\n    pass\n" for kit in FIXTURES]
    (tmp_path / "test_mine.py").write_text("\n\n".join(["from hpt_core import testing\n", *classes]))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=line", "-k", "test_options_have_help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for fixture in FIXTURES.values():
        assert f"Override the fixture `{fixture}` to return a callable that makes your" in done.stdout


MEMORY = """
import pytest
from hpt_core.builtin.memory import MemoryStore
from hpt_core.testing import StoreKit


class TestMemory(StoreKit):
    persistent = False

    @pytest.fixture
    def make_store(self):
        return lambda path: MemoryStore()
"""


def test_the_kits_do_not_pass_where_python_drops_assertions(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(MEMORY)
    for option, code, says in ([], 0, "1 passed"), (["-O"], 1, "run Python without -O"):
        command = [sys.executable, *option, "-m", "pytest", "-p", "no:cacheprovider", "-k", "test_keeps_the_order"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert says in done.stdout
