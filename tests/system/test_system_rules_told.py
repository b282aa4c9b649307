"""What stopping rules have to tell of a study, as `hpt show` prints it from the store alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpt_core import Float, Params, Study, UsageError
from hpt_core.cli.group import hpt


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
