"""The commands that read a store: what they print and reject, and that they change nothing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hpt_core.cli.group import hpt
from hpt_core.errors import StoreError
from hpt_core.history.trial import Failure
from hpt_core.liveness import this_process
from hpt_core.plugins.plugins import Plugins, default_plugins
from hpt_core.study.study import Study

Hpt = Callable[..., Result]

SPACE = {
    "model": ["svm", "=forest"],
    "C": {"low": 0.01, "high": 100.0, "log": True, "default": 1.0, "when": {"model": "svm"}},
    "depth": {"low": 1, "high": 9, "when": {"model": "=forest"}},
}
RESULTS = [
    ({"model": "svm", "C": 1.0}, 0.90),
    ({"model": "svm", "C": 0.5}, {"accuracy": 0.95, "seconds": 2.5}),
    ({"model": "=forest", "depth": 3}, 0.93),
    ({"model": "=forest", "depth": 4}, Failure("timeout", "\x1b[31mtook too long")),
]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hpt:
    """`hpt` in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("HPT_STORE", "HPT_DISABLE_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    default_plugins.cache_clear()
    return lambda *args: CliRunner().invoke(hpt, [str(arg) for arg in args], prog_name="hpt")


def told(store: str, name: str, objective: Any, results: list[tuple[Any, Any]]) -> None:
    """Make a study by hand."""
    study = Study(SPACE, objective=objective, name=name, sampler="random", store=store, seed=3)
    for params, result in results:
        study.enqueue(params)
        study.tell(study.ask(), result)
    study.close()


@pytest.fixture
def one(cli: Hpt) -> Hpt:
    told("hpt.db", "one", {"accuracy": "maximize"}, RESULTS)
    return cli


@pytest.fixture
def front(cli: Hpt) -> Hpt:
    pairs = [(0.9, 5.0), (0.8, 1.0), (0.7, 2.0)]  # the last is dominated by the second
    results = [({"model": "svm", "C": float(i + 1)}, pair) for i, pair in enumerate(pairs)]
    told("hpt.db", "front", {"accuracy": "maximize", "seconds": "minimize"}, results)
    return cli


def answer(result: Result, schema: str) -> Any:
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert next(iter(found)) == "schema"
    assert found["schema"] == f"hpt/{schema}/1"
    return found


# --- which store, which study ---------------------------------------------------------------------


def test_a_missing_store_is_reported_and_not_created(cli: Hpt, tmp_path: Path) -> None:
    for command in ("studies", "show", "best", "trials", "export", "verify"):
        result = cli(command)
        assert result.exit_code == 4
        assert result.stderr == (
            "Error: There is no hpt.db: no study was stored there yet. Select another store (--store in the shell).\n"
        )
        assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_is_refused(one: Hpt) -> None:
    """A variable that is not set must not select the default store."""
    for command in ("studies", "show", "best", "trials", "export", "verify"):
        result = one(command, "--store", "")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("Error: --store: No store handles ''. To choose a store, write NAME:///PATH.")


def test_the_store_is_given_by_option_or_environment_as_path_or_url(
    cli: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    told("sub/a.db", "a", "minimize", RESULTS[:1])
    told("b.sqlite", "b", "minimize", RESULTS[:1])
    assert answer(cli("best", "--store", "sub/a.db", "--json"), "best")["study"] == "a"
    assert answer(cli("best", "--store", "sqlite:///sub/a.db", "--json"), "best")["study"] == "a"
    monkeypatch.setenv("HPT_STORE", "b.sqlite")
    assert answer(cli("best", "--json"), "best")["study"] == "b"
    assert answer(cli("best", "--store", "sub/a.db", "--json"), "best")["study"] == "a"


def test_study_is_only_needed_if_there_are_several(one: Hpt) -> None:
    assert answer(one("best", "--json"), "best")["study"] == "one"
    told("hpt.db", "two", "minimize", RESULTS[:1])
    result = one("best")
    assert result.exit_code == 2
    assert "2 studies" in result.stderr
    assert "one, two" in result.stderr
    assert answer(one("best", "--study", "two", "--json"), "best")["study"] == "two"
    result = one("best", "--study", "tow")
    assert result.exit_code == 4
    assert "Did you mean 'two'?" in result.stderr


def test_a_location_of_no_store_is_a_usage_error(cli: Hpt, monkeypatch: pytest.MonkeyPatch) -> None:
    result = cli("best", "--store", "x.unknown")
    assert result.exit_code == 2
    assert "--store: No store handles 'x.unknown'" in result.stderr
    monkeypatch.setenv("HPT_STORE", "x.unknown")
    assert "HPT_STORE: No store handles 'x.unknown'" in cli("best").stderr


def test_a_damaged_store_is_exit_code_4_without_a_traceback(cli: Hpt, tmp_path: Path) -> None:
    (tmp_path / "hpt.db").write_bytes(b"this is no database " * 100)
    result = cli("show")
    assert result.exit_code == 4
    assert "hpt.db" in result.stderr
    assert "Traceback" not in result.stderr


def test_reading_changes_and_creates_no_file(one: Hpt, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    shutil.copy(tmp_path / "hpt.db", folder)  # without its lock files

    def state() -> dict[str, tuple[str, int]]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}

    before = state()
    store = folder / "hpt.db"
    for command in ("studies", "show", "best", "trials", "export", "verify"):
        result = one(command, "--store", store)
        assert result.exit_code == 0, result.stderr
    assert state() == before
    assert sorted(path.name for path in folder.iterdir()) == ["hpt.db"]


def test_a_message_with_the_first_of_many_studies_says_that_there_are_more(cli: Hpt) -> None:
    names = [f"study-{i:02}" for i in range(21)]
    for name in names:
        told("hpt.db", name, "minimize", RESULTS[:1])
    listed = f"{', '.join(names[:20])}, ..."
    how = "name one with --study in the shell or name=... in Python"
    assert cli("best").stderr.endswith(f"There are 21 studies in hpt.db; {how}: {listed}.\n")
    assert cli("best", "--study", "x").stderr.endswith(f"There is no study 'x' in hpt.db. Studies there: {listed}.\n")


# --- studies, show --------------------------------------------------------------------------------


def test_studies_lists_them_all(one: Hpt) -> None:
    told("hpt.db", "two", "minimize", [])
    found = answer(one("studies", "--json"), "studies")
    assert [study["study"] for study in found["studies"]] == ["one"]  # the other has no record yet
    told("hpt.db", "two", "minimize", RESULTS[:1])
    first, second = answer(one("studies", "--json"), "studies")["studies"]
    assert set(first) == {"study", "objectives", "trials", "states", "best", "best_at", "elapsed", "stopped", "last"}
    assert first["states"] == {"complete": 3, "failed": 1}
    assert (first["best"], second["best"]) == (0.95, 0.9)
    lines = one("studies").stdout.splitlines()
    assert lines[0].split()[:3] == ["study", "objectives", "trials"]
    assert lines[1].startswith("one    accuracy (maximize)       4         3  0.95")


def test_studies_compares_the_best_of_the_first_trials(one: Hpt) -> None:
    told("hpt.db", "two", {"accuracy": "minimize"}, RESULTS[:3])
    first, second = answer(one("studies", "--at", "1", "--at", "3", "--at", "4", "--json"), "studies")["studies"]
    assert first["best_at"] == {"1": 0.90, "3": 0.95, "4": 0.95}  # maximized
    assert second["best_at"] == {"1": 0.90, "3": 0.90, "4": None}  # minimized, and it has three trials only
    head, row, _ = one("studies", "--at", "1", "--at", "3", "--at", "1").stdout.splitlines()
    assert re.split(r"\s{2,}", head)[3:7] == ["complete", "best of 1", "best of 3", "best"]
    assert row.split()[3:8] == ["4", "3", "0.9", "0.95", "0.95"]
    assert one("studies", "--at", "4").stdout.splitlines()[2].split()[3:6] == ["3", "3", "0.9"]


@pytest.mark.parametrize("spoil", [b"joined", b"seq"], ids=["a record", "its first line"])
def test_studies_lists_readable_and_unreadable_studies(cli: Hpt, tmp_path: Path, spoil: bytes) -> None:
    for name in ("ill", "well"):
        told("csv:///runs", name, "minimize", RESULTS[:1])
    ill = tmp_path / "runs" / "ill.csv"
    ill.write_bytes(ill.read_bytes().replace(spoil, b"nonsense", 1))
    result = cli("studies", "--store", "csv:///runs")
    assert (result.exit_code, result.stdout.splitlines()[1].split()[0]) == (4, "well")
    assert result.stderr.startswith("Error: ")
    assert "ill.csv is damaged in line" in result.stderr
    found = json.loads(cli("studies", "--store", "csv:///runs", "--json").stdout)
    assert [study["study"] for study in found["studies"]] == ["well"]
    assert found["unreadable"] == [{"study": "ill", "problem": result.stderr.strip().removeprefix("Error: ")}]
    assert cli("show", "--store", "csv:///runs", "--study", "well").exit_code == 0
    assert cli("show", "--store", "csv:///runs", "--study", "ill").exit_code == 4


def test_show_prints_definition_state_and_software(one: Hpt) -> None:
    found = one("show").stdout
    for words in (
        "Study one in hpt.db",
        "accuracy (maximize)",
        "3 parameters, 2 of them conditional, infinite",
        "random (",
        "seed=3",
        "4: 3 complete, 1 failed",
        "best          accuracy=0.95 (trial 1: model=svm, C=0.5)",
        "default       accuracy=0.9 (trial 0: model=svm, C=1)",
        "failed        1 timeout; the last was trial 3: \\x1b[31mtook too long",
        "hpt-sampler-random=",
    ):
        assert words in found
    assert "\x1b" not in found


def test_a_study_has_not_ended_if_a_trial_was_started_since(cli: Hpt) -> None:
    study = Study(SPACE, name="again", sampler="random", store="hpt.db", seed=0)
    study.run(lambda params: 1.0, trials=1)
    trial = study.ask()
    assert "ended  " not in cli("show").stdout
    assert "settings      seed=0, duplicates=avoid" in cli("show").stdout
    assert json.loads(cli("show", "--json").stdout)["stopped"] is None
    study.tell(trial, 2.0)
    assert "ended  " not in cli("show").stdout
    study.run(lambda params: 1.0, trials=2)
    assert "ended         all 2 trials were started (rule budget)" in cli("show").stdout
    study.close()


def test_the_keys_of_show_are_stable(one: Hpt) -> None:
    found = answer(one("show", "--json"), "show")
    assert list(found) == [
        "schema", "store", "study", "definition", "provenance", "objectives", "trials", "states", "failures", "invalid",
        "elapsed", "best", "front", "constraints", "least_violated", "default", "stopped", "notes", "rules",
    ]  # fmt: skip
    assert found["failures"] == {"timeout": 1}
    assert found["best"]["number"] == 1
    assert found["default"]["number"] == 0


def test_reading_a_study_imports_none_of_its_code(cli: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cli_trap.py").write_text("import pathlib\npathlib.Path('sprung').touch()\ndef f(p): return 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    evaluator = {"use": "function", "call": "cli_trap:f"}
    study = Study({"x": [1, 2]}, name="trap", sampler="grid", evaluator=evaluator, store="hpt.db", seed=0)
    study.tell(study.ask(), 1.0)
    study.close()
    assert not (tmp_path / "sprung").exists()
    for command in ("studies", "show", "best", "trials", "export", "verify"):
        assert cli(command).exit_code == 0
    assert not (tmp_path / "sprung").exists()


def test_a_rule_with_an_import_path_is_not_imported(cli: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "class Rule:\n    def judge_study(self, history): ...\n    def summary(self, history): return {'a': 1}\n"
    (tmp_path / "cli_rule_trap.py").write_text(f"import pathlib\npathlib.Path('sprung').touch()\n{rule}")
    monkeypatch.syspath_prepend(str(tmp_path))
    rules = [{"use": "cli_rule_trap:Rule"}, {"use": "any", "rules": [{"use": "cli_rule_trap:Rule"}]}]
    study = Study({"x": [1, 2]}, sampler="grid", store="hpt.db", stop=rules, seed=0)
    study.tell(study.ask(), 1.0)
    study.close()
    Path("sprung").unlink()
    monkeypatch.delitem(sys.modules, "cli_rule_trap")
    assert answer(cli("show", "--json"), "show")["rules"] == []
    assert not Path("sprung").exists()
    assert "cli_rule_trap" not in sys.modules


def test_show_leaves_out_the_options_of_rules_at_their_defaults(cli: Hpt, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = ["plateau", {"use": "any", "rules": [{"use": "trials", "limit": 8}, {"use": "target", "value": 0.5}]}]
    space = {"x": [1, 2]}
    study = Study(space, objective="maximize", name="s", sampler="grid", store="hpt.db", stop=rules, seed=0)
    study.tell(study.ask(), 1.0)
    study.close()
    shown = cli("show").stdout
    assert "\nstopping rule plateau\n" in shown
    assert "\nstopping rule any (rules=[trials (limit=8), target (value=0.5)])\n" in shown
    recorded = answer(cli("show", "--json"), "show")["definition"]["stop"]
    assert recorded[0]["maximize"] is False
    monkeypatch.setenv("HPT_DISABLE_PLUGINS", "stopping-basic")
    default_plugins.cache_clear()
    assert "\nstopping rule plateau (maximize=false" in cli("show").stdout  # as recorded: the defaults are unknown


def test_summaries_of_rules_are_shown_and_failing_ones_skipped(cli: Hpt) -> None:
    def tell(rule: Any, history: Any) -> Any:
        if rule.limit == 7:
            raise RuntimeError("nothing to tell")
        return {"spared": len(history.trials)} if rule.limit == 8 else None

    budget = default_plugins().component("stopping rule", "trials")
    rules = [{"use": "trials", "limit": limit} for limit in (7, 8, 9)]
    nested = {"use": "any", "rules": [{"use": "trials", "limit": 8}]}
    study = Study({"x": [1, 2]}, name="told", sampler="grid", store="hpt.db", stop=[*rules, nested], seed=0)
    study.tell(study.ask(), 1.0)
    study.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "summary", tell, raising=False)
        told = answer(cli("show", "--json"), "show")["rules"]
        assert told == [{"rule": "trials", "summary": {"spared": 1}}] * 2
        assert "rule          trials: spared=1" in cli("show").stdout
    assert answer(cli("show", "--json"), "show")["rules"] == []


# --- best -----------------------------------------------------------------------------------------


BEST_PARAMS = "  parameter  value\n  model      svm\n  C          0.5\n"
BEST_METRICS = "  metric   value\n  seconds    2.5\n"


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("table", f"accuracy=0.95 (trial 1)\n{BEST_PARAMS}{BEST_METRICS}"),
        ("json", '{\n  "model": "svm",\n  "C": 0.5\n}\n'),
        ("toml", 'model = "svm"\nC = 0.5\n'),
        ("python", "{\n    'model': 'svm',\n    'C': 0.5,\n}\n"),
        ("args", "--model=svm --C=0.5\n"),
    ],
)
def test_best_in_every_format(one: Hpt, form: str, shown: str) -> None:
    result = one("best", "--as", form)
    assert result.stdout == shown
    assert result.stderr == ""


def test_best_rejects_json_together_with_as(one: Hpt) -> None:
    result = one("best", "--json", "--as", "toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--json (the whole answer) and --as toml (the configuration alone) exclude each other." in result.stderr


def test_best_of_a_given_trial(one: Hpt) -> None:
    assert one("best", "--trial", 2, "--as", "args").stdout == "--model==forest --depth=3\n"
    assert one("best", "--trial", 3).stdout.startswith("failed (trial 3)\n")
    result = one("best", "--trial", 4)
    assert result.exit_code == 2
    assert "There is no trial 4; the study 'one' has 4." in result.stderr


def test_best_of_a_trial_says_why_its_result_does_not_count(cli: Hpt) -> None:
    study = Study(
        {"x": {"low": 0.0, "high": 1.0}}, sampler="random", store="hpt.db", stop={"use": "threshold", "limit": 3}
    )
    stopped = study.ask()
    study.report(stopped, 1, 4.0)
    study.tell(study.ask(), 2.0)
    study.invalidate(1, "wrong data")
    study.add_trial({"x": 0.5}, 1.0)
    study.close()
    reason = "value = 4 at step 1 is worse than the limit 3"
    assert cli("best", "--trial", 0).stdout.startswith(f"value=4 (trial 0, stopped by threshold: {reason})\n")
    assert cli("best", "--trial", 1).stdout.startswith("value=2 (trial 1, invalid: wrong data)\n")
    head, *lines = cli("trials").stdout.splitlines()
    assert head.split() == ["trial", "state", "value", "x", "source", "duration", "remark"]
    assert [line.split()[4] for line in lines] == ["sampler", "sampler", "given"]
    ends = [f" s   threshold: {reason}", " s   invalid: wrong data", " s"]
    assert [re.sub(r".* s\b *", " s   ", line).rstrip() for line in lines] == ends


def test_best_of_several_objectives_is_the_front(front: Hpt) -> None:
    found = answer(front("best", "--json"), "best")
    assert [trial["number"] for trial in found["trials"]] == [0, 1]
    assert found["objectives"] == {"accuracy": "maximize", "seconds": "minimize"}
    assert front("best").stdout.splitlines() == [
        "trial  accuracy  seconds  configuration",
        "    0       0.9        5  model=svm, C=1",
        "    1       0.8        1  model=svm, C=2",
    ]
    result = front("best", "--as", "toml")
    assert result.exit_code == 2
    assert "Choose one of them with --trial: 0, 1." in result.stderr
    assert front("best", "--as", "args", "--trial", 1).stdout == "--model=svm --C=2.0\n"


def test_without_a_complete_trial_there_is_no_best(cli: Hpt) -> None:
    told("hpt.db", "failing", "minimize", RESULTS[3:])
    for arguments in (["best"], ["best", "--json"]):
        result = cli(*arguments)
        assert result.exit_code == 1
        assert result.stderr.splitlines() == [
            "Error: No trial of the study 'failing' is complete yet (trials: 1 failed).",
            "Failed: 1 timeout; the last was trial 0: \\x1b[31mtook too long",
        ]
        assert result.stdout == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["trials"], ["best", "--json"], ["export"]])
def test_output_that_cannot_be_written_is_a_usage_error(
    one: Hpt, monkeypatch: pytest.MonkeyPatch, arguments: list[str], unbuffered: str
) -> None:
    assert one("best").exit_code == 0
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "hpt_core", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "Error: Cannot write the output: No space left on device.\n")


# --- trials ---------------------------------------------------------------------------------------


def test_a_running_trial_whose_process_is_gone_is_marked(cli: Hpt, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(SPACE, name="left", sampler="random", store="hpt.db", seed=0)
    study.ask()
    study.close()
    assert "gone" not in cli("trials").stdout
    monkeypatch.setattr("hpt_core.cli.trials.is_alive", lambda owner, _: owner != this_process())
    assert "its process is gone; `hpt run` resumes it" in cli("trials").stdout


def numbers(result: Result) -> list[int]:
    return [trial["number"] for trial in answer(result, "trials")["trials"]]


def test_trials_as_a_table(one: Hpt) -> None:
    lines = one("trials").stdout.splitlines()
    assert lines[0].split() == ["trial", "state", "accuracy", "model", "C", "depth", "duration", "remark"]
    assert len(lines) == 5
    assert lines[2].split()[:5] == ["1", "complete", "0.95", "svm", "0.5"]
    assert lines[4].endswith("timeout: \\x1b[31mtook too long")


def test_trials_of_a_study_with_constraints_show_what_is_violated(cli: Hpt) -> None:
    constraints = {"steps": "<= 50", "loss": "<= 9"}
    space = {"x": {"low": 0.0, "high": 1.0}}  # the trials also have a column `steps`, the number of steps
    study = Study(space, objective={"loss": "minimize"}, constraints=constraints, sampler="random", store="hpt.db")
    for result in (
        {"loss": 1.0, "steps": 80.0},
        {"loss": 2.0, "steps": 20.0},
        {"loss": 10.0, "steps": 60.0},
        Failure("error", ""),
    ):
        study.tell(study.ask(), result)
    study.close()
    head, *lines = cli("trials").stdout.splitlines()
    assert head.split() == ["trial", "state", "loss", "steps", "x", "duration", "remark"]
    assert [line.split()[3] for line in lines[:3]] == ["80", "20", "60"]
    assert lines[0].endswith("  violates steps <= 50")
    assert "violates" not in lines[1] + lines[3]
    assert lines[2].endswith("  violates steps <= 50, loss <= 9")
    assert [trial["feasible"] for trial in answer(cli("trials", "--json"), "trials")["trials"]] == [
        False,
        True,
        False,
        None,
    ]


@pytest.mark.parametrize("name", ["seconds", "metrics.seconds"])
def test_the_metric_that_sorts_the_table_is_shown(one: Hpt, name: str) -> None:
    lines = one("trials", "--sort", name).stdout.splitlines()
    assert lines[0].split() == ["trial", "state", "accuracy", "model", "C", "depth", "seconds", "duration", "remark"]
    best = one("best", "--trial", "1", "--json")
    assert float(lines[1].split()[5]) == answer(best, "best")["trials"][0]["metrics.seconds"]
    assert len(lines[2].split()) < len(lines[1].split())  # the only trial that has it comes first


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [0, 1, 2, 3]),
        (["--state", "failed"], [3]),
        (["--state", "failed", "--state", "complete", "--limit", 2], [0, 1]),
        (["--sort", "accuracy"], [1, 2, 0, 3]),  # best first, trials without a result last
        (["--sort", "accuracy", "--reverse"], [0, 2, 1, 3]),
        (["--sort", "C"], [1, 0, 2, 3]),
        (["--sort", "params.depth"], [2, 3, 0, 1]),
        (["--sort", "seconds"], [1, 0, 2, 3]),  # a metric that only one trial has
        (["--sort", "number", "--reverse", "--limit", 1], [3]),
    ],
)
def test_trials_are_filtered_and_sorted(one: Hpt, arguments: list[Any], expected: list[int]) -> None:
    assert numbers(one("trials", "--json", *arguments)) == expected


def test_values_of_several_types_are_sorted_as_text(cli: Hpt) -> None:
    study = Study({"x": ["b", 10, 9]}, sampler="grid", store="hpt.db")
    study.run(lambda params: 1.0, trials=3)
    study.close()
    assert [row["params.x"] for row in answer(cli("trials", "--json", "--sort", "x"), "trials")["trials"]] == [
        10, 9, "b",
    ]  # fmt: skip


def test_minimized_objectives_sort_ascending(front: Hpt) -> None:
    assert numbers(front("trials", "--json", "--sort", "seconds")) == [1, 2, 0]


def test_an_unknown_column_is_a_usage_error(one: Hpt) -> None:
    result = one("trials", "--sort", "acuracy")
    assert result.exit_code == 2
    assert "--sort: There is no column 'acuracy'. Did you mean 'accuracy'?" in result.stderr


def test_no_matching_trials(one: Hpt) -> None:
    result = one("trials", "--state", "paused")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no matching trials" in result.stderr


def test_a_study_without_trials_says_so(cli: Hpt) -> None:
    study = Study(SPACE, name="new", sampler="random", store="hpt.db", seed=0)
    assert list(study.history.trials) == []
    study.close()
    result = cli("trials")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "The study has no trials yet.\n")
    assert "trials        none yet" in cli("show").stdout.splitlines()
    header = "number,state,value,params.model,params.C,params.depth,partial,reason,rule,failure_kind,failure_message,"
    assert cli("export").stdout == f"{header}invalid,started,ended,duration,steps,source,attempt,worker\n"


# --- export ---------------------------------------------------------------------------------------


def test_csv_goes_to_stdout_and_contains_no_formula(one: Hpt) -> None:
    result = one("export")
    rows = list(csv.DictReader(io.StringIO(result.stdout, newline="")))
    assert [row["number"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["params.model"] for row in rows] == ["svm", "svm", "'=forest", "'=forest"]
    assert [row["accuracy"] for row in rows] == ["0.9", "0.95", "0.93", ""]
    assert [row["metrics.seconds"] for row in rows] == ["", "2.5", "", ""]


def test_json_lines_and_json_have_the_rows_of_trials(one: Hpt) -> None:
    rows = answer(one("trials", "--json"), "trials")
    assert json.loads(one("export", "--format", "json").stdout) == rows
    assert one("export", "--json").stdout == one("export", "--format", "json").stdout
    lines = one("export", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows["trials"]


def test_the_json_of_trials_has_one_line_per_trial(one: Hpt) -> None:
    document = one("trials", "--json").stdout
    lines = [line.strip().removesuffix(",") for line in document.splitlines()]
    rows = answer(one("trials", "--json"), "trials")["trials"]
    assert [json.loads(line) for line in lines if line.startswith('{"number"')] == rows
    assert one("export", "--json").stdout == document
    assert answer(one("trials", "--json", "--state", "paused"), "trials")["trials"] == []


@pytest.mark.parametrize("ending", ["csv", "CSV", "json", "jsonl", "ndjson"])
def test_the_file_extension_selects_the_format(one: Hpt, ending: str, tmp_path: Path) -> None:
    result = one("export", "-o", f"out.{ending}")
    assert (result.exit_code, result.stdout) == (0, "")
    form = {"ndjson": "jsonl"}.get(ending, ending.lower())
    assert (tmp_path / f"out.{ending}").read_text() == one("export", "--format", form).stdout


def test_a_file_without_a_known_extension_needs_a_format(one: Hpt) -> None:
    for name in ("out.xlsx", "out"):
        result = one("export", "-o", name)
        known = "Give --format: csv, json, jsonl, parquet."
        assert (result.exit_code, result.stderr) == (2, f"Error: {name} has no extension of a known format. {known}\n")
    assert one("export", "-o", "out", "--format", "csv").exit_code == 0


def test_a_file_is_overwritten_only_with_force(one: Hpt, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    before = {path.name for path in tmp_path.iterdir()}
    result = one("export", "-o", "out.csv")
    assert result.exit_code == 2
    assert (tmp_path / "out.csv").read_text() == "mine"
    assert one("export", "-o", "out.csv", "--force").exit_code == 0
    assert (tmp_path / "out.csv").read_text().startswith("number,state,accuracy")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_export_writes_to_a_pipe_and_through_a_link(one: Hpt, tmp_path: Path) -> None:
    content = one("export").stdout
    (tmp_path / "out.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to("out.csv")
    assert one("export", "-o", "link.csv", "--force").exit_code == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "out.csv").read_text() == content
    os.mkfifo(tmp_path / "pipe.csv")
    reader = os.open(tmp_path / "pipe.csv", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert one("export", "-o", "pipe.csv", "--force").exit_code == 0
        assert os.read(reader, 1 << 16).decode() == content
    finally:
        os.close(reader)
    assert (tmp_path / "pipe.csv").is_fifo()


def test_a_file_that_cannot_be_written_is_reported(one: Hpt) -> None:
    result = one("export", "-o", "nowhere/out.csv")
    assert result.exit_code == 2
    assert result.stderr == "Error: Cannot write nowhere/out.csv: No such file or directory.\n"
    name = f"{'x' * 300}.csv"
    result = one("export", "-o", name)
    assert (result.exit_code, result.stderr) == (2, f"Error: Cannot write {name}: File name too long.\n")


@pytest.mark.parametrize("name", ["loop.db", "loop.csv"])
def test_a_store_behind_links_that_go_in_circles_is_reported(cli: Hpt, tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(name)
    result = cli("show", "--store", name)
    assert result.exit_code == 4
    assert result.stderr.startswith(f"Error: There is no {name}: no study was stored there yet.")
    study = Study(SPACE, store=name, sampler="random")
    with pytest.raises(StoreError, match=rf"{name} .*symbolic link|{name} cannot be used"):
        study.ask()


def test_parquet_reads_back(cli: Hpt) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    space = {"mixed": ["a", 1, None, [1, 2]], "x": {"low": 0.0, "high": 1.0}, "large": [1, 2**70]}
    study = Study(space, name="p", sampler="random", store="hpt.db", seed=0)
    for i, value in enumerate(["a", 1, None, [1, 2]]):
        study.enqueue({"mixed": value, "x": 0.25 * i, "large": 2**70 if i else 1})
        study.tell(study.ask(), float(i))
    study.close()
    assert cli("export", "-o", "out.parquet").exit_code == 0
    frame = pandas.read_parquet("out.parquet")
    assert list(frame["number"]) == [0, 1, 2, 3]
    assert list(frame["value"]) == [0.0, 1.0, 2.0, 3.0]
    assert list(map(int, frame["params.large"])) == [1, 2**70, 2**70, 2**70]
    assert [None if pandas.isna(item) else item for item in frame["params.mixed"]] == ["a", "1", None, "[1, 2]"]


# --- verify ---------------------------------------------------------------------------------------


def test_verify_accepts_a_study_and_finds_a_forged_trial(cli: Hpt) -> None:
    study = Study(SPACE, name="v", sampler="random", store="hpt.db", seed=3)
    for _ in range(5):
        study.tell(study.ask(), 1.0)
    records = [dict(record) for record in study.store.read("v")]
    study.close()
    result = cli("verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "5 decisions of the study 'v' recomputed: all are the same." in result.stderr

    forged = next(record for record in records if record["event"] == "started" and record["trial"] == 2)
    forged["params"] = {"model": "=forest", "depth": 9}
    other = default_plugins().make_store("forged.db")
    other.append("v", records)
    other.close()
    result = cli("verify", "--store", "forged.db")
    assert result.exit_code == 1
    assert result.stdout.startswith("trial 2: ")
    result = cli("verify", "--store", "forged.db", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert list(found) == ["schema", "store", "study", "checked", "differences"]
    assert found["schema"] == "hpt/verify/2"
    assert len(found["differences"]) == 1


def test_verify_without_the_plugin_of_the_sampler_is_exit_code_3(cli: Hpt, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(SPACE, name="v", sampler="random", store="hpt.db", seed=3)
    study.tell(study.ask(), 1.0)
    study.close()
    without = Plugins(["sampler-random"])
    monkeypatch.setattr("hpt_core.plugins.plugins.default_plugins", lambda: without)
    result = cli("verify")
    assert result.exit_code == 3
    assert "The plugin sampler-random" in result.stderr


def test_verify_names_the_study_file_with_an_error(one: Hpt, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[space]\nx = [1, 2]\n")
    result = one("verify", "--file", "bad.toml")
    assert result.exit_code == 2
    assert "Error: bad.toml: evaluator: A study needs an [evaluator] table" in result.stderr


def test_the_default_trial_is_found_after_rounding_to_the_unit_cube(cli: Hpt) -> None:
    study = Study({"C": {"low": 0.01, "high": 1000.0, "log": True, "default": 1.0}}, sampler="random", store="hpt.db")
    rounded = study.space.from_unit(study.space.to_unit(study.space.default()))
    assert rounded != study.space.default()
    study.enqueue(rounded)
    study.tell(study.ask(), 0.5)
    study.close()
    assert answer(cli("show", "--json"), "show")["default"]["number"] == 0
