"""A warning before the first trial about stopping rules that can never act on trials with so few steps."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpt_core import Float, Params, Study
from hpt_core.builtin.function import FunctionEvaluator
from hpt_core.cli.group import hpt
from hpt_core.plugins.checks import check_evidence, rules_by_path
from hpt_core.plugins.plugins import default_plugins
from hpt_core.testing import make_history

TRIALS = 12
SPACE = {"x": Float(0.0, 1.0)}

BOTH: list[dict[str, Any]] = [
    {"use": "median"},
    {"use": "median", "min_step": 3},
    {"use": "percentile", "percentile": 50.0, "min_step": 1},
    {"use": "percentile", "min_step": 7},
    {"use": "threshold", "limit": 50.0},
    {"use": "threshold", "limit": 50.0, "min_step": 4},
    {"use": "patience"},
    {"use": "patience", "reports": 2},
    {"use": "after", "steps": 3, "rule": {"use": "threshold", "limit": 50.0}},
    {"use": "after", "steps": 99, "rule": {"use": "plateau"}},
    {"use": "asha"},
    {"use": "asha", "max_resource": 2},
    {"use": "asha", "max_resource": 1},
    {"use": "asha", "max_resource": 100, "eta": 2},
    {"use": "asha", "min_resource": 3, "max_resource": 9},
    {"use": "pasha"},
    {"use": "divergence", "audit": 0.0},
    {"use": "divergence", "audit": 0.0, "reports": 5},
    {"use": "extrapolation", "audit": 0.0},
    {"use": "extrapolation", "audit": 0.0, "min_share": 0.8},
]
FOLDS: list[dict[str, Any]] = [
    {"use": "folds"},
    {"use": "folds", "min_folds": 4},
    {"use": "folds", "test": "forgiving"},
    {"use": "folds", "test": "t"},
    {"use": "folds", "test": "wilcoxon"},
    {"use": "folds", "test": "wilcoxon", "min_folds": 2},
    {"use": "folds", "test": "wilcoxon", "min_folds": 2, "alpha": 0.03},
    {"use": "race"},
    {"use": "race", "min_folds": 2, "elites": 3},
    {"use": "race", "alpha": 0.03, "elites": 1},
]


def acts(rule: Any, kind: str, steps: int) -> bool:
    """Whether a rule stops a hopeless trial, which gets ever worse or levels off far above the others."""
    if not hasattr(rule, "judge_trial"):
        return False
    good = [[1.0 + 1e-4 * n + 0.3 / step + 1e-6 * n * step for step in range(1, steps + 1)] for n in range(TRIALS)]
    ends = [sum(curve) / steps if kind == "folds" else curve[-1] for curve in good]
    ended = [({"x": n / 100}, end) for n, end in enumerate(ends)]
    for bad in ([10.0 + 100.0 * 2.0**step + step**2 for step in range(steps)], [100 + 5 / 2**n for n in range(steps)]):
        for length in range(1, steps + 1):
            reports = {**dict(enumerate(good)), TRIALS: bad[:length]}
            running = [{"x": 0.9}]
            history = make_history(SPACE, ended, running=running, reports=reports, evidence=kind, steps=steps)
            if rule.judge_trial(history, history.trials[-1]) is not None:
                return True
    return False


def warned(stop: list[Any], kind: Any, steps: int | None) -> list[str]:
    """What the user is warned of."""
    return check_evidence(FunctionEvaluator(call=train, steps=steps, evidence=kind), rules_by_path(stop))


@pytest.mark.parametrize(
    ("options", "kind"), [*itertools.product(BOTH, ["curve", "folds"]), *((options, "folds") for options in FOLDS)]
)
def test_exactly_the_rules_that_never_stop_a_hopeless_trial_are_told(options: dict[str, Any], kind: str) -> None:
    judges_trials = options.get("rule") != {"use": "plateau"}
    for steps in range(1, 17):
        if options.get("min_resource", 0) >= steps:
            continue  # such a study is refused
        rule = default_plugins().make("stopping rule", options)
        told = warned([rule], kind, steps)
        assert bool(told) == (judges_trials and not acts(rule, kind, steps)), (steps, told)


def test_nothing_is_told_where_the_evaluator_does_not_declare_its_steps() -> None:
    rules = [default_plugins().make("stopping rule", options) for options in (*BOTH, {"use": "median", "min_step": 99})]
    assert [told for told in warned(rules, "curve", None) if "rung is at step 1," not in told] == []
    assert warned([default_plugins().make("stopping rule", options) for options in FOLDS], "folds", None) == []


SAID = "This rule never stops a trial: it begins at step 9 (`min_step`), and a trial ends at step 5."
LATE = {"use": "median", "min_step": 9}


def test_a_run_warns_of_such_a_rule_at_any_depth_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    stop = ["plateau", {"use": "all", "rules": [{"use": "not", "rule": LATE}, "median"]}]
    study = Study(SPACE, sampler="random", stop=stop, seed=0)
    study.run(FunctionEvaluator(call=train, steps=5), trials=2)
    assert [record.getMessage() for record in caplog.records] == [f"stop[1].rules[0].rule: {SAID}"]
    assert len(study.trials) == 2


def test_check_and_run_print_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("hpt"), "handlers", [])  # other tests may have left some
    text = f"""
        trials = 2
        sampler = "random"
        space.x = {{ low = 0.0, high = 1.0 }}
        evaluator = {{ use = "function", call = "{__name__}:train", steps = 5 }}
        stop = [{{ use = "median", min_step = 9 }}]
    """
    Path("study.toml").write_text(text, encoding="utf-8")
    for command in (["check", "--json"], ["check"], ["run", "--store=memory"]):
        answer = CliRunner().invoke(hpt, [command[0], "study.toml", *command[1:]], catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
        assert answer.stderr.count(f"Warning: stop[0]: {SAID}") == 1


def train(params: Params) -> Iterator[float]:
    yield from (params["x"] + 1 / step for step in range(1, 6))
