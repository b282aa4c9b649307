"""Rules that stop paused trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
import pytest

from hpt_core import Float, History, Params, Pause, PluginError, State, Stop, Study, Trial
from hpt_core.history import events
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_core.testing import make_history


@attrs.define(kw_only=True)
class Heats:
    """Pauses all trials after one step. At the end it promotes the better half and retires the others."""

    whom: int | None = None

    def judge_trial(self, history: History, trial: Trial) -> Pause | None:
        return Pause("a heat") if len(trial.reports) == 1 else None

    def retire(self, history: History) -> Mapping[int, Stop] | None:
        if self.whom is not None:
            return {self.whom: Stop("wrong")}
        if not history.closing:
            return None
        losses = {trial.number: trial.reports[0].value for trial in history.trials}
        slow = sorted(losses, key=losses.__getitem__)[2:]
        return {n: Stop("too slow", {"loss": losses[n]}, losses[n] + 1.0) for n in slow if _paused(history, n)}

    def promote(self, history: History) -> int | None:
        paused = [trial.number for trial in history.trials if _paused(history, trial.number)]
        return paused[0] if paused and history.closing else None


def _paused(history: History, number: int) -> bool:
    return history.trials[number].state is State.PAUSED


def train(params: Params) -> Iterator[float]:
    yield params["x"]
    yield params["x"] / 2


def study_of(rule: Heats) -> Study:
    evaluator = {"use": "function", "call": train, "resumable": True, "steps": 2}
    return Study({"x": Float(0.0, 1.0)}, sampler="random", evaluator=evaluator, stop=[rule], seed=0)


def test_a_paused_trial_can_be_stopped_with_reason_value_and_evidence() -> None:
    study = study_of(Heats())
    study.run(trials=5)
    ranked = sorted(study.trials, key=lambda trial: float(trial.params["x"]))
    assert [trial.state for trial in ranked] == [State.COMPLETE] * 2 + [State.STOPPED] * 3
    for trial in ranked[2:]:
        assert (trial.reason, trial.partial, trial.ended is None) == ("too slow", True, False)
        assert trial.value == trial.params["x"] + 1.0
        assert len(trial.reports) == 1
    assert not study.history.open
    found = verify(study.store, study.name, default_plugins(), rules=[("Heats", Heats())])
    assert not found.differences
    records = list(study.store.read(study.name))
    assert sum(record.get("rule") == "Heats" and record.get("state") == "stopped" for record in records) == 3


@pytest.mark.parametrize("resumed", [False, True])
def test_a_pause_is_not_work(*, resumed: bool) -> None:
    """Of a trial that is retired out of a pause, the pause may be most of the time since its last start."""
    history = make_history({"x": Float(0.0, 1.0)}, resumable=True)

    def start(time: float, attempt: int) -> None:
        history.apply(events.started(time, 0, {"x": 0.5}, "w", attempt, 0))

    start(10.0, 1)
    history.apply(events.paused(13.0, 0, 1, 0, "rule", "later", {}))
    start(100.0, 2)
    history.apply(events.released(150.0, 0, 2, "worker-lost"))  # when it was lost is not known
    start(200.0, 3)
    history.apply(events.paused(204.5, 0, 3, 0, "rule", "later", {}))
    trial = history.trials[0]
    assert trial.duration is None
    if resumed:
        start(300.0, 4)
        history.apply(events.complete(301.25, 0, 4, [0.1], {}))
    else:
        history.apply(events.stopped_early(500.0, 0, 3, [0.1], 0, "rule", "too slow", {}))
    assert trial.duration == attrs.evolve(trial).duration == 3.0 + 4.5 + 1.25 * resumed
    assert (trial.started, trial.ended) == ((300.0, 301.25) if resumed else (200.0, 500.0))
    last = [("w", 300.0, 301.25)] * resumed
    assert list(trial.work) == [("w", 10.0, 13.0), ("w", 200.0, 204.5), *last]


def test_an_audit_finds_a_trial_that_no_rule_would_have_retired() -> None:
    study = study_of(Heats())
    study.run(trials=5)
    never = [("Heats", Heats(whom=99))]
    found = verify(study.store, study.name, default_plugins(), rules=never)
    assert sum("'Heats' does not retire it, the log says stopped" in d for d in found.differences) == 3


def test_only_paused_trials_can_be_retired() -> None:
    study = study_of(Heats(whom=7))
    with pytest.raises(PluginError, match=r"The stopping rule 'Heats' retires trial 7, which is not paused\."):
        study.run(trials=5)


def test_evaluators_get_the_earlier_reports_of_a_resumed_trial() -> None:
    told = []

    def train(params: Params, trial: object) -> Iterator[float]:
        told.append([report.step for report in trial.reports])  # type: ignore[attr-defined]
        yield from [params["x"], 0.0][len(told[-1]) :]

    study = study_of(Heats())
    study.evaluator = default_plugins().make(
        "evaluator", {"use": "function", "call": train, "resumable": True, "steps": 2}
    )
    study.run(trials=3)
    assert told == [[], [], [], [1], [1]]
