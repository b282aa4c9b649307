"""Trials that a rule declares complete: their result, what keeps them only stopped, the audit, and the clean-up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest

from hpt_core import Float, History, Pause, Report, State, Stop, Study, Trial, TrialContext
from hpt_core.builtin.memory import MemoryStore
from hpt_core.plugins.plugins import Plugins
from hpt_core.study.verify import verify


class Uniform:
    def suggest(self, history: History, rng: Any) -> dict[str, Any]:
        return history.space.sample(rng)


@attrs.define
class Converging:
    """Reports 0.5, 0.25, 0.125, ... times x, with metrics, and records what it is told."""

    evidence: str = "curve"
    metrics: Mapping[str, float] = attrs.field(factory=dict)
    resumable: bool = False
    told: list[str] = attrs.field(factory=list)

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        try:
            for step in range(trial.resume_step + 1, 9):
                yield Report(step, trial.params["x"] * 0.5**step, self.metrics)
        finally:
            self.told.append(f"closed {trial.number}")

    def discard(self, trial: TrialContext) -> None:
        self.told.append(f"discard {trial.number}")

    def finish(self, trial: TrialContext) -> None:
        self.told.append(f"finish {trial.number}")


@attrs.define
class At:
    """Ends each trial at a step; at the trials of ``pauses``, it only pauses them."""

    step: int
    complete: bool = True
    value: float | None = None
    pauses: tuple[int, ...] = ()

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        if trial.reports[-1].step < self.step:
            return None
        if trial.number in self.pauses:
            return Pause("later")
        return Stop("converged", {"step": self.step}, self.value, complete=self.complete)

    def promote(self, history: History) -> int | None:
        return None

    def retire(self, history: History) -> dict[int, Stop]:
        paused = [trial.number for trial in history.open.values() if trial.state is State.PAUSED]
        return {number: Stop("converged", complete=self.complete) for number in paused}


def study_of(evaluator: Converging, rule: At, **given: Any) -> Study:
    given.setdefault("objective", "minimize")
    return Study({"x": Float(1, 2)}, evaluator=evaluator, sampler=Uniform(), stop=rule, **given)


def test_the_result_is_that_of_the_last_report_and_may_be_the_best() -> None:
    evaluator = Converging(metrics={"ms": 7.0})
    study = study_of(evaluator, At(3))
    study.run(trials=4)
    for trial in study.trials:
        assert (trial.state, trial.rule, trial.reason, trial.partial) == (State.COMPLETE, "At", "converged", False)
        assert trial.value == trial.params["x"] * 0.125
        assert trial.metrics == {"ms": 7.0}
        assert len(trial.reports) == 3
    assert study.best is min(study.trials, key=lambda trial: trial.params["x"])
    assert list(study.history.complete) == [0, 1, 2, 3]


def test_a_rule_may_give_the_value() -> None:
    study = study_of(Converging(), At(3, value=0.75))
    study.run(trials=1)
    assert study.best is not None
    assert study.best.value == 0.75


@pytest.mark.parametrize("value", [None, 0.75])
@pytest.mark.parametrize(
    ("evaluator", "given", "state"),
    [
        (Converging("folds"), {}, State.STOPPED),
        (Converging(), {"objective": {"loss": "minimize", "ms": "minimize"}}, State.STOPPED),
        (Converging(metrics={"ms": 7.0}), {"objective": {"loss": "minimize", "ms": "minimize"}}, State.COMPLETE),
        (Converging(), {"constraints": {"ms": "<= 9"}}, State.STOPPED),
        (Converging(metrics={"ms": 7.0}), {"constraints": {"ms": "<= 9"}}, State.COMPLETE),
        (Converging(), {"objective": {"loss": "minimize"}, "constraints": {"loss": "<= 9"}}, State.COMPLETE),
    ],
    ids=["folds", "objective-missing", "objectives", "constraint-missing", "constraint", "constrained-objective"],
)
def test_only_a_whole_result_makes_a_trial_complete(
    evaluator: Converging, given: Any, state: State, value: float | None
) -> None:
    rule = At(2, value=value)
    study = study_of(evaluator, rule, **given)
    study.run(trials=1)
    assert study.trials[0].state is state
    assert len(study.history.feasible) == (state is State.COMPLETE)
    assert verify(study.store, study.name, Plugins(), sampler=Uniform(), rules=[("At", rule)]).differences == []


def test_an_objective_is_no_metric_of_a_completed_trial() -> None:
    study = study_of(
        Converging(metrics={"ms": 7.0, "mb": 1.0}), At(2), objective={"loss": "minimize", "ms": "minimize"}
    )
    study.run(trials=1)
    assert study.trials[0].values == (study.trials[0].params["x"] * 0.25, 7.0)
    assert study.trials[0].metrics == {"mb": 1.0}


def test_the_audit_repeats_the_decision() -> None:
    study = study_of(Converging(), At(3))
    study.run(trials=3)

    def differences(rule: At) -> list[str]:
        return verify(study.store, study.name, Plugins(), sampler=Uniform(), rules=[("At", rule)]).differences

    assert differences(At(3)) == []
    assert "'At' leaves it stopped, the log says complete" in differences(At(3, complete=False))[0]
    assert "'At' leaves it running, the log says complete" in differences(At(4))[0]
    assert len(differences(At(4))) == 3


def test_a_completed_trial_is_finished_not_discarded() -> None:
    evaluator, store = Converging(), MemoryStore()
    study_of(evaluator, At(3), store=store).run(trials=1)
    assert evaluator.told[:2] == ["closed 0", "finish 0"]
    evaluator.told.clear()
    study_of(evaluator, At(3), store=store).run(trials=2)  # the first may have been killed before it told the evaluator
    assert evaluator.told[:2] == ["closed 1", "finish 1"]
    assert set(evaluator.told[2:]) == {"finish 0", "finish 1"}


def test_a_failing_finish_changes_no_result(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Converging):
        def finish(self, trial: TrialContext) -> None:
            raise OSError("the disk is gone")

    study = study_of(Failing(), At(3))
    study.run(trials=2)
    assert [trial.state for trial in study.trials] == [State.COMPLETE] * 2
    assert "failed to finish trial 0" in caplog.text


def test_a_paused_trial_may_be_retired_as_complete() -> None:
    rule = At(3, pauses=(0,))
    study = study_of(Converging(resumable=True), rule)
    study.run(trials=2)
    first = study.trials[0]
    assert (first.state, first.value) == (State.COMPLETE, first.params["x"] * 0.125)
    assert verify(study.store, study.name, Plugins(), sampler=Uniform(), rules=[("At", rule)]).differences == []
