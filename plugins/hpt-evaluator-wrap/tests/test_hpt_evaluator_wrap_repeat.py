"""Repeat: means and standard errors against numpy, paired seeds, rules for folds, and delegation."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from scipy.stats import sem

from hpt_core import Float, Pause, Report, Stop, Study, TrialContext, UsageError
from hpt_core.study.config import make_study, read_study_file
from hpt_evaluator_wrap.cache import CacheEvaluator
from hpt_evaluator_wrap.repeat import RepeatEvaluator
from hpt_evaluator_wrap.retry import RetryEvaluator

SPACE = {"x": Float(0, 1)}


@attrs.define(kw_only=True)
class Noisy:
    """Noise from the trial's seed; records its trials."""

    result: Callable[[np.random.Generator], Any] = lambda rng: rng.normal()
    evidence: str = "curve"
    seen: list[TrialContext] = attrs.field(factory=list)
    closed: list[int] = attrs.field(factory=list)

    def evaluate(self, trial: TrialContext) -> Any:
        self.seen.append(trial)
        return self.result(np.random.default_rng(trial.seed))


def run(inner: Any, trials: int = 2, **settings: Any) -> Study:
    options = {"use": "repeat", "times": settings.pop("times", 4), "evaluator": inner}
    study = Study(SPACE, evaluator=options, sampler="random", seed=0, **settings)
    study.run(trials=trials)
    return study


def test_mean_and_standard_error() -> None:
    inner = Noisy()
    study = run(inner)
    values = [np.random.default_rng(context.seed).normal() for context in inner.seen[:4]]
    first = study.trials[0]
    assert first.value == pytest.approx(np.mean(values))
    assert first.metrics == {"value_se": pytest.approx(sem(values))}
    assert [report.value for report in first.reports] == pytest.approx(values)


def test_repeats_have_distinct_seeds_that_are_the_same_in_every_trial() -> None:
    inner = Noisy()
    run(inner, trials=3)
    seeds = [context.seed for context in inner.seen]
    assert seeds[:4] == seeds[4:8] == seeds[8:]
    assert len(set(seeds[:4])) == 4
    other = RepeatEvaluator(evaluator=Noisy(), times=4, seed=1)
    assert [r.value for r in other.evaluate(TrialContext({}))] != [
        r.value for r in RepeatEvaluator(evaluator=Noisy(), times=4).evaluate(TrialContext({}))
    ]


def test_several_objectives_and_metrics_that_only_some_repeats_have() -> None:
    def result(rng: np.random.Generator) -> dict[str, float]:
        found = {"a": rng.normal(), "b": rng.normal(), "m": 2.0}
        return found if found["a"] > 0 else found | {"rare": 1.0}

    inner = Noisy(result=result)
    study = run(inner, objective={"a": "minimize", "b": "maximize"}, times=8)
    rows = [result(np.random.default_rng(context.seed)) for context in inner.seen[:8]]
    assert len({len(row) for row in rows}) == 2
    trial = study.trials[0]
    assert trial.values == pytest.approx(tuple(np.mean([row[name] for row in rows]) for name in "ab"))
    assert [dict(report.metrics) for report in trial.reports] == [
        {name: value for name, value in row.items() if name != "a"} for row in rows
    ]
    assert set(trial.metrics) == {"a_se", "b_se", "m", "m_se"}
    assert trial.metrics["m_se"] == 0
    assert trial.metrics["b_se"] == pytest.approx(sem([row["b"] for row in rows]))


@pytest.mark.parametrize(("evidence", "expected"), [("curve", 3.0), ("folds", 2.0)])
def test_the_reports_within_a_repeat_are_combined(evidence: str, expected: float) -> None:
    inner = Noisy(result=lambda rng: iter([Report(1, 1.0, {"m": 4}), Report(2, 3.0, {"m": 6})]), evidence=evidence)
    trial = run(inner).trials[0]
    assert trial.value == expected
    assert trial.metrics["m"] == (6 if evidence == "curve" else 5)


def test_the_return_value_of_a_generator_is_its_result() -> None:
    def result(rng: np.random.Generator) -> Generator[Report, None, float]:
        yield Report(1, 9.0)
        return 5.0

    assert run(Noisy(result=result)).trials[0].value == 5.0


@attrs.define(kw_only=True)
class SecondIsEnough:
    """Stops or pauses each trial at its second report."""

    verdict: Any = Stop("enough")

    def judge_trial(self, history: Any, trial: Any) -> Stop | Pause | None:
        return self.verdict if len(trial.reports) == 2 else None


def test_a_rule_for_folds_ends_a_trial_after_a_few_repeats() -> None:
    inner = Noisy()
    study = run(inner, stop=[SecondIsEnough()])
    assert len(inner.seen) == 4
    assert study.trials[0].state == "stopped"
    assert study.trials[0].value == pytest.approx(np.mean([r.value for r in study.trials[0].reports]))
    assert (study.history.evidence, study.history.steps, study.history.resumable) == ("folds", 4, False)


def test_an_inner_generator_is_closed_when_it_fails_midway() -> None:
    inner = Noisy()

    def result(rng: np.random.Generator) -> Iterator[Any]:
        try:
            yield Report(1, 1.0)
            raise ValueError("midway")
        finally:
            inner.closed.append(1)

    inner.result = result
    study = run(inner, trials=1)
    assert study.trials[0].failure is not None
    assert study.trials[0].failure.message == "ValueError: midway"
    assert inner.closed == [1]


@pytest.mark.parametrize("result", [{"other": 1.0}, float("nan"), "text", (1.0,), iter(())])
def test_a_repeat_without_a_value_is_an_invalid_value(result: Any) -> None:
    failure = run(Noisy(result=lambda rng: result), trials=1).trials[0].failure
    assert failure is not None
    assert failure.kind == "invalid-value"


def test_each_repeat_has_its_own_folder(tmp_path: Path) -> None:
    inner = Noisy()
    list(RepeatEvaluator(evaluator=inner, times=2).evaluate(TrialContext({"x": 1}, workdir=tmp_path, resume_step=3)))
    assert [context.workdir for context in inner.seen] == [tmp_path / "repeat-1", tmp_path / "repeat-2"]
    assert {context.resume_step for context in inner.seen} == {0}


@attrs.define(kw_only=True)
class Whole(Noisy):
    """An evaluator with ``check`` and ``conclude``."""

    def check(self, space: Any, objectives: Any) -> None:
        if "y" in objectives:
            raise UsageError("no y", *UsageError("b").mistakes)

    def conclude(self, best: TrialContext) -> Mapping[str, Any]:
        return {"saved": best.number, "folder": str(best.workdir), "seed": best.seed}


def test_check_and_conclude_are_delegated(tmp_path: Path) -> None:
    assert run(Whole()).history.notes["conclusion"]["saved"] == 0
    assert RepeatEvaluator(evaluator=Noisy()).conclude is None
    with pytest.raises(UsageError, match="no y"):
        run(Whole(), objective={"y": "minimize"})
    inner = Whole()
    wrapped: Any = RepeatEvaluator(evaluator=inner)
    trial = TrialContext({"x": 1}, number=3, workdir=tmp_path)
    list(wrapped.evaluate(trial))
    first = {"saved": 3, "folder": str(tmp_path / "repeat-1"), "seed": inner.seen[0].seed}
    assert wrapped.conclude(trial) == first  # the trial's own folder has no files, and its seed was not used


@attrs.define(kw_only=True)
class Keeping(Noisy):
    """An evaluator with ``discard``."""

    discarded: list[TrialContext] = attrs.field(factory=list)

    def discard(self, trial: TrialContext) -> None:
        self.discarded.append(trial)


@pytest.mark.parametrize("wrapper", [CacheEvaluator, RepeatEvaluator, RetryEvaluator])
def test_discard_receives_the_trials_that_were_evaluated(wrapper: Any, tmp_path: Path) -> None:
    inner, trial = Keeping(), TrialContext({"x": 1}, workdir=tmp_path)
    outer = wrapper(evaluator=inner)
    list(outer.evaluate(trial))
    outer.discard(trial)
    assert inner.discarded == inner.seen
    assert wrapper(evaluator=Noisy()).discard is None


@attrs.define(kw_only=True)
class Finishing(Noisy):
    """An evaluator with ``finish``."""

    finished: list[TrialContext] = attrs.field(factory=list)

    def finish(self, trial: TrialContext) -> None:
        self.finished.append(trial)


@pytest.mark.parametrize("wrapper", [CacheEvaluator, RepeatEvaluator, RetryEvaluator])
def test_finish_receives_the_trials_that_were_evaluated(wrapper: Any, tmp_path: Path) -> None:
    inner, trial = Finishing(), TrialContext({"x": 1}, workdir=tmp_path)
    outer = wrapper(evaluator=inner)
    list(outer.evaluate(trial))
    outer.finish(trial)
    assert inner.finished == inner.seen
    assert wrapper(evaluator=Noisy()).finish is None


STUDY = """
seed = 0
trials = 2
[space]
x = { low = 0.0, high = 1.0 }
[sampler]
use = "random"
[evaluator]
use = "repeat"
times = 2
[evaluator.evaluator]
use = "retry"
[evaluator.evaluator.evaluator]
use = "function"
call = "CALL"
"""


def test_wrappers_nest_in_a_study_file_with_exact_paths(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(STUDY.replace("CALL", "no_such_module:f"), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        make_study(read_study_file(file), folder=tmp_path)
    assert [mistake.path for mistake in caught.value.mistakes] == ["evaluator.evaluator.evaluator.call"]
    (tmp_path / "wrapped_function.py").write_text("def f(params):\n    return params['x']\n", encoding="utf-8")
    override = "evaluator.evaluator.evaluator.call=wrapped_function:f"
    study, settings = make_study(read_study_file(file, [override]), folder=tmp_path)
    study.run(trials=settings.trials)
    assert [trial.value for trial in study.trials] == [trial.params["x"] for trial in study.trials]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"times": 1, "evaluator": len}, "evaluator.times"),
        ({}, "evaluator.evaluator"),
        ({"evaluator": 3}, "evaluator.evaluator"),
        ({"evaluator": {"use": "repeat", "evaluator": {"use": "nope"}}}, "evaluator.evaluator.evaluator.use"),
    ],
)
def test_invalid_options_are_refused_with_their_path(options: dict[str, Any], path: str) -> None:
    with pytest.raises(UsageError) as caught:
        Study(SPACE, evaluator={"use": "repeat", **options})
    assert [mistake.path for mistake in caught.value.mistakes] == [path]


@pytest.mark.parametrize("wrapper", [CacheEvaluator, RepeatEvaluator, RetryEvaluator])
def test_created_in_python_it_requires_an_evaluator(wrapper: Callable[..., object]) -> None:
    with pytest.raises(UsageError, match=r"evaluator: Must be an evaluator\. Got 3"):
        wrapper(evaluator=3)


def test_a_metric_that_is_not_finite_in_one_repeat_is_left_out() -> None:
    inner = Noisy(result=lambda rng: {"value": 1.0, "auc": 0.5, "f1": math.nan if rng.random() < 0.9 else 0.5})
    trial = run(inner, trials=1).trials[0]
    assert trial.state == "complete"
    assert trial.metrics == {"auc": 0.5, "auc_se": 0.0, "value_se": 0.0}


def test_the_mean_of_huge_losses_is_no_error() -> None:
    spread = iter([1.7e308, -1.7e308, 1.7e308])  # whose standard error is beyond the range of floats
    inner = Noisy(result=lambda rng: {"value": 1.5e308, "m": 10**400, "spread": next(spread)})
    trial = run(inner, trials=1, times=3).trials[0]
    assert trial.state == "complete"
    assert trial.value == pytest.approx(1.5e308)
    assert trial.metrics["value_se"] == 0.0
    assert trial.metrics["spread"] == pytest.approx(1.7e308 / 3)
    assert trial.metrics.keys() == {"value_se", "spread"}


@pytest.mark.parametrize("metric", [[math.inf, -math.inf], [10**400, 1.0], [math.nan, 1.0]])
def test_a_metric_that_is_not_finite_on_the_folds_of_a_repeat_is_left_out(metric: list[float]) -> None:
    inner = Noisy(result=lambda rng: (Report(i + 1, i + 1.0, {"m": metric[i]}) for i in range(2)), evidence="folds")
    trial = run(inner, trials=1).trials[0]
    assert (trial.value, trial.metrics) == (1.5, {"value_se": 0.0})
