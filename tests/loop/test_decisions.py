"""Which trial comes next, and what each decision is based on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import (
    Failure,
    Float,
    History,
    Int,
    Params,
    Pause,
    PluginError,
    Record,
    Report,
    Space,
    State,
    Stop,
    Suggestion,
    Trial,
    UsageError,
    liveness,
)
from hpt_core.builtin.memory import MemoryStore
from hpt_core.history import events
from hpt_core.loop.changes import add, enqueue, invalidate, retry_failed, running_trial
from hpt_core.loop.decisions import Decisions
from hpt_core.loop.ledger import Ledger

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.random import Generator


class Learning:
    """A sampler whose points depend on every visible result and on the pending trials."""

    def suggest(self, history: History, rng: Generator) -> Params:
        complete = history.complete
        seen = sum((i + 1) * v for i, v in zip(complete, history.losses[complete, 0], strict=True))
        return {"x": math.modf(abs(seen) + rng.random() / (1 + len(history.pending)))[0]}


def decisions_of(*, evidence: str = "curve", objectives: Sequence[str] = ("value",), **changed: Any) -> Decisions:
    store = MemoryStore()
    definition = {
        "space": Space({"x": Float(0, 1)}).to_json(),
        "objectives": dict.fromkeys(objectives, "minimize"),
        "sampler": None,
        "evaluator": None,
        "evidence": {"kind": evidence, "steps": None, "resumable": True},
        "stop": [],
        "seed": 3,
        "duplicates": "avoid",
        "reproducible": changed.get("lag", 0),
    }
    store.append("s", [events.created(0.0, definition, {})])
    ledger = Ledger(store, "s")
    ledger.sync()
    settings: dict[str, Any] = {"duplicates": "avoid", "lag": 0, "retries": 1, "max_failures": 3, "rules": ()}
    return Decisions(ledger, Learning(), **(settings | changed))


def take(decisions: Decisions, worker: str = "w", budget: int | None = None) -> Trial:
    claimed = decisions.claim(worker, budget)
    assert isinstance(claimed, Trial)
    return claimed


def log_of(decisions: Decisions) -> list[Record]:
    return list(decisions.ledger.store.read("s"))


class Rule:
    """A rule with the answers that a test gives it. Records what it saw."""

    def __init__(self, *, study: Any = None, trial: Any = None, promote: Any = None, retire: Any = None) -> None:
        self.answers = {"judge_study": study, "judge_trial": trial, "promote": promote, "retire": retire}
        self.saw: list[tuple[str, int, int]] = []

    def _say(self, method: str, history: History) -> Any:
        self.saw.append((method, history.position, len(history.complete)))
        answer = self.answers[method]
        return answer(history) if callable(answer) else answer

    def judge_study(self, history: History) -> Any:
        return self._say("judge_study", history)

    def judge_trial(self, history: History, trial: Trial) -> Any:
        return self._say("judge_trial", history)

    def promote(self, history: History) -> Any:
        return self._say("promote", history)

    def retire(self, history: History) -> Any:
        return self._say("retire", history)


# --- several processes ----------------------------------------------------------------------------


class Contended(MemoryStore):
    """Another process holds the lock first, and adds trial 0 with ``x`` = 0.5."""

    def lock(self, study: str) -> AbstractContextManager[object]:
        if not any(record["event"] == "enqueued" for record in self.read(study)):
            now, taken = 0.0, {"x": 0.5}
            self.append(study, [events.enqueued(now, 0, taken), events.started(now, 0, taken, "other", 1, 1)])
        return super().lock(study)


def invalidate_first(ledger: Ledger) -> Trial:
    invalidate(ledger, 0, "a bug")
    return ledger.history.trials[0]


@pytest.mark.parametrize(
    ("act", "number"),
    [
        (take, 1),
        (lambda decisions: add(decisions.ledger, "w", Suggestion({"x": 0.5})), 1),
        (lambda decisions: enqueue(decisions.ledger, Suggestion({"x": 0.5})), 0),  # the same point as the other's
        (lambda decisions: invalidate_first(decisions.ledger), 0),
    ],
    ids=["claim", "add", "enqueue", "invalidate"],
)
def test_what_another_process_wrote_before_the_lock_was_acquired_counts(
    act: Callable[[Decisions], Trial], number: int
) -> None:
    decisions = decisions_of()
    store = Contended()
    store.append("s", log_of(decisions))
    decisions.ledger = Ledger(store, "s")
    decisions.ledger.sync()
    assert act(decisions).number == number
    assert decisions.ledger.history.trials[0].worker == "other"


# --- which trial is started -----------------------------------------------------------------------


def test_a_decision_records_the_position_it_was_based_on() -> None:
    decisions = decisions_of()
    for _ in range(4):
        decisions.complete(take(decisions), [1.0], {})
    for position, record in enumerate(log_of(decisions), start=1):
        if record["event"] == "started":
            assert record["seen"] == position - 1


def test_a_start_does_not_go_through_all_open_trials() -> None:
    class Open(dict[int, Trial]):
        def values(self) -> Any:
            raise AssertionError("with thousands of paused trials, this takes longer than everything else")

    decisions = decisions_of()
    take(decisions)
    decisions.ledger.history.open = Open(decisions.ledger.history.open)
    assert take(decisions).number == 1


def test_the_budget_counts_started_trials() -> None:
    decisions = decisions_of()
    first, _ = take(decisions), take(decisions)
    stop = decisions.claim("w", 2)
    assert stop == Stop("all 2 trials were started")
    decisions.fail(first, Failure("error", "no"))
    assert isinstance(decisions.claim("w", 2), Stop)
    decisions.ledger.write(events.invalidated(1.0, 0, "wrong"))
    assert take(decisions, budget=2).number == 2
    assert isinstance(decisions.claim("w", 2), Stop)


def test_a_stop_is_recorded_once() -> None:
    decisions = decisions_of()
    take(decisions)
    for _ in range(3):
        decisions.claim("w", 1)
    assert [r["event"] for r in log_of(decisions)].count("stopped") == 1


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (2, 3)])
def test_a_lost_trial_is_rerun_as_often_as_allowed(retries: int, attempts: int) -> None:
    decisions = decisions_of(retries=retries)
    first = take(decisions, "a")
    for attempt in range(1, attempts + 1):
        assert (first.attempt, first.state) == (attempt, State.RUNNING)
        assert decisions.lost("a", Failure("worker-lost", "gone"))
        if attempt < attempts:
            assert take(decisions, "a", budget=1) is first  # a rerun, which the budget already counts
    assert first.failure == Failure("worker-lost", "gone")
    assert decisions.ledger.history.failed.tolist() == []  # a lost trial says nothing about its point
    assert not decisions.lost("a", Failure("worker-lost", "gone"))


def test_interruptions_and_promotions_do_not_use_up_the_retries() -> None:
    rule = Rule(trial=Pause("later"), promote=lambda h: 0 if h.open and h.open[0].state is State.PAUSED else None)
    decisions = decisions_of(rules=[("r", rule)])
    trial = take(decisions, "a")
    assert decisions.report(trial, Report(1, 0.5)) == Pause("later")
    assert take(decisions, "a") is trial
    decisions.fail(trial, Failure("interrupted", "Ctrl-C"))
    assert take(decisions, "a") is trial
    assert trial.attempt == 3
    assert decisions.lost("a", Failure("worker-lost", "gone"))
    assert (trial.state, trial.failure) == (State.WAITING, None)
    assert take(decisions, "a") is trial
    assert decisions.lost("a", Failure("worker-lost", "gone"))
    assert trial.failure == Failure("worker-lost", "gone")


@pytest.mark.parametrize("resumable", [True, False])
def test_a_trial_that_resumes_and_advances_is_rerun_after_each_loss(resumable: bool) -> None:
    decisions = decisions_of(retries=1)
    decisions.ledger.history.definition["evidence"]["resumable"] = resumable
    trial = take(decisions, "a")
    while not trial.failure and trial.attempt < 4:
        decisions.report(trial, Report(trial.attempt if resumable else 1, 0.5))
        decisions.lost("a", Failure("worker-lost", "gone"))
        if not trial.failure:
            take(decisions, "a")
    assert (trial.state, trial.attempt) == ((State.RUNNING, 4) if resumable else (State.FAILED, 2))


def lose_before_a_decision(decisions: Decisions, trial: Trial, step: int) -> None:
    """Record a report of a worker that is lost before the rules have judged it."""
    report = Report(step, 0.5)
    decisions.ledger.write(events.reported(float(step), trial.number, trial.attempt, report))
    decisions.lost(trial.worker, Failure("worker-lost", "gone"))


@pytest.mark.parametrize("decision", [Pause("rung"), Stop("bad")])
def test_a_report_whose_worker_was_lost_before_the_decision_is_judged_when_the_trial_is_rerun(
    decision: Stop | Pause,
) -> None:
    rule = Rule(trial=lambda h: decision if len(h.trials) == 1 else None)
    decisions = decisions_of(rules=[("r", rule)])
    trial = take(decisions, "a")
    lose_before_a_decision(decisions, trial, 1)
    assert take(decisions, "b").number == 1
    assert trial.state is (State.PAUSED if isinstance(decision, Pause) else State.STOPPED)
    assert (trial.attempt, trial.reason) == (2, decision.reason)


def test_a_trial_that_continues_is_rerun_and_one_that_starts_over_is_not_judged() -> None:
    rule = Rule()
    decisions = decisions_of(rules=[("r", rule)])
    trial = take(decisions, "a")
    lose_before_a_decision(decisions, trial, 1)
    assert take(decisions, "b") is trial
    assert [method for method, *_ in rule.saw].count("judge_trial") == 1
    decisions.ledger.history.definition["evidence"]["resumable"] = False
    decisions.lost("b", Failure("interrupted", "Ctrl-C"))
    assert take(decisions, "c") is trial
    assert [method for method, *_ in rule.saw].count("judge_trial") == 1


def test_a_promoted_trial_is_not_paused_again_for_the_report_that_paused_it() -> None:
    rule = Rule(trial=Pause("rung"), promote=lambda h: 0 if h.open and h.open[0].state is State.PAUSED else None)
    decisions = decisions_of(rules=[("r", rule)])
    trial = take(decisions, "a")
    decisions.report(trial, Report(1, 0.5))
    assert take(decisions, "a") is trial
    decisions.lost("a", Failure("worker-lost", "gone"))
    assert take(decisions, "b") is trial
    assert trial.state is State.RUNNING


def test_a_rule_that_fails_on_the_report_of_a_lost_trial_leaves_the_trial_waiting() -> None:
    decisions = decisions_of(rules=[("r", Rule(trial=lambda _: 1 / 0))])
    trial = take(decisions, "a")
    lose_before_a_decision(decisions, trial, 1)
    for _ in range(3):
        with pytest.raises(PluginError, match="'r' failed in judge_trial: ZeroDivisionError"):
            take(decisions, "b")
        assert trial.state is State.WAITING


@pytest.mark.parametrize("kind", ["killed", "timeout", "out-of-memory", "error", "invalid-value"])
def test_a_failed_trial_is_not_rerun(kind: str) -> None:
    decisions = decisions_of(retries=5)
    first = take(decisions, "a")
    decisions.lost("a", Failure(kind, "m"))
    assert first.state is State.FAILED
    assert take(decisions).number == 1


def test_what_was_suggested_for_a_failed_trial_is_queued_again_once() -> None:
    decisions = decisions_of()
    given = Suggestion({"x": 0.5}, {"trial": 3}, "warm-start")
    enqueue(decisions.ledger, given)
    decisions.fail(take(decisions), Failure("error", "no"))
    assert [retry_failed(decisions.ledger) for _ in range(2)] == [1, 0]
    again = take(decisions)
    assert Suggestion(again.params, again.info, again.source) == given


def test_only_the_trial_of_the_lost_worker_is_released() -> None:
    decisions = decisions_of()
    first, second = take(decisions, "me/1"), take(decisions, "me/2")
    assert decisions.lost("me/1", Failure("killed", "m"))
    assert (first.state, second.state) == (State.FAILED, State.RUNNING)


def test_later_records_of_a_lost_worker_are_ignored() -> None:
    decisions = decisions_of()
    trial = take(decisions, "slow")
    decisions.lost("slow", Failure("worker-lost", "gone"))
    assert take(decisions, "quick") is trial
    decisions.ledger.write(events.reported(1.0, 0, 1, Report(1, 0.5)), events.complete(1.0, 0, 1, [99.0], {}))
    assert (trial.state, trial.reports, trial.worker) == (State.RUNNING, [], "quick")
    decisions.complete(trial, [1.0], {})
    assert trial.value == 1.0


def test_only_trials_of_dead_processes_are_recovered() -> None:
    decisions = decisions_of()
    now = decisions.ledger.now()
    decisions.ledger.write(
        events.started(now - 10_000, 0, {"x": 0.123}, "silent:1:1", 1, 0),
        events.started(now - 10_000, 1, {"x": 0.124}, "beating:1:1", 1, 0),
        events.heartbeat(now - 10, "beating:1:1"),
    )
    host, pid, start = liveness.this_process().rsplit(":", 2)
    alive = take(decisions, f"{host}:{pid}:{start}/1")
    reborn = take(decisions, f"{host}:{pid}:{int(start) - 1}")  # another process has the same process ID
    remote = take(decisions, "elsewhere:1:1")
    decisions.recover()
    trials = decisions.ledger.history.trials
    assert [t.state for t in (alive, remote)] == [State.RUNNING] * 2
    assert reborn.state is State.WAITING
    assert (trials[0].state, trials[1].state) == (State.WAITING, State.RUNNING)


def test_a_machine_whose_clock_is_behind_is_not_taken_for_dead() -> None:
    """Neither when it starts a trial nor when it beats, but once it is silent for the lease on the reader's clock."""
    decisions = decisions_of()
    ledger, behind = decisions.ledger, 10_000.0
    ledger.write(
        events.started(ledger.now() - behind, 0, {"x": 0.1}, "beats:1:1", 1, 0),
        events.joined(ledger.now() - 400.0, "ahead:1:1", {}),
        events.started(ledger.now() - behind - 400.0, 1, {"x": 0.2}, "silent:1:1", 1, 0),
        events.heartbeat(ledger.now(), "ahead:1:1"),
        events.started(ledger.now() - behind, 2, {"x": 0.3}, "starts:1:1", 1, 0),
        events.heartbeat(ledger.now() - behind, "beats:1:1"),
    )
    decisions.recover()
    assert [t.state for t in ledger.history.trials] == [State.RUNNING, State.WAITING, State.RUNNING]


def test_a_trial_of_a_dead_process_ends_when_the_process_was_last_seen_alive() -> None:
    """The next run may come a day later, and the time until then is no work on the trial."""
    decisions = decisions_of(retries=0)
    now = decisions.ledger.now()
    decisions.ledger.write(
        events.started(now - 10_000, 0, {"x": 0.1}, "beats:1:1", 1, 0),
        events.heartbeat(now - 9_000, "beats:1:1"),
        events.started(now - 5_000, 1, {"x": 0.2}, "silent:1:1/2", 1, 0),
    )
    elapsed = decisions.ledger.history.elapsed
    assert decisions.recover()
    beats, silent = decisions.ledger.history.trials
    assert [trial.failure and trial.failure.kind for trial in (beats, silent)] == ["worker-lost"] * 2
    assert (beats.ended, silent.ended) == (now - 9_000, now - 5_000)
    assert [trial.duration for trial in (beats, silent)] == pytest.approx([1_000.0, 0.0])
    assert decisions.ledger.history.elapsed == elapsed


def test_a_report_is_a_sign_of_life() -> None:
    """A program on another machine that owns its loop sends no heartbeats."""
    decisions = decisions_of(retries=0)
    now = decisions.ledger.now()
    decisions.ledger.write(
        events.started(now - 10_000, 0, {"x": 0.1}, "elsewhere:1:1", 1, 0),
        events.reported(now - 10, 0, 1, Report(1, 0.5)),
    )
    assert not decisions.recover()
    assert decisions.ledger.history.trials[0].state is State.RUNNING


# --- rules on the study ---------------------------------------------------------------------------


def test_the_first_rule_that_decides_to_stop_stops() -> None:
    quiet, loud = Rule(), Rule(study=lambda h: Stop("enough", {"n": h.next_number}) if h.next_number == 3 else None)
    decisions = decisions_of(rules=[("quiet", quiet), ("loud", loud)])
    for _ in range(3):
        decisions.complete(take(decisions), [1.0], {})
    assert decisions.claim("w", None) == Stop("enough", {"n": 3})
    stop = decisions.ledger.history.stop
    assert stop is not None
    assert (stop["rule"], stop["reason"], stop["evidence"]) == ("loud", "enough", {"n": 3})
    assert stop["seen"] == len(log_of(decisions)) - 1


@pytest.mark.parametrize("given", [True, "stop", 1, Pause("x")])
def test_a_rule_with_an_invalid_answer_is_named(given: object) -> None:
    decisions = decisions_of(rules=[("odd", Rule(study=given))])
    with pytest.raises(PluginError, match="stopping rule 'odd' must return Stop or None from judge_study"):
        decisions.claim("w", None)


def test_a_rule_that_fails_is_named() -> None:
    decisions = decisions_of(rules=[("odd", Rule(study=lambda h: 1 / 0))])
    with pytest.raises(PluginError, match="'odd' failed in judge_study: ZeroDivisionError"):
        decisions.claim("w", None)


def test_a_rule_may_have_a_single_method() -> None:
    class Quiet:
        """Decides nothing."""

    decisions = decisions_of(rules=[("quiet", Quiet())])
    assert decisions.report(take(decisions), Report(1, 1.0)) is None


# --- rules on a trial -----------------------------------------------------------------------------


def test_a_paused_trial_is_promoted_and_resumed() -> None:
    pause = Rule(trial=Pause("wait", {"rung": 1}))
    decisions = decisions_of(rules=[("asha", pause)])
    first = take(decisions)
    assert decisions.report(first, Report(1, 5.0)) == Pause("wait", {"rung": 1})
    assert (first.state, first.reason, first.rule) == (State.PAUSED, "wait", "asha")
    second = take(decisions)
    pause.answers["promote"] = 0
    assert take(decisions, "other") is first
    assert (first.state, first.attempt, first.worker, first.reason) == (State.RUNNING, 2, "other", "")
    assert [r.step for r in first.reports] == [1]
    pause.answers["promote"] = second.number
    with pytest.raises(PluginError, match="'asha' promotes trial 1, which is not paused"):
        decisions.claim("w", None)


def test_an_early_stop_gets_its_value_from_the_reports() -> None:
    for evidence, expected in (("curve", 4.0), ("folds", 3.0)):
        decisions = decisions_of(evidence=evidence, rules=[("r", Rule(trial=stop_at_two))])
        trial = take(decisions)
        decisions.report(trial, Report(1, 2.0))
        decisions.report(trial, Report(2, 4.0))
        assert (trial.state, trial.values, trial.partial) == (State.STOPPED, (expected,), True)
        assert decisions.ledger.history.stopped.tolist() == [0]
        assert decisions.ledger.history.best is None


def stop_at_two(history: History) -> Stop | None:
    return Stop("two") if len(history.trials[0].reports) == 2 else None


def test_a_rule_may_give_the_value() -> None:
    decisions = decisions_of(rules=[("r", Rule(trial=Stop("bad", value=77.0)))])
    trial = take(decisions)
    decisions.report(trial, Report(1, 2.0))
    assert trial.values == (77.0,)


def test_a_value_given_by_a_rule_needs_no_reports() -> None:
    decisions = decisions_of()
    first, second = take(decisions), take(decisions)
    decisions.end(first, Stop("bad", value=np.float32(77.5)))  # type: ignore[arg-type] # as rules give it
    assert first.values == (77.5,)
    assert type(first.value) is float
    decisions.end(second, Stop("bad"))
    assert second.values is None


@pytest.mark.parametrize("value", [math.nan, -math.inf, "good", [1.0]])
def test_an_invalid_value_from_a_rule_is_refused(value: Any) -> None:
    decisions = decisions_of(rules=[("r", Rule(trial=Stop("bad", value=value)))])
    trial = take(decisions)
    with pytest.raises(
        PluginError, match=r"The stopping rule 'r' gives trial 0 an invalid value: The value of a trial must be"
    ):
        decisions.report(trial, Report(1, 2.0))
    assert trial.state is State.RUNNING


@pytest.mark.parametrize("number", ["0", None, 0.0, [0]])
def test_a_trial_can_be_given_by_its_number(number: Any) -> None:
    decisions = decisions_of()
    take(decisions)
    ledger = decisions.ledger
    for wrong in (lambda: running_trial(ledger, number), lambda: invalidate(ledger, number, "wrong")):
        with pytest.raises(UsageError, match=r"A trial must be a Trial or its number\. Got"):
            wrong()
    assert running_trial(ledger, np.int64(0)) is ledger.history.trials[0]  # type: ignore[arg-type]
    invalidate(ledger, np.int64(0), "wrong")  # type: ignore[arg-type] # of a data frame's index
    assert type(log_of(decisions)[-1]["trial"]) is int


@pytest.mark.parametrize("rerun", [False, True])
def test_no_rule_is_asked_about_a_trial_that_was_declared_lost(rerun: bool) -> None:
    rule = Rule(trial=lambda _: Stop("bad"))
    decisions = decisions_of(rules=[("r", rule)])
    trial = take(decisions)
    decisions.fail(trial, Failure("worker-lost", "its machine was not heard of"))
    if rerun:
        assert take(decisions) is trial
    rule.saw.clear()
    assert decisions.report(trial, Report(1, 2.0), attempt=1) is None  # its process is still running
    assert rule.saw == []
    assert (trial.state, trial.reports) == (State.RUNNING if rerun else State.WAITING, [])


# --- paused trials that are retired -------------------------------------------------------------------


class Noting(Learning):
    """Records how many trials are stopped whenever it is asked."""

    def suggest(self, history: History, rng: Generator) -> Params:
        self.stopped = len(history.stopped)
        return super().suggest(history, rng)


def paused_of_four(history: History) -> dict[int, Stop] | None:
    if len(history.trials) < 4:
        return None
    return {int(n): Stop("no") for n in history.pending if history.trials[n].reports}


@pytest.mark.parametrize(("lag", "stopped"), [(0, 4), (2, 3)])
def test_the_next_rule_sees_the_retired_trials(lag: int, stopped: int) -> None:
    first, second = Rule(trial=Pause("wait"), retire=paused_of_four), Rule(retire=paused_of_four)
    decisions = decisions_of(rules=[("first", first), ("second", second)], lag=lag)
    decisions.sampler = sampler = Noting()
    for _ in range(4):
        decisions.report(take(decisions), Report(1, 1.0))
    take(decisions)
    assert sampler.stopped == stopped
    records = [record for record in log_of(decisions) if record.get("state") == "stopped"]
    assert [record["rule"] for record in records] == ["first"] * stopped


def test_at_the_end_of_a_reproducible_study_a_trial_is_promoted_after_another_was_retired() -> None:
    """The rules are told again that no new trial will start when the history for them is made anew."""
    first = Rule(trial=Pause("wait"), retire=lambda h: {0: Stop("no")} if h.closing and 0 in h.open else {})
    second = Rule(promote=lambda h: None if len(h.trials) < 4 else 1 if h.closing else 2)
    decisions = decisions_of(rules=[("first", first), ("second", second)], lag=2)
    for _ in range(3):
        decisions.report(take(decisions), Report(1, 1.0))
    last = take(decisions)
    assert last.number == 3
    assert decisions.claim("w", 4) is None  # as long as it runs, it may see the others
    decisions.complete(last, [1.0], {})
    promoted = take(decisions, budget=4)
    assert (promoted.number, promoted.attempt) == (1, 2)
    assert decisions.ledger.history.trials[0].state is State.STOPPED


def test_retiring_a_trial_without_a_stop_is_refused() -> None:
    rule = Rule(trial=Pause("wait"), retire=lambda history: {0: "bad"} if history.trials else None)
    decisions = decisions_of(rules=[("r", rule)])
    decisions.report(take(decisions), Report(1, 1.0))
    with pytest.raises(PluginError, match=r"The stopping rule 'r' must retire trial 0 with a Stop\. Got 'bad'"):
        take(decisions)


# --- reproducible studies -------------------------------------------------------------------------


def simulate(lag: int, order: Sequence[int], enqueue: Sequence[float] = ()) -> tuple[list[Any], list[Record]]:
    """Run 12 trials of ``lag`` workers that end in random order."""
    decisions = decisions_of(lag=lag)
    for number, x in enumerate(enqueue):
        decisions.ledger.write(events.enqueued(0.0, number, {"x": x}))
    running: list[Trial] = []
    luck = itertools.cycle(order)
    while True:
        claimed = decisions.claim(f"w{len(running)}", 12) if len(running) < lag else None
        if isinstance(claimed, Trial):
            running.append(claimed)
            continue
        if not running:
            assert isinstance(claimed, Stop)
            return [t.params for t in decisions.ledger.history.trials], log_of(decisions)
        trial = running.pop(next(luck) % len(running))
        decisions.complete(trial, [math.sin(50 * trial.params["x"])], {})


@given(st.integers(1, 4), st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(0, 3))
def test_timing_does_not_change_a_reproducible_study(lag: int, order: list[int], enqueued: int) -> None:
    given = [0.1, 0.2, 0.3][:enqueued]
    assert simulate(lag, order, given)[0] == simulate(lag, [0], given)[0]


class Promoting:
    """Pauses some trials, promotes the best share of them, and stops trials by how many complete ones it sees."""

    def __init__(self, of: int, paused: int, share: int, stopped: int) -> None:
        self.of, self.paused, self.share, self.stopped = of, paused, share, stopped

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        if trial.reports[-1].step == 1:
            return Pause("wait") if trial.number % self.of < self.paused else None
        return Stop("enough") if len(history.complete) % 3 == self.stopped else None

    def promote(self, history: History) -> int | None:
        arrived = sorted((t.reports[0].value, t.number) for t in history.trials if t.reports)
        paused = {t.number for t in history.open.values() if t.state is State.PAUSED}
        return next((number for _, number in arrived[: len(arrived) // self.share] if number in paused), None)


def simulate_promotions(lag: int, order: Sequence[int], rule: Promoting) -> list[tuple[Any, ...]]:
    """Run 10 trials of two reports and a result. Each turn, one of the running trials, by ``order``, goes on."""
    decisions = decisions_of(lag=lag, rules=[("promoting", rule)])
    running: list[Trial] = []
    luck = itertools.cycle(order)
    while True:
        claimed = decisions.claim(f"w{len(running)}", 10) if len(running) < lag else None
        if isinstance(claimed, Trial):
            running.append(claimed)
            continue
        if not running:
            assert isinstance(claimed, Stop)
            return [(t.params, t.state, t.attempt, t.values) for t in decisions.ledger.history.trials]
        trial = running.pop(next(luck) % len(running))
        value, step = abs(math.sin(50 * trial.params["x"])), len(trial.reports) + 1
        if step == 3:
            decisions.complete(trial, [value], {})
        elif decisions.report(trial, Report(step, value)) is None:
            running.append(trial)


@settings(max_examples=300)
@given(
    st.integers(2, 4),
    st.lists(st.integers(0, 3), min_size=1, max_size=20),
    st.builds(Promoting, st.integers(2, 4), st.integers(1, 3), st.integers(2, 3), st.integers(1, 2)),
)
def test_timing_does_not_change_a_reproducible_study_with_promotions(
    lag: int, order: list[int], rule: Promoting
) -> None:
    assert simulate_promotions(lag, order, rule) == simulate_promotions(lag, [0], rule)


@pytest.mark.parametrize("promoted_ends_first", [False, True])
def test_a_running_trial_does_not_see_what_a_promoted_one_does_meanwhile(promoted_ends_first: bool) -> None:
    class Judge(Rule):
        def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
            if trial.number == 0 and trial.attempt == 1:
                return Pause("wait")
            return Stop("worse") if trial.number == 2 and len(history.complete) else None

    rule = Judge(promote=lambda h: 0 if h.next_number == 3 and 0 in h.open else None)
    decisions = decisions_of(lag=2, rules=[("r", rule)])
    decisions.report(take(decisions), Report(1, 1.0))  # trial 0 is paused
    first, second = take(decisions), take(decisions)
    decisions.complete(first, [1.0], {})
    promoted = decisions.claim("w", None)
    if promoted_ends_first and isinstance(promoted, Trial):
        decisions.complete(promoted, [0.5], {})
    assert decisions.report(second, Report(1, 1.0)) is None
    decisions.complete(second, [1.0], {})
    assert take(decisions).number == 0


def test_the_tests_above_could_fail() -> None:
    """Without ``reproducible``, the trials do depend on timing."""
    found = set()
    for order in ([0], [1], [2]):
        decisions, running, luck = decisions_of(), list[Trial](), itertools.cycle(order)
        for _ in range(8):
            running += [take(decisions) for _ in range(3 - len(running))]
            trial = running.pop(next(luck))
            decisions.complete(trial, [math.sin(50 * trial.params["x"])], {})
        found.add(tuple(t.params["x"] for t in decisions.ledger.history.trials))
    assert len(found) == 3


def test_a_reproducible_decision_waits_for_the_results_it_is_based_on() -> None:
    """With two workers trial 3 needs the results of 0 and 1. Rules are not asked before, either."""
    rule = Rule()
    decisions = decisions_of(lag=2, rules=[("r", rule)])
    first, second = take(decisions), take(decisions)
    decisions.complete(second, [1.0], {})
    assert decisions.claim("w", None) is None
    assert [saw for saw in rule.saw if saw[0] == "judge_study"] == [("judge_study", 1, 0), ("judge_study", 2, 0)]
    decisions.complete(first, [2.0], {})
    assert take(decisions).number == 2
    assert rule.saw[-1][2] == 1  # of the two results it sees the first only
    assert decisions.claim("w", None) is not None


@pytest.mark.parametrize(("lag", "seen"), [(0, 1), (2, 0)])
def test_only_a_reproducible_study_hides_later_results_from_the_rules(lag: int, seen: int) -> None:
    rule = Rule()
    decisions = decisions_of(lag=lag, rules=[("r", rule)])
    first, second = take(decisions), take(decisions)
    decisions.complete(second, [1.0], {})
    decisions.report(first, Report(1, 1.0))
    assert rule.saw[-1][::2] == ("judge_trial", seen)


@pytest.mark.parametrize("budget", [1, 2, 5])
def test_at_the_end_a_reproducible_study_hides_no_paused_trial_from_the_rules(budget: int) -> None:
    """There is no later decision from which the results of the last trials must be hidden."""

    def first_paused(history: History) -> int | None:
        paused = [t.number for t in history.open.values() if t.state is State.PAUSED]
        return paused[0] if paused and history.closing else None

    def pause_at_first(history: History) -> Pause | None:
        return None if history.closing or any(len(t.reports) > 1 for t in history.open.values()) else Pause("later")

    rule = Rule(trial=pause_at_first, promote=first_paused)
    decisions = decisions_of(lag=3, rules=[("asha", rule)])
    ends = 0
    while isinstance(claimed := decisions.claim("w", budget), Trial):
        if decisions.report(claimed, Report(len(claimed.reports) + 1, 1.0)) is None:
            decisions.complete(claimed, [1.0], {})
            ends += 1
    reason = "the only trial was started" if budget == 1 else f"all {budget} trials were started"
    assert claimed == Stop(reason)
    assert ends == budget
    assert not decisions.ledger.history.closing  # the next run may have a larger budget


def test_the_same_failures_end_a_reproducible_run_whatever_the_timing() -> None:
    for order in ((0, 1), (1, 0)):
        decisions = decisions_of(lag=2, max_failures=2)
        pair = [take(decisions), take(decisions)]
        for i in order:
            decisions.fail(pair[i], Failure("error", "no"))
        third = take(decisions)  # it may see trial 0 only
        decisions.fail(third, Failure("error", "no"))
        claimed = decisions.claim("w", None)
        assert isinstance(claimed, Stop)
        assert claimed.evidence == {"trials": [0, 1]}


def as_mapping(trial: Trial) -> Mapping[str, Any]:
    return {"number": trial.number, "params": trial.params}


def test_an_exhausted_space_waits_for_possible_promotions() -> None:
    rule = Rule(trial=lambda h: Pause("wait") if len(h.trials) == 1 else None)
    decisions = decisions_of(rules=[("asha", rule)])
    decisions.ledger.history._space = None
    decisions.ledger.write(
        events.amended(
            0.0, dict(decisions.ledger.history.definition) | {"space": Space({"x": Int(0, 1)}).to_json()}, []
        )
    )

    class Count:
        def suggest(self, history: History, rng: Generator) -> Params:
            return {"x": history.next_number}

    decisions.sampler = Count()
    first = take(decisions)
    decisions.report(first, Report(1, 1.0))
    second = take(decisions)
    assert as_mapping(second) == {"number": 1, "params": {"x": 1}}
    assert decisions.claim("w", None) is None  # a result may still lead to the promotion of the first trial
    decisions.complete(second, [1.0], {})
    assert decisions.claim("w", None) == Stop("space exhausted")
