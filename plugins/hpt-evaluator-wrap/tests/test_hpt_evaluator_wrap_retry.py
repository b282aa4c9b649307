"""Retry: the kinds of failure, the number of tries, the reports, and the result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import attrs
import pytest

from hpt_core import EvaluationError, Float, Report, Stop, Study, TrialContext, UsageError
from hpt_evaluator_wrap.retry import RetryEvaluator

SPACE = {"x": Float(0, 1)}


@attrs.define(kw_only=True)
class Scripted:
    """Try i calls ``tries[i]``; further tries call the last entry."""

    tries: list[Callable[[TrialContext], Any]]
    resumable: bool = False
    seen: list[TrialContext] = attrs.field(factory=list)

    def evaluate(self, trial: TrialContext) -> Any:
        self.seen.append(trial)
        return self.tries[min(len(self.seen), len(self.tries)) - 1](trial)


def fail(err: BaseException) -> Callable[[TrialContext], Any]:
    def once(trial: TrialContext) -> Any:
        raise err

    return once


def curve(*steps: int, err: Exception | None = None) -> Callable[[TrialContext], Iterator[Report]]:
    def once(trial: TrialContext) -> Iterator[Report]:
        for step in steps:
            yield Report(step, step / 10)
        if err is not None:
            raise err

    return once


def run(inner: Any, **options: Any) -> Any:
    study = Study(SPACE, evaluator={"use": "retry", "evaluator": inner, **options}, sampler="random", seed=0)
    study.run(trials=1)
    return study.trials[0]


@pytest.mark.parametrize(
    ("failures", "times", "complete"),
    [(0, 1, True), (2, 2, True), (3, 2, False), (1, 1, True), (1101, 1100, False)],  # 2**1100 exceeds any float
)
def test_the_number_of_tries(failures: int, times: int, complete: bool) -> None:
    inner = Scripted(tries=[*[fail(OSError("busy"))] * failures, lambda trial: 0.5])
    trial = run(inner, times=times)
    assert (trial.state == "complete") == complete
    assert len(inner.seen) == min(failures, times) + 1
    assert len({context.seed for context in inner.seen}) == 1
    if not complete:
        assert trial.failure.message == "OSError: busy"


@pytest.mark.parametrize(
    ("err", "kinds", "again"),
    [
        (ValueError("x"), ["error"], True),
        (ValueError("x"), ["timeout"], False),
        (MemoryError(), ["error"], False),
        (MemoryError(), ["out-of-memory"], True),
        (EvaluationError("slow", kind="timeout"), ["killed", "timeout"], True),
        (EvaluationError("nan", kind="invalid-value"), ["error"], False),
    ],
)
def test_only_the_listed_kinds_are_retried(err: Exception, kinds: list[str], again: bool) -> None:
    inner = Scripted(tries=[fail(err), lambda trial: 0.5])
    assert (run(inner, kinds=kinds).state == "complete") == again
    assert len(inner.seen) == 1 + again


@pytest.mark.parametrize("bad", [float("nan"), {"value": float("inf")}, (float("nan"),), 10**400])
def test_a_result_that_is_not_finite_can_be_retried(bad: Any) -> None:
    once = Scripted(tries=[lambda trial: bad, lambda trial: 0.5])
    assert run(once, kinds=["invalid-value"], times=5).value == 0.5
    assert len(once.seen) == 2
    assert run(Scripted(tries=[lambda trial: bad, lambda trial: 0.5])).failure.kind == "invalid-value"
    always = Scripted(tries=[lambda trial: bad])
    assert run(always, kinds=["invalid-value"], times=1).failure.kind == "invalid-value"
    assert len(always.seen) == 2
    reported = Scripted(tries=[lambda trial: iter([Report(1, float("nan"))]), curve(1)])
    assert run(reported, kinds=["invalid-value"]).value == 0.1


def test_a_result_that_is_not_a_number_is_left_to_the_core() -> None:
    inner = Scripted(tries=[lambda trial: "text"])
    assert run(inner, kinds=["invalid-value"]).failure.kind == "invalid-value"
    assert len(inner.seen) == 1


def test_reports_are_not_repeated() -> None:
    inner = Scripted(tries=[curve(1, 2, err=OSError()), curve(1, 2, 3, err=OSError()), curve(1, 2, 3, 4)])
    trial = run(inner)
    assert [report.step for report in trial.reports] == [1, 2, 3, 4]
    assert trial.value == 0.4
    assert {context.resume_step for context in inner.seen} == {0}


def test_a_resumable_evaluator_continues_after_the_last_report() -> None:
    inner = Scripted(
        tries=[curve(1, 2, err=OSError()), lambda trial: curve(trial.resume_step + 1)(trial)], resumable=True
    )
    assert [report.step for report in run(inner).reports] == [1, 2, 3]
    assert [context.resume_step for context in inner.seen] == [0, 2]


def test_ctrl_c_and_a_stop_are_not_retried() -> None:
    inner = Scripted(tries=[fail(KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        list(RetryEvaluator(evaluator=inner).evaluate(TrialContext({})))
    assert len(inner.seen) == 1

    class AtOnce:
        def judge_trial(self, history: Any, trial: Any) -> Stop:
            return Stop("enough")

    endless = Scripted(tries=[curve(*range(1, 100))])
    study = Study(SPACE, evaluator=RetryEvaluator(evaluator=endless), sampler="random", stop=[AtOnce()])
    study.run(trials=1)
    assert study.trials[0].state == "stopped"
    assert len(endless.seen) == 1


def test_results_and_properties_are_delegated() -> None:
    evaluator = RetryEvaluator(evaluator=Scripted(tries=[lambda trial: 1.0], resumable=True))
    assert (evaluator.evidence, evaluator.steps, evaluator.resumable) == ("curve", None, True)
    assert list(evaluator.evaluate(TrialContext({}))) == []


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"kinds": []}, "evaluator.kinds"),
        ({"kinds": ["errors"]}, "evaluator.kinds[0]"),
        ({"kinds": ["worker-lost"]}, "evaluator.kinds[0]"),
        ({"times": 0}, "evaluator.times"),
        ({"wait": -1}, "evaluator.wait"),
    ],
)
def test_invalid_options_are_refused_with_their_path(options: dict[str, Any], path: str) -> None:
    with pytest.raises(UsageError) as caught:
        Study(SPACE, evaluator={"use": "retry", "evaluator": max, **options})
    assert [mistake.path for mistake in caught.value.mistakes] == [path]


def test_an_error_without_text_is_retried(caplog: pytest.LogCaptureFixture) -> None:
    class WithoutTextError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    trial = run(Scripted(tries=[fail(WithoutTextError()), lambda trial: 0.5]))
    assert trial.state == "complete"
    assert "Trial 0 is retried after WithoutTextError" in caplog.messages


def test_it_waits_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("hpt_evaluator_wrap.retry.time.sleep", waited.append)
    run(Scripted(tries=[fail(OSError())]), times=3, wait=0.5)
    assert waited == [0.5, 1.0, 2.0]


def test_a_resumable_evaluator_receives_its_reports_from_before_the_failure() -> None:
    @attrs.define(kw_only=True)
    class Folds:
        evidence = "folds"
        resumable = True
        failed: bool = False

        def evaluate(self, trial: TrialContext) -> Generator[Report, None, float]:
            reported = {report.step: report.value for report in trial.reports}
            for step in range(trial.resume_step + 1, 5):
                if step == 3 and not self.failed:
                    self.failed = True
                    raise OSError("busy")
                reported[step] = float(step)
                yield Report(step, reported[step])
            return sum(reported.values()) / len(reported)

    trial = run(Folds())
    assert [report.step for report in trial.reports] == [1, 2, 3, 4]
    assert trial.value == 2.5
