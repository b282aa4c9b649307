"""Invalid trials at the command line: they are neither results nor failures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpt_core.cli.group import hpt
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.study import Study

Hpt = Callable[..., Result]

STUDY = """
objective = { loss = "minimize" }
seed = 1
trials = 4

[space]
x = [0, 1, 2, 3, 4, 5, 6, 7]

[evaluator]
use = "function"
call = "MODULE:train"

[sampler]
use = "grid"

[store]
use = "sqlite"
path = "hpt.db"
"""


def train(params: dict[str, int]) -> int:
    if params["x"] == 3 and not Path("data").exists():
        raise ValueError("no data")
    return params["x"]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hpt:
    """`hpt` beside a study of four trials, of which the last has failed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPT_STORE", raising=False)
    default_plugins.cache_clear()
    Path("s.toml").write_text(STUDY.replace("MODULE", __name__))

    def run(*args: str) -> Result:
        return CliRunner().invoke(hpt, [*args], prog_name="hpt")

    assert run("run", "s.toml").exit_code == 0
    return run


def invalidate(*numbers: int) -> None:
    study = Study({"x": [*range(8)]}, objective={"loss": "minimize"}, name="s", store="hpt.db", sampler="grid")
    for number in numbers:
        study.invalidate(number, "the data were mixed up")
    study.close()


def test_they_are_counted_apart(cli: Hpt) -> None:
    invalidate(0)
    assert "trials        4: 2 complete, 1 failed, 1 invalid; " in cli("show").stdout
    head, row = cli("studies").stdout.splitlines()
    assert dict(zip(re.split(r"\s{2,}", head), re.split(r"\s{2,}", row), strict=False))["complete"] == "2"
    ended = cli("run", "s.toml", "trials=4").stderr
    assert "5 trials: 3 complete, 1 failed, 1 invalid; " in ended  # one more, as the invalid one no longer counts
    assert "The best of 3 scores is optimistic" in ended


def test_a_failure_that_was_declared_invalid_is_reported_no_more(cli: Hpt) -> None:
    assert "ValueError: no data" in cli("show").stdout
    assert "hpt best --trial 3    shows its error" in cli("run", "s.toml").stderr
    invalidate(3)
    assert "no data" not in cli("show").stdout
    Path("data").touch()
    ended = cli("run", "s.toml").stderr
    assert "5 trials: 4 complete, 1 invalid; " in ended
    assert "failed" not in ended
    assert "shows its error" not in ended


def test_a_study_without_any_valid_result_has_no_best(cli: Hpt) -> None:
    invalidate(0, 1, 2, 3)
    best = cli("best")
    assert best.exit_code == 1
    assert best.stderr == "Error: No trial of the study 's' is complete yet (trials: 4 invalid).\n"
    stopped = cli("run", "s.toml", "stop={ use = 'time', limit = '0.000001s' }", "--amend", "--quiet")
    assert stopped.exit_code == 1
    assert stopped.stderr.endswith("Error: No trial of the study 's' succeeded.\n")
