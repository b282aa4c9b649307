"""`hpt run` and `hpt check`: progress, the final report, resuming, exit codes."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpt_core import liveness
from hpt_core.cli.group import hpt
from hpt_core.history import events
from hpt_core.plugins.plugins import Plugins, default_plugins

Hpt = Callable[..., Result]

_COUNT = itertools.count()

TRAIN = """
def train(params):
    print("a word of the trial's own")
    for step in (1, 2):
        yield (params["x"] - 1) ** 2 + 1 / step
"""

GRID = """
objective = { loss = "minimize" }
seed = 1
trials = 3

[space]
x = { low = 0, high = 4, default = 2 }

[evaluator]
use = "function"
call = "MODULE:train"
steps = 2

[sampler]
use = "grid"
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hpt:
    """`hpt` in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HPT_DISABLE_PLUGINS", "")
    monkeypatch.delenv("HPT_STORE", raising=False)
    default_plugins.cache_clear()
    return lambda *args: CliRunner().invoke(hpt, [str(arg) for arg in args], prog_name="hpt")


def write(folder: Path, text: str = GRID, code: str = TRAIN, name: str = "s.toml") -> str:
    """Write a study file and its module, each time under a new name because Python imports a module only once."""
    module = f"cli_run_{next(_COUNT)}"
    (folder / f"{module}.py").write_text(textwrap.dedent(code))
    (folder / name).write_text(text.replace("MODULE", module))
    return module


def same_but_times(text: str) -> str:
    return re.sub(r"[\d.e-]+ s\b", "T s", text)


# --- a run, and the same again --------------------------------------------------------------------


def test_a_run_prints_each_trial_and_the_best(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    result = cli("run", "s.toml")
    assert result.exit_code == 0, result.stderr
    assert "\x1b" not in result.output
    assert same_but_times(result.stderr).splitlines() == [
        "Running the study 's' in hpt.db. Ctrl-C stops it cleanly; the same command resumes it.",
        "trial 0 complete loss=1.5 (best so far) T s",
        "trial 1 complete loss=0.5 (best so far) T s",
        "trial 2 complete loss=1.5 (best 0.5, trial 1) T s",
        "The study ended: all 3 trials were started.",
        "3 trials: 3 complete; T s in total.",
        "The best of 3 scores is optimistic, because it was selected. Confirm it on new data.",
        "The results are in hpt.db. Next:",
        "  hpt best    hpt trials    hpt show",
        "  hpt run s.toml trials=6    continues the study",
    ]
    assert result.stdout.splitlines() == [
        *["a word of the trial's own"] * 3,
        "best loss=0.5 (trial 1)",
        "  parameter  value",
        "  x              1",
        "default loss=1.5 (trial 2, the defaults of the space)",
    ]


def test_running_again_does_nothing_and_more_trials_resume(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    first = cli("run", "s.toml")
    again = cli("run", "s.toml")
    assert again.exit_code == 0
    assert "Resuming the study 's' in hpt.db with 3 trials.\n" in again.stderr
    assert "Nothing to do: the study has already ended (all 3 trials were started)." in again.stderr
    assert again.stdout == first.stdout.replace("a word of the trial's own\n", "")
    more = cli("run", "s.toml", "trials=4")
    assert "trial 3 complete" in more.stderr
    assert "trial 2 complete" not in more.stderr
    end = cli("run", "s.toml", "--trials", 9)
    assert "The study ended: space exhausted" in end.stderr
    assert "5 trials: 5 complete" in end.stderr
    assert "continues the study" not in end.stderr


@pytest.mark.parametrize("rule", ['{ use = "trials", limit = 2 }', '{ use = "time", limit = 1e-9 }'])
def test_the_same_command_is_not_recommended_after_a_rule_has_ended_the_study(
    cli: Hpt, tmp_path: Path, rule: str
) -> None:
    """Rules count earlier runs, too, so the study would end at once."""
    write(tmp_path)
    override = f"stop=[{rule}]"
    assert "continues the study" not in cli("run", "s.toml", override).stderr
    assert "Nothing to do" in cli("run", "s.toml", override, "trials=5").stderr


def test_a_trial_running_elsewhere_is_not_counted_as_interrupted(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    assert cli("run", "s.toml", "trials=1").exit_code == 0
    with closing(Plugins().make_store(tmp_path / "hpt.db")) as store:
        store.append("s", [events.started(time.time(), 1, {"x": 4}, liveness.this_process(), 1, 0)])
    again = cli("run", "s.toml", "trials=2")
    assert "with 2 trials.\n" in again.stderr


def test_a_changed_definition_is_rejected_without_amend(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    assert cli("run", "s.toml", "trials=1").exit_code == 0
    result = cli("run", "s.toml", "space.x.high=9")
    assert result.exit_code == 2
    assert "--amend" in result.stderr
    assert "  space.x.high: Was 4, is now 9.\n" in result.stderr
    assert len(result.stderr.splitlines()) <= 5
    result = cli("run", "s.toml", "space.x.high=9", "--amend", "trials=2")
    assert result.exit_code == 0, result.stderr
    assert "hpt run s.toml space.x.high=9 trials=4    continues the study" in result.stderr


def test_options_and_overrides_override_the_file(cli: Hpt, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub")
    result = cli("run", "sub/s.toml", "sampler.use=random", "--name", "other", "--store", "o.db", "--trials", 2, "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(cli("show", "--store", "o.db", "--json").stdout)
    assert (found["study"], found["trials"], found["definition"]["sampler"]["use"]) == ("other", 2, "random")
    assert not (tmp_path / "hpt.db").exists()


def test_the_environment_variable_is_the_default_store(
    cli: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.setenv("HPT_STORE", "env.db")
    assert "  hpt best    hpt trials" in cli("run", "s.toml").stderr
    assert (tmp_path / "env.db").exists()
    monkeypatch.delenv("HPT_STORE")
    assert "  hpt best --store env.db    hpt trials --store env.db" in cli("run", "s.toml", "--store", "env.db").stderr
    cli("run", "s.toml", "--store", "env.db", "--name", "b c")
    again = cli("run", "s.toml", "--store", "env.db", "--name", "b c")
    assert "hpt best --store env.db --study 'b c'" in again.stderr
    assert "hpt run s.toml '--name=b c' --store=env.db trials=6" not in again.stderr  # in the order of the options
    assert "hpt run s.toml --store=env.db '--name=b c' trials=6    continues the study" in again.stderr


def test_the_suggested_command_finds_a_store_that_needs_a_url(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    ended = cli("run", "s.toml", 'store={ use = "sqlite", path = "runs" }').stderr
    typed = re.search(r"  hpt (best --store \S+)", ended)
    assert typed, ended
    assert cli(*typed[1].split()).exit_code == 0


def test_a_study_in_memory_prints_a_hint(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    result = cli("run", "s.toml", "--store", "memory")
    assert result.exit_code == 0
    assert "kept in memory only" in result.stderr
    assert "resumes" not in result.stderr
    assert "hpt best" not in result.stderr


def test_a_store_called_memory_is_kept(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    result = cli("run", "s.toml", 'store={ use = "csv", path = "memory" }')
    assert "the same command resumes it" in result.stderr
    assert "kept in memory only" not in result.stderr
    assert "The results are in memory. Next:" in result.stderr


# --- what the ending says -------------------------------------------------------------------------


def test_several_objectives_end_in_a_front(cli: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpt_core.cli.tally._FRONT_PATIENCE", 0)
    write(
        tmp_path,
        GRID.replace('{ loss = "minimize" }', '{ a = "minimize", b = "maximize" }'),
        "def train(params): return {'a': params['x'], 'b': min(params['x'], 1)}\n",
    )
    result = cli("run", "s.toml")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "Pareto front: 2 non-dominated trials",
        "trial  a  b  configuration",
        "    0  0  0  x=0",
        "    1  1  1  x=1",
        "default a=2, b=1 (trial 2, the defaults of the space)",
    ]
    assert "optimistic" not in result.stderr
    assert "trial 2 complete a=2, b=1 (front of 2)" in result.stderr
    assert "Pareto front: 1 non-dominated trial\n" in cli("run", "s.toml", "trials=1", "name=one").stdout
    assert "front         1 non-dominated trial\n" in cli("show", "--study", "one").stdout


def test_only_the_first_trials_of_a_large_front_are_listed_in_a_summary(
    cli: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")  # narrower, and the line would be wrapped
    text = GRID.replace('{ loss = "minimize" }', '{ a = "minimize", b = "maximize" }')
    text = re.sub(r"(?m)^x = .*$", "x = { low = 0, high = 99 }", text)
    write(tmp_path, text, "def train(params): return {'a': params['x'], 'b': params['x']}\n")
    run, shown, best = cli("run", "s.toml", "trials=30"), cli("show"), cli("best")
    head = "30 non-dominated trials; the first 20 are listed here, all of them by `hpt best`"
    for result, title in ((run, "Pareto front: "), (shown, "front         ")):
        lines = result.stdout.splitlines()
        at = lines.index(title + head)
        listed = [line.split()[0] for line in lines[at + 2 :] if re.match(r" +\d+  ", line)]
        assert listed == [str(number) for number in range(20)]
    assert len(best.stdout.splitlines()) == 31
    assert cli("best", "--as", "json").stderr.endswith("with --trial: " + ", ".join(listed) + " and 10 more.\n")


def test_failures_are_reported_by_kind_and_do_not_end_the_study(cli: Hpt, tmp_path: Path) -> None:
    code = """
    def train(params):
        if params["x"] in (1, 4):
            raise ValueError("bad \\x1b[31mvalue")
        return float("nan") if params["x"] == 3 else params["x"]
    """
    write(tmp_path, code=code)
    result = cli("run", "s.toml", "trials=5")
    assert result.exit_code == 0
    assert "trial 1 failed (error): ValueError: bad \\x1b[31mvalue (T s)\n" in same_but_times(result.stderr)
    assert "5 trials: 2 complete, 3 failed" in result.stderr
    often, once = (line for line in result.stderr.splitlines() if line.startswith("failed: "))
    assert often.startswith("failed: 2 error; the last was trial 4: ValueError")
    assert once.startswith("failed: 1 invalid-value; the last was trial 3: ")
    assert "  hpt best --trial 4    shows its error\n" in result.stderr
    assert "Traceback" in cli("best", "--trial", "4").stdout
    assert "\x1b" not in result.output


def test_only_identical_failures_end_the_study_with_one_traceback(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path, code="def train(params): raise ValueError('always')\n")
    result = cli("run", "s.toml", "trials=5")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("Traceback") == 1
    assert "in train" in result.stderr
    assert "hpt_core/loop/worker.py" not in result.stderr


FAILURES = """
import hpt_core

class Bad(Exception):
    pass

def noted(err):
    err.add_note("NOTE")
    return err

def caused(err):
    err.__cause__ = KeyError("CAUSE")
    return err

def train(params):
    raise ERROR
"""


@pytest.mark.parametrize("options", [[], ["--json"], ["--quiet"], ["--workers", 2]])
@pytest.mark.parametrize(
    ("error", "also"),
    [
        ("ValueError('no column y')", "Traceback"),
        ("Bad('no column y')", "Traceback"),
        ("Bad('two lines:\\nno column y')", "Traceback"),
        ("noted(ValueError('no column y'))", "NOTE"),
        ("caused(hpt_core.EvaluationError('no column y'))", "CAUSE"),
        ("hpt_core.EvaluationError('no column y', detail='ended with code 1')", "ended with code 1"),
        ("hpt_core.EvaluationError('no column y')", "(error)"),
    ],
)
def test_the_failure_that_ends_a_study_is_told_once(
    cli: Hpt, tmp_path: Path, options: list[Any], error: str, also: str
) -> None:
    write(tmp_path, GRID.replace("trials = 3", "trials = 9"), FAILURES.replace("ERROR", error))
    result = cli("run", "s.toml", *options)
    assert result.exit_code == 1
    assert result.stdout == ""
    traceback_lines = "\n".join(line for line in result.stderr.splitlines() if "raise " not in line)
    assert traceback_lines.count("no column y") == 1
    assert also in traceback_lines
    assert "Error: the first 3 trials of this run all failed in the same way (error)" in traceback_lines
    first = "[0-8]" if "--workers" in options else "0"  # of two workers, either may fail first
    assert bool(re.search(rf"see trial {first} above", traceback_lines)) == ("--quiet" not in options)


def test_failed_trials_can_be_retried_once_their_cause_is_corrected(cli: Hpt, tmp_path: Path) -> None:
    code = """
    from pathlib import Path
    def train(params):
        return float(Path("data.txt").read_text()) + params["x"]
    """
    text = GRID.replace("trials = 3", 'trials = 4\nstop = { use = "trials", limit = 4 }')
    write(tmp_path, text, code)
    broken = cli("run", "s.toml")
    assert broken.exit_code == 1
    assert "add --retry-failed to the command" in broken.stderr.splitlines()[-1]
    assert "--retry-failed" not in cli("run", "s.toml", "--store", "memory").stderr
    (tmp_path / "data.txt").write_text("1")
    mended = cli("run", "s.toml", "--retry-failed")
    assert mended.exit_code == 0, mended.stderr
    assert "Retrying 3 failed trials.\n" in mended.stderr
    assert "7 trials: 4 complete, 3 invalid" in mended.stderr
    rows = json.loads(cli("trials", "--json").stdout)["trials"]
    suggested = ("params.x", "source")
    assert [[row[key] for key in suggested] for row in rows[3:6]] == [
        [row[key] for key in suggested] for row in rows[:3]
    ]
    assert len({row["params.x"] for row in rows[3:]}) == 4
    again = cli("run", "s.toml", "--retry-failed")
    assert "There is no failed trial to retry.\n" in again.stderr
    assert "Nothing to do: the study has already ended" in again.stderr


def test_a_failed_trial_outside_an_amended_space_is_not_retried(cli: Hpt, tmp_path: Path) -> None:
    code = """
    def train(params):
        if params["x"] in (0, 4):
            raise ValueError
        return params["x"]
    """
    write(tmp_path, code=code)
    assert cli("run", "s.toml", "trials=5").exit_code == 0
    result = cli("run", "s.toml", "space.x.high=3", "trials=5", "--amend", "--retry-failed")
    assert "Retrying 1 failed trial.\n" in result.stderr
    assert "6 trials: 3 complete, 2 failed, 1 invalid" in result.stderr


def test_a_failed_trial_is_retried_also_if_another_has_the_same_configuration(cli: Hpt, tmp_path: Path) -> None:
    code = """
    from itertools import count
    calls = count()
    def train(params):
        if next(calls) in (5, 6, 9):
            raise OSError("connection lost")
        return params["x"]
    """
    write(tmp_path, 'duplicates = "allow"\n' + GRID.replace('"grid"', '"random"').replace("high = 4", "high = 2"), code)
    assert cli("run", "s.toml", "trials=12").exit_code == 0
    assert "Retrying 3 failed trials.\n" in cli("run", "s.toml", "trials=12", "--retry-failed").stderr
    rows = json.loads(cli("trials", "--json").stdout)["trials"]
    assert [row["number"] for row in rows if row["invalid"]] == [5, 6, 9]
    assert [row["params.x"] for row in rows[12:]] == [rows[number]["params.x"] for number in (5, 6, 9)]
    assert {row["params.x"] for row in rows[12:]} <= {row["params.x"] for row in rows[:12] if not row["invalid"]}


def test_the_recommended_budget_does_not_count_invalid_trials(cli: Hpt, tmp_path: Path) -> None:
    code = """
    from pathlib import Path
    def train(params):
        return float(Path("data.txt").read_text()) + params["x"]
    """
    write(tmp_path, code=code)
    assert cli("run", "s.toml").exit_code == 1
    (tmp_path / "data.txt").write_text("1")
    result = cli("run", "s.toml", "--retry-failed", "--trials", "4")
    assert "  hpt run s.toml trials=8    continues the study\n" in result.stderr


def test_a_study_without_a_complete_trial_has_exit_code_1(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path, code="def train(params): raise ValueError('abc'[params['x']])\n")
    result = cli("run", "s.toml", "max_failures=9")
    assert result.exit_code == 1
    assert result.stderr.endswith("Error: No trial of the study 's' succeeded.\n")


def test_the_conclusion_of_the_evaluator_is_printed(cli: Hpt, tmp_path: Path) -> None:
    code = """
    import attrs

    @attrs.define(kw_only=True)
    class Rater:
        def evaluate(self, trial):
            return trial.params["x"]

        def conclude(self, best):
            verdict = "On new data it does as well."
            return {"holdout_loss": 0.25, "verdict": verdict, "saved": "model.joblib"}
    """
    text = GRID.replace('use = "function"\ncall = "MODULE:train"\nsteps = 2', 'use = "MODULE:Rater"')
    write(tmp_path, text, code)
    result = cli("run", "s.toml")
    assert result.exit_code == 0, result.stderr
    for line in (
        "On new data it does as well.",
        "From the evaluator, on the best trial: holdout_loss=0.25.",
        "The fitted model is saved in model.joblib.",
    ):
        assert line in result.stderr.splitlines()
    shown = " ".join(cli("show", "--store", "hpt.db").stdout.split())  # the terminal may be narrow
    assert "conclusion trial=0, holdout_loss=0.25, saved=model.joblib. On new data it does as well. " in f"{shown} "


def test_the_conclusion_on_an_earlier_best_trial_is_not_printed_as_that_of_the_best(cli: Hpt, tmp_path: Path) -> None:
    code = """
    from pathlib import Path
    import attrs

    @attrs.define(kw_only=True)
    class Rater:
        def evaluate(self, trial):
            if trial.number == 2 and not Path("again").exists():
                raise KeyboardInterrupt
            return -trial.number

        def conclude(self, best):
            return {"score": best.number, "saved": "model.joblib"}
    """
    write(tmp_path, GRID.replace('use = "function"\ncall = "MODULE:train"\nsteps = 2', 'use = "MODULE:Rater"'), code)
    assert "From the evaluator, on the best trial: score=0." in cli("run", "s.toml", "trials=1").stderr
    interrupted = cli("run", "s.toml")
    assert "best loss=-1 (trial 1)" in interrupted.stdout
    assert "From the evaluator" not in interrupted.stderr
    assert "The fitted model is saved" not in interrupted.stderr
    Path("again").touch()
    resumed = cli("run", "s.toml").stderr  # it starts no new trial
    assert "with 3 trials (1 to be run again)." in resumed
    assert "The study ended: all 3 trials were started." in resumed
    assert "Nothing to do" not in resumed


def test_a_default_without_declared_defaults_is_described_as_it_is(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path, GRID.replace("{ low = 0, high = 4, default = 2 }", "[1, 10, 100]"))
    assert "default loss=0.5 (trial 0, middle values and first choices)\n" in cli("run", "s.toml").stdout


def test_a_default_that_breaks_a_requirement_is_said_to_be_near(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path, GRID.replace("{ low = 0, high = 4, default = 2 }", '{ low = 0, high = 8, requires = "x != 4" }'))
    study = 'sampler.use="defaults"'
    assert re.search(
        r"default loss=\S+ \(trial 0, near middle values and first choices\)\n", cli("run", "s.toml", study).stdout
    )


def test_a_default_that_the_sampler_has_rounded_is_the_default(cli: Hpt, tmp_path: Path) -> None:
    """Of a parameter with a log scale, the unit cube does not give back each value exactly."""
    logarithmic = "{ low = 1e-5, high = 0.1, log = true, default = 0.003 }"
    write(tmp_path, GRID.replace("{ low = 0, high = 4, default = 2 }", logarithmic))
    run = cli("run", "s.toml", "sampler.use=tpe")
    assert re.search(r"default loss=\S+ \(trial 0, the defaults of the space\)\n", run.stdout)


def test_a_default_that_was_not_evaluated_is_mentioned(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    result = cli("run", "s.toml", "trials=1")
    assert "default" not in result.stdout
    assert (
        "The default configuration was not fully evaluated, so there is no baseline to compare with." in result.stderr
    )


def test_a_default_that_was_stopped_is_not_said_to_be_unevaluated(cli: Hpt, tmp_path: Path) -> None:
    write(
        tmp_path, code="def train(params):\n    yield from (9.0 * (params['x'] == 2) + 1 / step for step in (1, 2))\n"
    )
    stopping = ["sampler.use=random", "trials=5", 'stop=[{use="threshold", limit=5.0}]']
    result = cli("run", "s.toml", *stopping)
    assert "5 trials: 4 complete, 1 stopped early" in result.stderr
    assert "The default configuration was not fully evaluated, so" in result.stderr


def test_hpt_best_is_not_recommended_if_no_trial_satisfies_the_constraints(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path, GRID.replace("trials = 3", 'trials = 3\nconstraints = { loss = "<= -1" }'))
    result = cli("run", "s.toml")
    assert result.exit_code == 1
    assert "  hpt trials    hpt show\n" in result.stderr
    assert "hpt best" not in result.stderr
    assert "trial 0 complete loss=1.5 (not <= -1) (no trial satisfies the constraints yet)" in result.stderr
    least = "trial 1 violates them least: loss=0.5 (not <= -1)"
    text = f"None of the 3 complete trials satisfies the constraints; {least}"
    best, shown = cli("best"), " ".join(cli("show").stdout.split())  # the terminal may be narrow
    assert (best.exit_code, best.stderr) == (1, f"Error: {text}.\n")
    assert " constraints loss <= -1 " in shown
    assert f" best {text}" in shown


def test_no_commands_are_announced_where_none_would_show_anything(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    result = cli("run", "s.toml", 'stop=[{use="time", limit=1e-9}]')
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-2] == "The results are in hpt.db."


# --- plugins that fail ----------------------------------------------------------------------------


FAILS_IN_SUGGEST = """
class Sampler:
    def suggest(self, history, rng):
        return self.deeper()

    def deeper(self):
        raise LookupError("nothing to suggest")
"""

FAILS_IN_INIT = """
class Sampler:
    def __init__(self):
        raise LookupError("no licence")

    def suggest(self, history, rng):
        return {}
"""


@pytest.mark.parametrize(
    ("code", "message", "frame"),
    [
        (FAILS_IN_SUGGEST, "The sampler Sampler failed: LookupError: nothing to suggest", "in deeper"),
        (FAILS_IN_INIT, "Sampler failed while it was created: LookupError: no licence", "in __init__"),
    ],
)
def test_a_failing_sampler_has_exit_code_3_and_its_own_traceback(
    cli: Hpt, tmp_path: Path, code: str, message: str, frame: str
) -> None:
    write(tmp_path, GRID.replace('use = "grid"', 'use = "MODULE:Sampler"'), TRAIN + code)
    result = cli("run", "s.toml")
    assert result.exit_code == 3
    assert message in result.stderr
    assert frame in result.stderr
    assert "/hpt_core/" not in result.stderr
    assert "Traceback" in cli("--debug", "run", "s.toml").stderr


def test_the_reading_commands_are_not_recommended_for_a_store_that_they_cannot_open(cli: Hpt, tmp_path: Path) -> None:
    code = """
    import attrs
    from hpt_store_sqlite.store import SqliteStore

    def train(params):
        return 1.0

    @attrs.define(kw_only=True)
    class Own(SqliteStore):
        pass
    """
    module = write(tmp_path, code=code)
    ended = cli("run", "s.toml", f'store={{ use = "{module}:Own", path = "own.db" }}')
    assert ended.exit_code == 0, ended.stderr
    assert "hpt best" not in ended.stderr


def test_a_disabled_plugin_is_disabled_in_worker_processes(tmp_path: Path) -> None:
    said = "os.write(1, os.environb[b'HPT_DISABLE_PLUGINS'] + b'\\n')"  # one write: two processes print
    write(tmp_path, code=f"import os\ndef train(params): {said}; return 1.0\n")
    command = [sys.executable, "-m", "hpt_core", "--no-plugin", "sampler-random", "run", "s.toml", "--workers", "2"]
    environment = {key: value for key, value in os.environ.items() if key != "HPT_DISABLE_PLUGINS"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[:3] == ["sampler-random"] * 3


# --- for programs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_only_json_is_printed_on_stdout(tmp_path: Path, workers: str) -> None:
    write(tmp_path)
    command = [sys.executable, "-m", "hpt_core", "run", "s.toml", "--json", "--workers", workers]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert list(found) == [
        "schema", "store", "study", "reason", "interrupted", "new_trials", "objectives", "trials", "states", "failures",
        "invalid", "elapsed", "best", "front", "constraints", "least_violated", "default", "stopped", "notes",
    ]  # fmt: skip
    assert (found["schema"], found["interrupted"], found["new_trials"]) == ("hpt/run/1", False, 3)
    assert (found["reason"], found["best"]["loss"]) == ("all 3 trials were started", 0.5)
    assert run.stderr.count("a word of the trial's own") == 3  # output of trials goes to stderr


def test_new_trials_are_those_of_this_run(cli: Hpt, tmp_path: Path) -> None:
    code = f"""
    import os, subprocess

    def train(params):
        if "INSIDE" not in os.environ:
            os.environ["INSIDE"] = "1"
            subprocess.run([{sys.executable!r}, "-m", "hpt_core", "run", "s.toml", "trials=4"], check=True)
        return 1.0
    """
    write(tmp_path, code=code)
    command = [sys.executable, "-m", "hpt_core", "run", "s.toml", "trials=5", "--json", "--quiet"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["trials"], found["new_trials"]) == (5, 2)  # another process ran three while the first trial ran


@pytest.mark.parametrize("arguments", [["check", "s.toml"], ["run", "s.toml"], ["verify", "--file", "s.toml"]])
def test_output_of_an_imported_module_is_not_mixed_with_json(tmp_path: Path, arguments: list[str]) -> None:
    write(tmp_path)
    start = [sys.executable, "-m", "hpt_core"]
    subprocess.run([*start, "run", "s.toml"], cwd=tmp_path, capture_output=True, check=True)
    module = next(tmp_path.glob("*.py"))
    module.write_text(f"print('imported')\n{module.read_text()}")
    run = subprocess.run([*start, *arguments, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "schema" in json.loads(run.stdout)
    assert "imported" in run.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_messages_that_cannot_be_written_do_not_end_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str, unbuffered: str
) -> None:
    write(tmp_path)
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    command = [sys.executable, "-m", "hpt_core", "run", "s.toml", "--workers", workers]
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert run.returncode == 0
    assert "best loss=0.5" in run.stdout


@pytest.mark.parametrize("options", [[], ["--json"], ["--quiet"]])
@pytest.mark.parametrize(("does", "code"), [("return 0.5", 0), ("1 / 0", 1)])
def test_the_exit_code_is_that_of_the_study_if_the_reader_of_its_output_has_gone(
    tmp_path: Path, options: list[str], does: str, code: int
) -> None:
    write(tmp_path, code=f"def train(params):\n    {does}\n")
    read, written = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "hpt_core", "run", "s.toml", "trials=2", *options]
    run = subprocess.run(command, cwd=tmp_path, stdout=written, stderr=subprocess.PIPE, text=True, check=False)
    os.close(written)
    assert run.returncode == code, run.stderr
    assert ("No trial of the study" in run.stderr) == (code == 1)
    assert "BrokenPipe" not in run.stderr


@pytest.mark.parametrize(
    ("does", "code", "told"),
    [
        ("sys.stdout = sys.stderr = None", 0, ""),
        ("sys.stdout = sys.stderr = open(os.devnull, 'w')", 0, ""),
        ("sys.stdout.close()", 2, "Error: Cannot write the output: stdout was closed, perhaps by a trial.\n"),
    ],
)
def test_a_trial_that_breaks_the_streams_loses_at_most_the_output(
    tmp_path: Path, does: str, code: int, told: str
) -> None:
    write(tmp_path, code=f"import os, sys\ndef train(params):\n    {does}\n    return 0.5\n")
    command = [sys.executable, "-m", "hpt_core", "run", "s.toml"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == code
    assert run.stderr.endswith(told)
    assert ("best loss=0.5" in run.stdout) == (code == 0)


FORKS = """
import multiprocessing, time

def train(params):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(4717,))
    child.start()
    time.sleep(0.2)
    child.terminate()
    child.join()
    return child.exitcode
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no fork")
def test_a_process_forked_by_a_trial_does_not_handle_signals(tmp_path: Path) -> None:
    """Like the workers of a `multiprocessing.Pool` when it ends them."""
    write(tmp_path, code=FORKS)
    command = [sys.executable, "-m", "hpt_core", "run", "s.toml", "trials=1"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "best loss=-15" in run.stdout
    assert "Stopping" not in run.stderr
    assert "Traceback" not in run.stderr


def test_quiet_prints_only_the_result(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path, code="def train(params): return params['x']\n")
    result = cli("run", "s.toml", "--quiet")
    assert result.stderr == ""
    assert result.stdout.startswith("best loss=0 (trial 0)\n")


def test_quiet_says_how_the_trials_failed_if_none_succeeded(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path, code="def train(params): raise ValueError('no such file')\n")
    result = cli("run", "s.toml", "--quiet", "trials=2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: No trial of the study 's' succeeded.\n"
        "  failed: 2 error; the last was trial 1: ValueError: no such file\n"
    )


def test_reports_of_a_long_trial_are_printed_now_and_then(
    cli: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpt_core.cli.progress._SILENCE_SECONDS", 0.0)
    write(tmp_path)
    result = cli("run", "s.toml", "trials=1")
    assert "trial 0 step 1 of 2, loss=2\ntrial 0 step 2 of 2, loss=1.5\ntrial 0 complete" in result.stderr


def test_decisions_of_rules_are_printed(cli: Hpt, tmp_path: Path) -> None:
    code = """
    from hpt_core import Stop

    def train(params):
        yield params["x"]
        yield 0.0

    class Rule:
        def judge_trial(self, history, trial):
            return Stop("too large") if trial.params["x"] > 0 else None

        def judge_study(self, history):
            return Stop("seen enough") if history.next_number == 3 else None
    """
    write(tmp_path, f'{GRID}\n[[stop]]\nuse = "MODULE:Rule"\n', code)
    result = cli("run", "s.toml")
    assert result.exit_code == 0, result.stderr
    assert "trial 1 stopped loss=1 by Rule: too large (best 0, trial 0)" in result.stderr
    assert "The study ended: seen enough." in result.stderr
    assert "3 trials: 1 complete, 2 stopped early" in result.stderr
    assert "continues the study" not in result.stderr.partition("The study ended")[2]
    shown = cli("show").stdout
    assert "decided       2 stopped by Rule; the last was trial 2: too large" in shown
    assert "ended         seen enough (rule Rule)" in shown


# --- check ----------------------------------------------------------------------------------------


def test_check_describes_the_study_and_writes_nothing(cli: Hpt, tmp_path: Path) -> None:
    module = write(tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    result = cli("check", "s.toml", "workers=2")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "study         s, stored in hpt.db",
        "objective     loss (minimize)",
        "space         1 parameter, 5 configurations",
        "  parameter  type  values  default",
        "  x          int   0 to 4        2",
        "sampler       grid, from hpt-sampler-grid 0.1.0",
        f"evaluator     function (call={module}:train, steps=2), from hpt-core 0.1.0",
        "store         sqlite, from hpt-store-sqlite 0.1.0",
        "executor      local, from hpt-core 0.1.0",
        "budget        3 trials in total, 2 at a time",
    ]
    assert result.stderr == "s.toml is valid. Run it with `hpt run s.toml workers=2`.\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == files


def test_check_describes_the_sampler_that_a_run_would_use(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path, GRID.replace('[sampler]\nuse = "grid"', ""))

    def sampler() -> str:
        found = json.loads(cli("check", "s.toml", "--json").stdout)
        return str(found["components"][0]["name"])

    assert cli("run", "s.toml", "name=other", "sampler.use=grid").exit_code == 0
    assert sampler() == default_plugins().default("sampler")  # the store has another study only
    assert cli("run", "s.toml", "sampler.use=random").exit_code == 0
    assert sampler() == "random"
    assert cli("run", "s.toml", "trials=4").exit_code == 0
    assert json.loads(cli("show", "--study", "s", "--json").stdout)["definition"]["sampler"]["use"] == "random"


def test_check_says_that_the_store_has_another_definition_of_the_study(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    assert cli("run", "s.toml", "reproducible=true", "workers=2").exit_code == 0
    same = cli("check", "s.toml", "reproducible=true", "workers=2")
    assert same.stderr == "s.toml is valid. Run it with `hpt run s.toml reproducible=true workers=2`.\n"
    log = cli("export", "--format", "json").stdout
    changed = cli("check", "s.toml", "reproducible=true", "workers=2", "space.x.high=9")
    refused = cli("run", "s.toml", "reproducible=true", "workers=2", "space.x.high=9")
    assert (changed.exit_code, refused.exit_code) == (0, 2)
    assert changed.stderr == refused.stderr.replace("Error:", "Warning:") + "s.toml is valid.\n"
    assert "space.x.high: Was 4, is now 9." in changed.stderr
    assert "budget" in changed.stdout
    assert "reproducible: Was 2, is now 3." in cli("check", "s.toml", "reproducible=true", "workers=3").stderr
    assert cli("export", "--format", "json").stdout == log


def test_check_says_that_the_store_cannot_be_read(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "hpt.db").write_bytes(b"not a database, but long enough to look like one" * 99)
    checked, refused = cli("check", "s.toml"), cli("run", "s.toml")
    assert (checked.exit_code, refused.exit_code) == (0, 4)
    assert checked.stderr == refused.stderr.replace("Error:", "Warning:") + "s.toml is valid.\n"


def test_check_says_that_the_folder_of_the_store_does_not_exist(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path)
    checked, refused = (cli(command, "s.toml", "store=missing/hpt.db") for command in ("check", "run"))
    assert (checked.exit_code, refused.exit_code) == (0, 4)
    told = f"The folder {tmp_path / 'missing'} of the store does not exist. Create it, unless this kind of store does."
    assert checked.stderr == f"Warning: {told}\ns.toml is valid.\n"
    assert "missing" in refused.stderr
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(("use", "path"), [("sqlite", "hpt.db"), ("csv", "runs")])
def test_a_run_that_makes_a_second_store_in_another_folder_is_warned_of(
    use: str, path: str, cli: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file = tmp_path / "study", Path("study", "s.toml")
    home.mkdir()
    write(home, GRID + f'[store]\nuse = "{use}"\npath = "{path}"\n')
    assert "Warning" not in cli("check", file).stderr
    monkeypatch.chdir(home)
    assert "Warning" not in cli("run", "s.toml").stderr
    monkeypatch.chdir(tmp_path)
    warning = (
        f"Warning: There is no {path} in this folder, so a run creates it. Beside the study file there is "
        f"{Path('study', path)}: to continue a study in it, run the command in {home.resolve()}.\n"
    )
    assert warning in cli("check", file).stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["study"]
    made = cli("run", file, "-q")
    assert (made.stderr, made.exit_code) == (warning, 0)
    assert "Warning" not in cli("check", file).stderr + cli("run", file).stderr  # now it exists here


def test_a_store_with_an_absolute_path_is_in_no_other_folder(cli: Hpt, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    write(tmp_path / "study")
    (tmp_path / "study" / "hpt.db").touch()
    assert "Warning" not in cli("check", "study/s.toml", f"store={tmp_path / 'hpt.db'}").stderr
    assert "Warning: There is no hpt.db" in cli("check", "study/s.toml").stderr  # the default store


def test_check_refuses_a_recorded_sampler_that_a_run_would_refuse(cli: Hpt, tmp_path: Path) -> None:
    module = write(
        tmp_path,
        GRID.replace('[sampler]\nuse = "grid"', ""),
        TRAIN
        + """
class Own:
    def suggest(self, history, rng):
        return history.space.sample(rng)
""",
    )
    assert cli("run", "s.toml", f"sampler.use={module}:Own").exit_code == 0
    results = [cli(command, "s.toml") for command in ("check", "run")]
    assert [result.exit_code for result in results] == [2, 2]
    assert results[0].stderr == results[1].stderr
    assert "The study's recorded sampler cannot be created" in results[0].stderr


def test_the_keys_of_check_are_stable(cli: Hpt, tmp_path: Path) -> None:
    write(tmp_path, GRID.replace('[sampler]\nuse = "grid"', ""))
    found: dict[str, Any] = json.loads(cli("check", "s.toml", "--json").stdout)
    assert list(found) == [
        "schema", "file", "name", "store", "objectives", "constraints", "size", "space", "trials", "workers",
        "components",
    ]  # fmt: skip
    assert (found["size"], found["objectives"]) == (5, {"loss": "minimize"})
    sampler, *others = found["components"]
    assert sampler["name"] == default_plugins().default("sampler")
    assert [other["kind"] for other in others] == ["evaluator", "store", "executor"]


def test_check_reports_all_errors_at_once(cli: Hpt, tmp_path: Path) -> None:
    bad = GRID.replace("objective =", "objetive =").replace("high = 4", "high = -4").replace('"grid"', '"gird"')
    write(tmp_path, bad)
    result = cli("check", "s.toml", "trials=0")
    assert result.exit_code == 2
    assert result.stdout == ""
    head, *lines = result.stderr.splitlines()
    assert head == f"Error: {len(lines)} errors in s.toml:"
    assert {line.split(":")[0].strip() for line in lines} >= {"objetive", "space.x.low", "sampler.use", "trials"}


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_file_that_is_not_a_study_file(cli: Hpt, tmp_path: Path, command: str) -> None:
    (tmp_path / "broken.toml").write_text("x = [")
    for name, words in (("nowhere.toml", "No such file"), ("broken.toml", "not valid TOML")):
        result = cli(command, name)
        assert result.exit_code == 2
        assert words in result.stderr
        assert name in result.stderr
        assert len(result.stderr.splitlines()) == 1


KEYS = (
    "objective",
    "trials",
    "space",
    "space.x",
    "space.x.when",
    "evaluator",
    "evaluator.use",
    "sampler",
    "stop",
    "name",
)
VALUES = (
    "[]",
    "{}",
    "[[1]]",
    "{use=1}",
    "{use='grid'}",
    "[{use='x'}]",
    "nan",
    "1e400",
    "''",
    "true",
    "-1",
    "1979-05-27",
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES) | st.text(max_size=5)), max_size=2),
    st.binary(max_size=3),
    st.integers(0, len(GRID)),
)
def test_any_file_content_is_valid_or_a_usage_error(
    cli: Hpt, tmp_path: Path, items: list[tuple[str, str]], noise: bytes, place: int
) -> None:
    text = GRID.replace("MODULE", "cli_run_fuzz").encode()
    (tmp_path / "cli_run_fuzz.py").write_text(TRAIN)
    (tmp_path / "s.toml").write_bytes(text[:place] + (b"" if items else noise) + text[place:])
    result = cli("check", "s.toml", *(f"{key}={value}" for key, value in items))
    assert result.exit_code in (0, 2, 3), result.stderr  # 3: a component of a name that no plugin offers
    assert "Traceback" not in result.stderr
