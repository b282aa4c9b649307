"""What stopping rules have to tell of a study, as `hpt show` prints it from the store alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from click.testing import CliRunner

from hpt_core import Float, History, Mistake, Params, PluginError, StoppingRule, Study, Trial, UsageError, option
from hpt_core.builtin.function import FunctionEvaluator
from hpt_core.cli.group import hpt
from hpt_core.plugins.plugins import default_plugins


def test_a_rule_that_watches_what_nobody_reports_is_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    def run(metric: str) -> list[str]:
        caplog.clear()
        rules = [{"use": "after", "rule": {"use": "median", "metric": metric}}, {"use": "threshold", "limit": 9.0}]
        study = Study({"x": Float(0.0, 1.0)}, sampler="random", stop=rules, seed=0)
        study.run(lambda params: iter_of({"value": params["x"], "size": 1.0}), trials=3)
        return [record.getMessage() for record in caplog.records]

    assert run("size") == []
    assert run("value") == []
    said = "The rule 'after' watches 'sise', which no trial reported. Did you mean 'size'? Reported: size, value."
    assert run("sise") == [said]


def iter_of(report: dict[str, float]) -> Iterator[dict[str, float]]:
    yield report


def test_a_rule_for_trials_that_report_nothing_is_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    study = Study({"x": Float(0.0, 1.0)}, sampler="random", stop=["median", "plateau"], seed=0)
    study.run(lambda params: params["x"], trials=3)
    (record,) = caplog.records
    said = "The rule 'median' judges trials by their reports, but no trial reported anything."
    assert record.getMessage() == said


@pytest.mark.parametrize("rule", ["folds", "race"])
def test_a_rule_for_folds_is_refused_where_the_evaluator_has_none(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = "stop[1]: This rule judges folds, but the evaluator's reports are curves: use another rule"
    study = Study({"x": Float(0.0, 1.0)}, sampler="random", stop=["plateau", rule], seed=0)
    with pytest.raises(UsageError) as refused:
        study.run(lambda params: params["x"], trials=1)
    assert str(refused.value).startswith(said)
    assert len(study.trials) == 0
    file = 'space.x = { low = 0.0, high = 1.0 }\nevaluator = { use = "command", command = "true {x}"%s }\n'
    file += f'stop = [{{ use = "plateau" }}, {{ use = "{rule}" }}]\n'
    Path("study.toml").write_text(file % "", encoding="utf-8")
    answer = CliRunner().invoke(hpt, ["check", "study.toml"], catch_exceptions=False)
    assert answer.exit_code == 2
    assert said in answer.stderr
    Path("study.toml").write_text(file % ', evidence = "folds"', encoding="utf-8")
    assert CliRunner().invoke(hpt, ["check", "study.toml"], catch_exceptions=False).exit_code == 0


def refusal_of(stop: Any, **evaluator: Any) -> list[str]:
    """The mistakes that a run is refused with before its first trial, as `hpt check` reports them."""
    study = Study({"x": Float(0.0, 1.0)}, sampler="random", stop=stop, seed=0)
    with pytest.raises(UsageError) as refused:
        study.run(FunctionEvaluator(call=train, **evaluator), trials=1)
    assert len(study.trials) == 0
    return [f"{mistake.path}: {mistake.message.split(',')[0]}" for mistake in refused.value.mistakes]


@pytest.mark.parametrize("use", ["halving", "hyperband"])
def test_a_rule_that_needs_the_steps_is_refused_where_the_evaluator_declares_none(
    use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = "stop[1].max_resource: Must be given"
    assert refusal_of(["plateau", {"use": use}]) == [said]
    file = 'space.x = { low = 0.0, high = 1.0 }\nevaluator = { use = "command", command = "true {x}" }\n'
    file += f'stop = [{{ use = "plateau" }}, {{ use = "{use}"%s }}]\n'
    for options, code in (("", 2), (", max_resource = 9", 0)):
        Path("study.toml").write_text(file % options, encoding="utf-8")
        answer = CliRunner().invoke(hpt, ["check", "study.toml"], catch_exceptions=False)
        assert answer.exit_code == code
        assert (said in answer.stderr) == bool(code)


def test_rules_are_checked_against_the_reports_at_any_depth() -> None:
    folds, hyperband, asha = {"use": "folds"}, {"use": "hyperband"}, {"use": "asha", "min_resource": 20}
    inner = {"use": "after", "trials": 3, "rule": {"use": "not", "rule": folds}}
    stop = [{"use": "all", "rules": ["plateau", {"use": "any", "rules": [hyperband, inner]}]}, asha]
    assert refusal_of(stop) == [
        "stop[0].rules[1].rules[0].max_resource: Must be given",
        "stop[0].rules[1].rules[1].rule.rule: This rule judges folds",
    ]
    assert refusal_of([asha], steps=20) == ["stop[0].min_resource: Must be below the steps of a whole trial"]


@attrs.define(kw_only=True)
class Demanding:
    """A rule of another plugin."""

    def judge_trial(self, history: History, trial: Trial) -> None:
        """Judge nothing."""

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> None:
        """Refuse trials of a single step, and fail at others that cannot resume."""
        if steps == 1:
            raise UsageError(Mistake("", f"Needs more than {steps} step of a {kind}."))
        if not resumable:
            raise ZeroDivisionError


@attrs.define(kw_only=True)
class Choosing:
    """A combination of another plugin: one rule for each name."""

    by_name: Mapping[str, StoppingRule] = option(help="The rules.")

    def judge_study(self, history: History) -> None:
        """Judge nothing."""


def test_a_rule_of_any_plugin_may_refuse_the_reports() -> None:
    nested = Choosing(by_name={"first": Demanding(), "then": Choosing(by_name={"second": Demanding()})})
    assert refusal_of([nested], steps=1) == [
        "stop[0].by_name.first: Needs more than 1 step of a curve.",
        "stop[0].by_name.then.by_name.second: Needs more than 1 step of a curve.",
    ]
    study = Study({"x": Float(0.0, 1.0)}, sampler="random", stop=[nested], seed=0)
    with pytest.raises(PluginError, match=r"stop\[0\].by_name.first: Demanding failed in check_evidence: ZeroDivision"):
        study.run(FunctionEvaluator(call=train, steps=20), trials=1)
    study.run(FunctionEvaluator(call=train, steps=20, resumable=True), trials=1)
    assert study.best is not None


@attrs.define(kw_only=True)
class Answering(Demanding):
    """A rule whose ``check_evidence`` returns what it is given."""

    answer: Any = None

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> Any:
        """Return the answer."""
        return self.answer


@pytest.mark.parametrize("answer", [True, 0, ["one", "two"], np.zeros(2)], ids=repr)
def test_a_warning_of_a_rule_that_is_no_text_is_a_fault_of_the_rule(answer: Any) -> None:
    study = Study({"x": Float(0.0, 1.0)}, sampler="random", stop=Answering(answer=answer), seed=0)
    with pytest.raises(PluginError, match=r"^stop: Answering must return text or None from check_evidence. Got"):
        study.run(train, trials=1)


def test_what_a_rule_within_the_table_of_another_watches_is_told_as_well(caplog: pytest.LogCaptureFixture) -> None:
    inner = default_plugins().make("stopping rule", {"use": "median", "metric": "sise"})
    study = Study({"x": Float(0.0, 1.0)}, sampler="random", stop=Choosing(by_name={"first": inner}), seed=0)
    study.run(train, trials=1)
    (record,) = caplog.records
    assert record.getMessage() == "The rule 'Choosing' watches 'sise', which no trial reported. Reported: value."


def train(params: Params) -> Iterator[float]:
    yield from (params["x"] + step**-0.8 for step in range(1, 21))


def test_show_tells_the_false_stop_rate_and_the_remaining_gain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = Study(
        {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)},
        name="told",
        sampler="random",
        evaluator={"use": "function", "call": train, "steps": 20},
        store="hpt.db",
        stop=[{"use": "extrapolation", "audit": 0.4}, {"use": "all", "rules": [{"use": "regret"}]}],
        seed=0,
    )
    study.run(trials=25)
    stopped = sum(trial.rule == "extrapolation" for trial in study.trials)
    study.close()
    assert stopped
    answer = CliRunner().invoke(hpt, ["show", "--json"], catch_exceptions=False)
    told = {item["rule"]: item["summary"] for item in json.loads(answer.stdout)["rules"]}
    assert list(told) == ["extrapolation", "regret"]
    assert told["extrapolation"]["false-stop rate"] == 0
    assert 0 < told["extrapolation"]["would have stopped"] <= told["extrapolation"]["audited trials"]
    assert told["regret"]["expected remaining gain"] >= 0
    text = " ".join(CliRunner().invoke(hpt, ["show"], catch_exceptions=False).stdout.split())
    assert "rule extrapolation: audited trials=" in text
    assert "false-stop rate=0, 95 % interval=[0.0, " in text
    assert "rule regret: expected remaining gain=" in text
