"""Every decision against a direct implementation of the papers' algorithms, under any interleaving."""

from __future__ import annotations

import copy
import pickle
import random
import threading
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Failure, Float, History, Pause, PluginError, Report, Space, State, Stop, Trial, UsageError
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_stopping_halving.asha import Asha
from hpt_stopping_halving.bracket import BracketId
from hpt_stopping_halving.growth import noise
from hpt_stopping_halving.halving import Halving
from hpt_stopping_halving.hyperband import Hyperband
from hpt_stopping_halving.ladder import draw_bracket
from hpt_stopping_halving.pasha import Pasha

SPACE = Space({"x": Float(0, 1)})
Rule = Asha | Halving | Hyperband | Pasha


def start(history: History, number: int, attempt: int = 1) -> None:
    history.apply(events.started(float(history.position), number, {"x": number / 1000}, "w", attempt, 0))


def report(history: History, number: int, step: int, value: float, **metrics: float) -> None:
    attempt = history.trials[number].attempt
    history.apply(events.reported(float(history.position), number, attempt, Report(step, value, metrics)))


def follow(history: History, number: int, decision: Stop | Pause | None) -> None:
    """Record what a rule decided."""
    now, attempt = float(history.position), history.trials[number].attempt
    if isinstance(decision, Pause):
        history.apply(events.paused(now, number, attempt, 0, "rule", decision.reason, {}))
    elif isinstance(decision, Stop):
        values = [history.trials[number].reports[-1].value]
        history.apply(events.stopped_early(now, number, attempt, values, 0, "rule", decision.reason, {}))


def promote_all(rule: Rule, history: History) -> list[int]:
    """Promote until no trial can be promoted."""
    promoted: list[int] = []
    while (number := rule.promote(history)) is not None:
        assert history.trials[number].state is State.PAUSED
        start(history, number, history.trials[number].attempt + 1)
        promoted.append(number)
    return promoted


def rung_of(rule: Rule, losses: Sequence[float], step: int = 1, **options: Any) -> History:
    """A study in which trials with these losses reached a step, one after the other."""
    history = make_history(SPACE, steps=9, resumable=True, **options)
    for number, loss in enumerate(losses):
        start(history, number)
        report(history, number, step, loss)
        follow(history, number, Pause("at the rung"))
    return history


# --- the stopping type ----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [None, "value"])
def test_the_stopping_type_by_hand(metric: str | None) -> None:
    """One rung, eta = 3: the first two continue, then the best third of those at the rung, and ties with it."""
    history = make_history(SPACE, steps=9)
    found = []
    for number, loss in enumerate([5.0, 6.0, 5.5, 4.0, 4.5, 4.2, 4.2, 9.0]):
        start(history, number)
        report(history, number, 1, loss)
        found.append(Asha(metric=metric).judge_trial(history, history.trials[number]))
    assert [stop is None for stop in found] == [True, True, False, True, False, True, True, False]
    last = found[-1]
    assert isinstance(last, Stop)
    assert last.reason == "value = 9 is number 8 of 8 at rung 1, 2 may continue"
    assert last.evidence == {"step": 1, "rung": 1, "value": 9.0, "rank": 8, "results": 8}
    assert last.value is None


def test_the_stopping_type_stops_trials_that_could_be_resumed() -> None:
    history = rung_of(Asha(), [1.0, 2.0, 3.0])
    start(history, 3)
    report(history, 3, 1, 4.0)
    assert isinstance(Asha().judge_trial(history, history.trials[3]), Stop)


def test_a_report_is_recorded_in_every_rung_that_it_passes() -> None:
    """Rungs 1, 3, 9, 27: trials that report at 5 only are compared at 3 with one that reported at 3."""
    history = make_history(SPACE, steps=27)
    for number, (step, loss) in enumerate([(3, 2.0), (5, 3.0), (5, 4.0)]):
        start(history, number)
        report(history, number, step, loss)
    stop = Asha().judge_trial(history, history.trials[2])
    assert isinstance(stop, Stop)
    assert stop.evidence["rung"] == 1
    start(history, 3)
    report(history, 3, 1, 1.0)
    assert Asha().judge_trial(history, history.trials[3]) is None
    report(history, 3, 2, 99.0)
    assert Asha().judge_trial(history, history.trials[3]) is None  # between rungs
    report(history, 3, 3, 5.0)
    stop = Asha().judge_trial(history, history.trials[3])
    assert isinstance(stop, Stop)
    assert stop.evidence == {"step": 3, "rung": 3, "value": 5.0, "rank": 4, "results": 4}


def test_a_trial_at_the_top_is_never_cut() -> None:
    history = make_history(SPACE, steps=9)
    for number in range(9):
        start(history, number)
        report(history, number, 9, float(number))
        assert Asha().judge_trial(history, history.trials[number]) is None


@pytest.mark.parametrize("resumable", [False, True])
def test_a_trial_at_its_last_step_is_not_judged_if_the_ladder_is_longer(resumable: bool) -> None:
    for step, judged in ((9, True), (27, False)):
        history = make_history(SPACE, steps=27, resumable=resumable)
        for number, loss in enumerate([1.0, 2.0, 3.0]):
            start(history, number)
            report(history, number, step, loss)
        decision = Asha(mode="promote", min_resource=1, max_resource=81).judge_trial(history, history.trials[2])
        assert (decision is not None) is judged


@pytest.mark.parametrize("steps", [27, None])
def test_both_ends_of_the_ladder_may_be_given(steps: int | None) -> None:
    """Rungs 1, 3 and 9 for trials of 27 steps, or of an unknown number."""
    for step, stops in ((1, True), (3, True), (9, False), (27, False)):
        history = make_history(SPACE, steps=steps)
        for number, loss in enumerate([1.0, 2.0, 3.0]):
            start(history, number)
            report(history, number, step, loss)
        decision = Asha(min_resource=1, max_resource=9).judge_trial(history, history.trials[2])
        assert isinstance(decision, Stop) is stops


def test_failed_and_invalid_trials_are_not_compared() -> None:
    history = make_history(SPACE, steps=9)
    for number in range(3):
        start(history, number)
        report(history, number, 1, float(number))
    assert isinstance(Asha().judge_trial(history, history.trials[2]), Stop)
    history.apply(events.failed(9.0, 0, 1, Failure("error", "broken")))
    assert Asha().judge_trial(history, history.trials[2]) is None  # two are too few to tell
    start(history, 3)
    report(history, 3, 1, 9.0)
    assert isinstance(Asha().judge_trial(history, history.trials[3]), Stop)
    history.apply(events.invalidated(9.0, 1, "a bug"))
    assert Asha().judge_trial(history, history.trials[3]) is None


def test_trials_outside_an_amended_space_are_neither_compared_nor_judged() -> None:
    history = make_history(SPACE, steps=9)
    for number in range(4):
        start(history, number)
        report(history, number, 1, float(number))
    rule = Asha()
    assert isinstance(rule.judge_trial(history, history.trials[3]), Stop)
    smaller = {**history.definition, "space": Space({"x": Float(0.0015, 1)}).to_json()}
    history.apply(events.amended(9.0, smaller, []))
    assert rule.judge_trial(history, history.trials[3]) is None  # trials 2 and 3 are left
    assert rule.judge_trial(history, history.trials[1]) is None


def test_folds_are_compared_by_their_mean_so_far() -> None:
    """Means 3, 4 and 2.83; by their last fold the order would be another."""
    history = make_history(SPACE, steps=9, evidence="folds")
    for number, folds in enumerate([[9.0, 0.0, 0.0], [1.0, 8.0, 3.0], [0.0, 8.0, 0.5]]):
        start(history, number)
        for step, value in enumerate(folds, start=1):
            report(history, number, step, value)
    rule = Asha(min_resource=3)
    assert rule.judge_trial(history, history.trials[2]) is None
    stop = rule.judge_trial(history, history.trials[1])
    assert isinstance(stop, Stop)
    assert stop.evidence["value"] == 4.0


def test_huge_losses_of_folds_are_compared() -> None:
    history = make_history(SPACE, steps=9, evidence="folds")
    for number, folds in enumerate([[1.0] * 3, [2.0] * 3, [1.7e308] * 3]):
        start(history, number)
        for step, value in enumerate(folds, start=1):
            report(history, number, step, value)
    stop = Asha(min_resource=3).judge_trial(history, history.trials[2])
    assert isinstance(stop, Stop)
    assert stop.evidence["value"] == pytest.approx(1.7e308)


def test_a_further_objective_or_a_metric_may_be_compared() -> None:
    history = make_history(SPACE, steps=9, directions=("minimize", "maximize"))
    for number in range(3):
        start(history, number)
        report(history, number, 1, 0.0, value1=float(number), size=float(number))
    last = history.trials[2]
    assert Asha(metric="value1").judge_trial(history, last) is None
    stop = Asha(metric="size").judge_trial(history, last)
    assert isinstance(stop, Stop)
    assert stop.evidence["value"] == 2.0
    assert Asha(metric="size", maximize=True).judge_trial(history, last) is None
    assert Asha().judge_trial(history, last) is None  # a tie
    assert Asha(metric="unknown").judge_trial(history, last) is None


def test_a_metric_that_comes_late_is_compared_where_it_comes() -> None:
    history = make_history(SPACE, steps=9)
    for number in range(3):
        start(history, number)
        report(history, number, 1, 0.0)
        report(history, number, 2, 0.0, size=float(number))
    assert isinstance(Asha(metric="size").judge_trial(history, history.trials[2]), Stop)
    report(history, 2, 3, 0.0)
    assert Asha(metric="size").judge_trial(history, history.trials[2]) is None


def test_without_a_known_last_step_there_is_no_last_rung() -> None:
    history = make_history(SPACE)
    for number in range(3):
        start(history, number)
        report(history, number, 3**9, float(number))
    assert isinstance(Asha().judge_trial(history, history.trials[2]), Stop)
    for rule in (Hyperband(), Halving()):
        with pytest.raises(PluginError, match="Set `max_resource` of the rule"):
            rule.judge_trial(history, history.trials[2])
        rule.max_resource = 3**9
        assert rule.judge_trial(history, history.trials[2]) is None


def test_a_first_rung_at_the_end_is_refused() -> None:
    history = rung_of(Asha(), [1.0])
    with pytest.raises(PluginError, match="must be below the steps of a whole trial, 9"):
        Asha(min_resource=9).judge_trial(history, history.trials[0])


@pytest.mark.parametrize("top", [None, 30])
def test_a_first_rung_that_no_trial_reaches_is_refused_before_the_first_trial(top: int | None) -> None:
    rule = Asha(min_resource=20, max_resource=top)
    assert rule.check_evidence("curve", steps=21, resumable=False) is None
    assert rule.check_evidence("curve", steps=None, resumable=False) is None
    with pytest.raises(UsageError, match=r"min_resource: Must be below the steps of a whole trial, 20\. Got 20"):
        rule.check_evidence("curve", steps=20, resumable=False)


# --- promotion ------------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [2, 3, 4])
@pytest.mark.parametrize("m", range(1, 14))
def test_a_static_rung_promotes_exactly_its_best_share(m: int, eta: int) -> None:
    """floor(m / eta) in all, those in the next rung counted; a promoted trial keeps its place."""
    losses = [float(number * 7 % m) for number in range(m)]
    history = rung_of(Asha(), losses)
    promoted = promote_all(Asha(mode="promote", eta=eta, min_resource=1), history)
    assert promoted == sorted(range(m), key=lambda number: losses[number])[: m // eta]


def test_promotion_breaks_ties_by_trial_number() -> None:
    history = rung_of(Asha(), [1.0] * 7)
    assert promote_all(Asha(mode="promote"), history) == [0, 1]
    assert promote_all(Halving(trials=7), rung_of(Halving(), [1.0] * 7)) == [0, 1]


def test_the_highest_rung_is_promoted_first() -> None:
    history = rung_of(Asha(), [3.0, 2.0, 1.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    rule = Asha(mode="promote")
    for number in promote_all(rule, history):
        report(history, number, 3, float(number))
        follow(history, number, rule.judge_trial(history, history.trials[number]))
    assert [history.trials[number].state for number in (0, 1, 2)] == [State.RUNNING, State.PAUSED, State.PAUSED]
    for number in range(9, 12):  # rung 1 has three more in its best third
        start(history, number)
        report(history, number, 1, 0.5)
        follow(history, number, Pause("at the rung"))
    follow(history, 0, Pause("as if it were not the best of its rung yet"))
    assert promote_all(rule, history) == [0, 9, 10, 11]


def test_nothing_is_promoted_that_is_pending_or_without_a_value() -> None:
    history = rung_of(Asha(), [5.0, 6.0])
    start(history, 2)  # runs, nothing reported
    start(history, 3)
    report(history, 3, 1, 1.0)  # best of all, still running
    start(history, 4)
    report(history, 4, 1, 0.5)
    history.apply(events.failed(9.0, 4, 1, Failure("error", "then it failed")))
    start(history, 5)
    follow(history, 5, Pause("by another rule, before any report"))
    rule = Asha(mode="promote")
    assert rule.promote(history) is None  # m = 3: 5, 6, 1 - the one in the best third runs
    follow(history, 3, Pause("at the rung"))
    assert promote_all(rule, history) == [3]


@pytest.mark.parametrize("rule", [Asha(mode="promote"), Halving(), Pasha(), Hyperband(mode="promote")])
def test_without_a_way_to_resume_trials_are_stopped_instead(rule: Rule) -> None:
    history = make_history(SPACE, steps=9, seed=3)
    decisions = []
    for number in range(9):
        start(history, number)
        report(history, number, 1, float(number))
        decisions.append(rule.judge_trial(history, history.trials[number]))
        follow(history, number, decisions[-1])
    assert not [decision for decision in decisions if isinstance(decision, Pause)]
    assert [decision for decision in decisions if isinstance(decision, Stop)]
    assert rule.promote(history) is None


def test_a_trial_that_would_be_promoted_at_once_is_not_paused() -> None:
    history = rung_of(Asha(), [5.0, 6.0, 7.0])
    rule = Asha(mode="promote")
    start(history, 3)
    report(history, 3, 1, 1.0)
    assert rule.judge_trial(history, history.trials[3]) is None
    start(history, 4)
    report(history, 4, 1, 2.0)
    pause = rule.judge_trial(history, history.trials[4])
    assert isinstance(pause, Pause)
    assert pause.reason == "value = 2 is number 2 of 5 at rung 1 so far"


# --- rounds ---------------------------------------------------------------------------------------


def test_a_round_waits_for_all_of_it() -> None:
    rule = Halving(trials=6, min_resource=1)
    history = rung_of(rule, [5.0, 1.0, 4.0, 2.0, 3.0])
    assert rule.promote(history) is None  # the sixth has not begun
    start(history, 5)
    assert rule.promote(history) is None
    start(history, 6)  # of the next round, which does not count
    report(history, 6, 1, 0.0)
    follow(history, 6, Pause("at the rung"))
    report(history, 5, 1, 6.0)
    follow(history, 5, rule.judge_trial(history, history.trials[5]))
    assert promote_all(rule, history) == [1, 3]


def test_of_several_rounds_that_on_the_highest_rung_is_promoted_first() -> None:
    rule = Halving(trials=2, min_resource=1)
    history = rung_of(rule, [1.0, 2.0, 1.0, 2.0])
    assert rule.promote(history) == 0
    start(history, 0, 2)
    report(history, 0, 3, 1.0)
    follow(history, 0, Pause("by another rule"))
    assert promote_all(rule, history) == [0, 2]


def test_a_round_has_two_trials_or_more() -> None:
    rule = Halving(trials=2, min_resource=1)
    assert promote_all(rule, rung_of(rule, [2.0, 1.0])) == [1]
    with pytest.raises(UsageError):
        Halving(trials=1)


def test_the_next_best_takes_the_place_of_a_failed_trial() -> None:
    rule = Halving(trials=6, min_resource=1)
    history = rung_of(rule, [5.0, 1.0, 4.0, 2.0, 3.0, 6.0])
    assert promote_all(rule, history) == [1, 3]
    history.apply(events.failed(99.0, 1, 2, Failure("error", "diverged")))
    report(history, 3, 3, 2.0)
    follow(history, 3, rule.judge_trial(history, history.trials[3]))
    assert history.trials[3].state is State.PAUSED
    assert promote_all(rule, history) == [4]
    report(history, 4, 3, 9.0)
    follow(history, 4, rule.judge_trial(history, history.trials[4]))
    assert promote_all(rule, history) == [3]


def test_an_incomplete_round_continues_if_no_new_trial_will_start() -> None:
    rule = Halving(trials=27, min_resource=1)
    history = rung_of(rule, [5.0, 1.0, 4.0, 2.0, 3.0, 6.0])
    history.apply(events.enqueued(9.0, 6, {"x": 0.5}))  # beyond the budget
    assert rule.promote(history) is None
    history.closing = True
    assert promote_all(rule, history) == [1, 3]


def test_a_round_is_not_over_while_another_rule_keeps_some_of_it_below_the_first_rung() -> None:
    rule = Halving(trials=4, min_resource=3)
    history = rung_of(rule, [4.0, 1.0], step=3)
    for number in (2, 3):
        start(history, number)
        report(history, number, 1, 2.0)
        follow(history, number, Pause("by another rule"))
    assert rule.promote(history) is None
    assert rule.retire(history) == {}
    for number in (2, 3):
        start(history, number, 2)
        report(history, number, 3, 2.0)
        follow(history, number, rule.judge_trial(history, history.trials[number]))
    assert rule.retire(history) == {}
    assert promote_all(rule, history) == [1]
    report(history, 1, 9, 1.0)
    history.apply(events.complete(99.0, 1, 2, [1.0], {}))
    assert set(rule.retire(history)) == {0, 2, 3}


def test_a_round_does_not_wait_for_what_lies_outside_an_amended_space() -> None:
    rule = Halving(trials=6, min_resource=1)
    history = rung_of(rule, [5.0, 1.0, 4.0, 2.0, 3.0, 6.0])
    smaller = {**history.definition, "space": Space({"x": Float(0.0015, 1)}).to_json()}
    history.apply(events.amended(9.0, smaller, []))
    assert rule.retire(history) == {}
    assert promote_all(rule, history) == [3]  # one of the four that are left


def test_at_the_end_the_best_on_the_highest_rung_is_run_to_the_end() -> None:
    rule = Asha(mode="promote")
    history = rung_of(rule, [5.0, 1.0])
    start(history, 2)
    assert rule.promote(history) is None
    history.closing = True
    assert rule.promote(history) is None
    history.apply(events.failed(99.0, 2, 1, Failure("error", "broken")))
    history.closing = False
    assert rule.promote(history) is None
    history.closing = True
    assert promote_all(rule, history) == [1]


def test_at_the_end_the_best_of_the_others_is_resumed_if_the_leader_was_stopped() -> None:
    rule = Asha(mode="promote")
    history = rung_of(rule, [5.0, 1.0])
    start(history, 1, 2)
    report(history, 1, 3, 1.0)
    follow(history, 1, Stop("another rule stopped it"))
    history.closing = True
    assert promote_all(rule, history) == [0]


@pytest.mark.parametrize("rule", [Asha(mode="promote"), Halving(), Hyperband(mode="promote"), Pasha()], ids=repr)
def test_on_a_single_rung_there_is_nothing_to_promote_to(rule: Rule) -> None:
    """The evaluator's trials have one step, and another rule has paused them."""
    history = make_history(SPACE, [({"x": 0.1}, Pause("is behind"))] * 3, steps=1, resumable=True)
    for number in range(3):
        start(history, number, 2)
        report(history, number, 1, 0.1 * number)
        follow(history, number, Pause("is behind"))
    assert rule.promote(history) is None


# --- growth ---------------------------------------------------------------------------------------


def grown(rule: Pasha, low: Sequence[float], high: Mapping[int, float]) -> History:
    """Rung 1 has these losses, rung 3 those."""
    history = rung_of(rule, low)
    for number, loss in high.items():
        start(history, number, 2)
        report(history, number, 3, loss)
        follow(history, number, Pause("at the rung"))
    return history


def test_a_ladder_grows_while_its_two_highest_rungs_disagree() -> None:
    rule = Pasha(min_resource=1, tolerance=0.0)
    low = [0.1, 0.2, 0.3, *(1.0 + i for i in range(6))]
    settled = grown(rule, low, {0: 0.01, 1: 0.02, 2: 0.03})
    assert rule.promote(settled) is None
    assert Asha(mode="promote").promote(settled) == 0
    swapped = grown(rule, low, {0: 0.02, 1: 0.01, 2: 0.03})
    assert rule.promote(swapped) == 1
    assert Pasha(min_resource=1, tolerance=0.1 + 1e-9).promote(swapped) is None
    assert Pasha(min_resource=1, tolerance=0.09).promote(swapped) == 1


def test_the_noise_is_estimated_from_the_curves_up_to_the_rung() -> None:
    """Two curves cross twice and are 0.5 apart at the rung; then one of them diverges."""
    history = make_history(SPACE, steps=9, resumable=True)
    for number, losses in enumerate([[1.0, 2.0, 1.0, 99.0], [2.0, 1.0, 1.5, 1.0]]):
        start(history, number)
        for step, loss in enumerate(losses, 1):
            report(history, number, step, loss)
    rule = Pasha(min_resource=1)
    assert rule._tolerance(history, rule._brackets(history)[BracketId()], 1) == 0.5


def test_the_noise_is_estimated_if_curves_diverged() -> None:
    history = make_history(SPACE, steps=9, resumable=True)
    for number, losses in enumerate([[1.0, 1.7e308, 1.0], [2.0, -1.7e308, 1.5]]):
        start(history, number)
        for step, loss in enumerate(losses, 1):
            report(history, number, step, loss)
    rule = Pasha(min_resource=1)
    assert rule._tolerance(history, rule._brackets(history)[BracketId()], 1) == 0.5


# --- brackets -------------------------------------------------------------------------------------

LADDER = (1, 3, 9)


def bracket_of(seed: int, number: int) -> int:
    """The index of the first rung of a trial's bracket. With three rungs, 9, 5 and 3 trials start in the brackets."""
    return 2 - draw_bracket(seed, number, (3, 5, 9))


@pytest.mark.parametrize("seed", range(3))
def test_hyperband_stops_by_the_results_of_the_same_bracket(seed: int) -> None:
    rule, losses = Hyperband(min_resource=1), random.Random(seed)
    history = make_history(SPACE, steps=9, resumable=True, seed=seed)
    stopped = set()
    for number in range(60):
        first = bracket_of(seed, number)
        start(history, number)
        for step in LADDER:
            loss = losses.random()
            report(history, number, step, loss)
            decision = rule.judge_trial(history, history.trials[number])
            rivals = [found for found, other in standing(history, step) if bracket_of(seed, other) == first]
            many, compared = len(rivals), step in LADDER[first:-1]
            assert isinstance(decision, Stop) is (compared and many >= 3 and loss > rivals[many // 3 - 1])
            if decision is not None:
                stopped.add((first, step))
                follow(history, number, decision)
                break
    assert stopped == {(0, 1), (0, 3), (1, 3)}


@pytest.mark.parametrize("seed", range(3))
def test_hyperband_promotes_by_the_results_of_the_same_bracket(seed: int) -> None:
    rule, losses = Hyperband(mode="promote", min_resource=1), random.Random(seed)
    history = make_history(SPACE, steps=9, resumable=True, seed=seed)

    def train(number: int) -> None:
        """Train a trial until it pauses or is complete."""
        attempt = history.trials[number].attempt + 1 if number < len(history.trials) else 1
        start(history, number, attempt)
        done = history.trials[number].reports[-1].step if history.trials[number].reports else 0
        for step in LADDER[bisect(LADDER, done) :]:
            report(history, number, step, losses.random())
            decision = rule.judge_trial(history, history.trials[number])
            if decision is not None:
                follow(history, number, decision)
                return
        history.apply(events.complete(float(history.position), number, attempt, [0.0], {}))

    def due() -> int | None:
        """Highest rung first; on the same rung, the bracket that begins lowest."""
        for rung, first in ((1, 0), (1, 1), (0, 0)):
            ranking = [n for _, n in standing(history, LADDER[rung]) if bracket_of(seed, n) == first]
            for number in ranking[: len(ranking) // 3]:
                trial = history.trials[number]
                if trial.state is State.PAUSED and recorded(trial, LADDER[rung + 1]) is None:
                    return number
        return None

    promoted = set()
    for new in range(60):
        train(new)
        while (number := rule.promote(history)) is not None:
            assert number == due()
            promoted.add((bracket_of(seed, number), history.trials[number].reports[-1].step))
            train(number)
        assert due() is None
    assert promoted == {(0, 1), (0, 3), (1, 3)}


def test_at_the_end_what_another_rule_keeps_below_the_first_rung_of_its_bracket_is_left_to_that_rule() -> None:
    rule, history = Hyperband(mode="promote", min_resource=1), make_history(SPACE, steps=9, resumable=True)
    firsts = [bracket_of(0, number) for number in range(12)]
    assert {*firsts} == {0, 1, 2}
    for number, first in enumerate(firsts):
        start(history, number)
        report(history, number, 1, 10.0 * (first == 0) + number)
        follow(history, number, Pause("at the rung" if first == 0 else "by another rule"))
    history.closing = True
    mine = [number for number, first in enumerate(firsts) if first == 0]
    promoted = promote_all(rule, history)
    assert promoted == mine[: len(mine) // 3]
    for number in promoted:
        follow(history, number, Stop("another rule stopped it"))
    assert promote_all(rule, history) == [mine[len(promoted)]]


# --- any interleaving -----------------------------------------------------------------------------


def recorded(trial: Trial, rung: int) -> float | None:
    return next((report.value for report in trial.reports if report.step >= rung), None)


def standing(history: History, rung: int) -> list[tuple[float, int]]:
    able = [t for t in history.trials if t.state is not State.FAILED and t.invalid is None]
    found = [(recorded(trial, rung), trial.number) for trial in able]
    return sorted((loss, number) for loss, number in found if loss is not None)


def is_cut(history: History, trial: Trial, ladder: Sequence[int], eta: int) -> bool:
    """Algorithm of the stopping type, read off the reports."""
    now = trial.reports[-1].step
    before = trial.reports[-2].step if len(trial.reports) > 1 else 0
    if now >= ladder[-1] or trial.invalid is not None:
        return False
    for rung in ladder:
        if before < rung <= now:
            losses = {number: loss for loss, number in standing(history, rung)}
            better = sum(loss < losses[trial.number] for loss in losses.values())
            if len(losses) >= eta and better >= len(losses) // eta:
                return True
    return False


def promotable(history: History, ladder: Sequence[int], eta: int) -> int | None:
    """Algorithm 2 of Li et al. 2020, read off the reports."""
    for k in range(len(ladder) - 2, -1, -1):
        ranking = standing(history, ladder[k])
        for _, number in ranking[: len(ranking) // eta]:
            trial = history.trials[number]
            if trial.state is State.PAUSED and recorded(trial, ladder[k + 1]) is None:
                return number
    return None


one_action = st.tuples(
    st.sampled_from(["start", "start", "report", "report", "report", "report", "fail", "invalidate", "promote"]),
    st.integers(0, 30),
    st.integers(1, 4),
    st.integers(-3, 3).map(float),
)
actions = st.lists(one_action, min_size=30, max_size=150)


def act(history: History, action: tuple[str, int, int, float]) -> int | None:
    """Do one thing to a study; returns the number of a trial that reported."""
    kind, which, size, value = action
    running = sorted(n for n, trial in history.open.items() if trial.state is State.RUNNING)
    number = running[which % len(running)] if running else 0
    now = float(history.position)
    if kind == "start":
        start(history, history.next_number)
    elif kind == "report" and running:
        last = history.trials[number].reports[-1].step if history.trials[number].reports else 0
        report(history, number, last + size, value)
        return number
    elif kind == "fail" and running and which % 5 == 0:
        history.apply(events.failed(now, number, history.trials[number].attempt, Failure("error", "no")))
    elif kind == "invalidate" and which < history.next_number and which % 7 == 0:
        history.apply(events.invalidated(now, which, "a bug"))
    return None


@given(actions, st.sampled_from([2, 3]))
def test_stopping_is_valid_for_the_prefix_seen(todo: list[tuple[str, int, int, float]], eta: int) -> None:
    """A used rule, a copy of it and a new one all decide as the plain algorithm does."""
    history = make_history(SPACE, steps=20)
    old = Asha(eta=eta, min_resource=1)
    ladder = [eta**k for k in range(9) if eta**k < 20] + [20]
    for i, action in enumerate(todo):
        number = act(history, action)
        if i % 29 == 7:
            old = pickle.loads(pickle.dumps(copy.deepcopy(old)))
        if number is not None:
            trial = history.trials[number]
            decision = old.judge_trial(history, trial)
            assert decision == Asha(eta=eta, min_resource=1).judge_trial(history, trial)
            assert (decision is not None) == is_cut(history, trial, ladder, eta)
            follow(history, number, decision)


@given(actions, st.sampled_from([2, 3]))
def test_promotion_is_valid_for_the_prefix_seen(todo: list[tuple[str, int, int, float]], eta: int) -> None:
    history = make_history(SPACE, steps=20, resumable=True)
    old = Asha(eta=eta, min_resource=1, mode="promote")
    ladder = [eta**k for k in range(9) if eta**k < 20] + [20]
    for action in todo:
        number = act(history, action)
        if number is not None:
            trial = history.trials[number]
            decision = old.judge_trial(history, trial)
            follow(history, number, Pause("as if it did"))
            step, before = trial.reports[-1].step, trial.reports[-2].step if len(trial.reports) > 1 else 0
            at_a_rung = any(before < rung <= step for rung in ladder) and step < ladder[-1] and trial.invalid is None
            goes_on = not at_a_rung or promotable(history, ladder, eta) == number
            assert (decision is None) == goes_on
            if goes_on:
                start(history, number, trial.attempt + 1)
        elif action[0] == "promote":
            promoted = old.promote(history)
            assert promoted == promotable(history, ladder, eta)
            if promoted is not None:
                start(history, promoted, history.trials[promoted].attempt + 1)


def a_rule(kind: str) -> Rule:
    if kind == "asha":
        return Asha(min_resource=1, mode="promote")
    if kind == "halving":
        return Halving(min_resource=1, trials=4)
    if kind == "pasha":
        return Pasha(min_resource=1)
    return Hyperband(min_resource=1, mode="rounds" if kind == "rounds" else "promote")


@given(actions, st.integers(1, 3), st.sampled_from(["asha", "halving", "pasha", "hyperband", "rounds"]))
def test_the_cache_never_changes_a_decision(todo: list[tuple[str, int, int, float]], lag: int, kind: str) -> None:
    """Also in the views of reproducible studies, and one rule for several histories in turn."""
    history = make_history(SPACE, steps=20, resumable=True)
    old = a_rule(kind)
    for i, action in enumerate(todo):
        number = act(history, action)
        history.closing = i % 13 == 5
        for view in (history.as_seen_by(history.next_number, lag), history):
            if number is not None:
                trial = history.trials[number]
                seen = view if view is history else history.as_seen_by(number, lag)
                decision = old.judge_trial(seen, trial)
                assert decision == a_rule(kind).judge_trial(seen, trial)
            promoted = old.promote(view)
            assert promoted == a_rule(kind).promote(view)
            assert promoted is None or view.trials[promoted].state is State.PAUSED
        if number is not None:
            follow(history, number, decision)
        if action[0] == "promote" and promoted is not None:
            start(history, promoted, history.trials[promoted].attempt + 1)


further = st.tuples(
    st.sampled_from(["amend", "complete", "lose", "pause", "rerun", "take back"]),
    st.integers(0, 30),
    st.just(1),
    st.just(0.0),
)


def act_further(history: History, action: tuple[str, int, int, float]) -> int | None:
    """As `act`, with what other rules, other processes and the user may do as well."""
    kind, which, *_ = action
    now, state = float(history.position), State.WAITING if kind == "rerun" else State.RUNNING
    numbers = sorted(n for n, trial in history.open.items() if trial.state is state)
    if kind == "amend" and which % 3 == 0:
        space = Space({"x": Float(which / 3000, 1)}).to_json()
        directions = {"value": "minimize" if which % 2 else "maximize"}
        history.apply(events.amended(now, {**history.definition, "space": space, "objectives": directions}, []))
    elif kind in ("start", "report", "fail", "invalidate", "promote"):
        return act(history, action)
    elif kind == "take back" and which < history.next_number:
        history.apply(events.invalidated(now, which, "a bug"))
    elif numbers:
        trial = history.trials[numbers[which % len(numbers)]]
        if kind == "complete" and trial.reports:
            history.apply(events.complete(now, trial.number, trial.attempt, [trial.reports[-1].value], {}))
        elif kind == "lose":
            history.apply(events.released(now, trial.number, trial.attempt, "worker-lost"))
        elif kind == "pause":
            history.apply(events.paused(now, trial.number, trial.attempt, 0, "another", "as it likes", {}))
        elif kind == "rerun":
            start(history, trial.number, trial.attempt + 1)
    return None


def due(history: History, rounds: Sequence[tuple[int, int, Sequence[int]]], eta: int) -> int | None:
    """Successive halving in rounds, each (first trial, first one after it, rungs), read off the reports."""
    found = []
    for begin, end, rungs in rounds:
        ours = [trial for trial in history.trials[begin:end] if trial.invalid is None]
        field = ours if end <= history.next_number else []
        for i, rung in enumerate(rungs[:-1]):
            if any(recorded(trial, rung) is None and not trial.finished for trial in field):
                break
            here = {number for _, number in standing(history, rung)}
            ranked = sorted((recorded(trial, rung), trial.number) for trial in field if trial.number in here)
            field = [history.trials[number] for _, number in ranked[: max(1, len(ours) // eta ** (i + 1))]]
            ready = [t for t in field if t.state is State.PAUSED and recorded(t, rungs[i + 1]) is None]
            if ready:
                found.append((rung, -begin, ready[0].number))
                break
    return max(found)[2] if found else None


@given(
    st.lists(one_action | one_action | further.filter(lambda action: action[0] != "amend"), min_size=30, max_size=200),
    st.booleans(),
)
def test_rounds_are_valid_for_the_prefix_seen(todo: list[tuple[str, int, int, float]], several: bool) -> None:
    """Rounds of 4; or brackets of 9, 5 and 3 trials in turn (Li et al. 2018, algorithm 1 with R = 9 and eta = 3)."""
    rule: Rule = (
        Hyperband(mode="rounds", min_resource=1, max_resource=9)
        if several
        else Halving(trials=4, eta=2, min_resource=5)
    )
    ladder = [1, 3, 9] if several else [5, 10, 20]
    eta, sizes = (3, [9, 5, 3] * 12) if several else (2, [4] * 50)
    ends = np.cumsum(sizes).tolist()
    rungs = [ladder[i % 3 :] if several else ladder for i in range(len(sizes))]
    rounds = list(zip([0, *ends], ends, rungs, strict=False))
    history = make_history(SPACE, steps=20, resumable=True)
    for action in todo:
        number = act_further(history, action)
        promoted = rule.promote(history)
        assert promoted == due(history, rounds, eta)
        if number is not None:
            mine, trial = rounds[bisect(ends, number)], history.trials[number]
            decision = rule.judge_trial(history, trial)
            follow(history, number, Pause("as if it did"))
            step, before = trial.reports[-1].step, trial.reports[-2].step if len(trial.reports) > 1 else 0
            last = step >= ladder[-1] or trial.invalid is not None
            goes_on = last or not any(before < rung <= step for rung in mine[2]) or due(history, [mine], eta) == number
            assert (decision is None) == goes_on
            if goes_on and not last:
                start(history, number, trial.attempt + 1)
        elif action[0] == "promote" and promoted is not None:
            start(history, promoted, history.trials[promoted].attempt + 1)


def results_of(rule: Rule, history: History) -> dict[BracketId, tuple[Any, ...]]:
    """The results at the rungs and the paused trials of each bracket, as the rule has cached them."""
    found = rule._brackets(history).items()
    return {key: (bracket.rungs, bracket.paused, bracket.losses) for key, bracket in found if any(bracket.rungs)}


@given(
    st.lists(further | one_action | one_action, min_size=30, max_size=150),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from(["asha", "halving", "pasha", "hyperband", "rounds"]),
)
def test_a_rule_that_looks_now_and_then_decides_as_a_new_one(
    todo: list[tuple[str, int, int, float]], lag: int, resumable: bool, kind: str
) -> None:
    """Between two looks trials are lost and rerun, paused by other rules, ended, and left out by an amendment."""
    history = make_history(SPACE, steps=20, resumable=resumable)
    earlier: list[History] = []
    old = a_rule(kind)
    for i, action in enumerate(todo):
        number = act_further(history, action)
        if number is not None and history.trials[number].reports[-1].step >= 20:
            follow(history, number, Pause("at its last step"))
        if action[0] in ("take back", "invalidate"):
            earlier.clear()  # a view shares its trials with the history, and does not count those taken back later
        if i % 3:
            continue
        earlier.append(history.as_seen_by(max(0, history.next_number - i % 5), lag))
        for view in (earlier[i % len(earlier)], earlier[-1], history):
            view.closing = i % 7 == 5
            assert results_of(old, view) == results_of(a_rule(kind), view)
            for trial in [trial for trial in view.open.values() if trial.reports]:
                assert old.judge_trial(view, trial) == a_rule(kind).judge_trial(view, trial)
            assert old.retire(view) == a_rule(kind).retire(view)
            promoted = old.promote(view)
            assert promoted == a_rule(kind).promote(view)
        if promoted is not None:
            start(history, promoted, history.trials[promoted].attempt + 1)


class Unlisted(dict[int, Trial]):
    """Open trials that can be looked up, but not listed."""

    def refuse(self, *_: object) -> Any:
        raise AssertionError("the open trials were listed")

    __iter__ = items = keys = values = refuse


@pytest.mark.parametrize("kind", ["asha", "pasha", "hyperband"])
def test_a_decision_does_not_go_through_all_paused_trials(kind: str) -> None:
    """There may be thousands of them."""
    history, rule = make_history(SPACE, steps=20, resumable=True), a_rule(kind)
    history.open, decided = Unlisted(), Counter[str]()
    for number in range(40):
        start(history, number)
        for step in range(1, 21):
            report(history, number, step, float(number * 7 % 40))
            decision = rule.judge_trial(history, history.trials[number])
            assert decision == a_rule(kind).judge_trial(history, history.trials[number])
            decided["pauses"] += decision is not None
            if decision is not None:
                follow(history, number, decision)
                break
        promoted = rule.promote(history)
        assert promoted == a_rule(kind).promote(history)
        decided["promotions"] += promoted is not None
    assert min(decided["pauses"], decided["promotions"]) > 5


def test_the_tolerance_of_pasha_is_the_noise_of_the_best_curves_now() -> None:
    """While further trials reach the rung, some are taken back, and one rule serves two studies in turn."""
    curves = np.random.default_rng(0).random((2, 70, 9))
    curves[1, :, 8] = curves[0, :, 8]  # the same trials are the best of both
    rule, histories, found = Pasha(), [make_history(SPACE, steps=27, resumable=True) for _ in curves], set()
    for number in range(70):
        studies = list(zip(histories, curves, strict=True))
        for history, losses in studies if number % 2 else reversed(studies):
            start(history, number)
            for step, loss in enumerate(losses[number], start=1):
                report(history, number, step, loss)
            if number % 20 == 17:
                history.apply(events.invalidated(float(history.position), number - 5, "a bug"))
            valid = [trial.number for trial in history.trials if trial.invalid is None]
            best = sorted(valid, key=curves[0, :, 8].__getitem__)[:50]
            tolerance = rule._tolerance(history, rule._brackets(history)[BracketId()], 2)
            assert tolerance == noise(losses[best])
            found.add(tolerance)
    assert len(found) > 100


class Counted(list[Trial]):
    """Trials that count how often one of them is looked up."""

    lookups = 0

    def __getitem__(self, key: Any) -> Any:
        self.lookups += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("resumable", [False, True])
@pytest.mark.parametrize("rule", [Asha(), Asha(mode="promote"), Halving(trials=60), Hyperband(), Pasha(tolerance=0.1)])
def test_a_decision_does_not_read_all_trials_again(rule: Rule, resumable: bool) -> None:
    history = make_history(SPACE, steps=9, resumable=resumable)
    trials = history.trials = Counted()

    def complete(number: int | None) -> None:
        if number is not None:
            history.apply(events.complete(float(history.position), number, trials[number].attempt, [0.0], {}))

    looked = []
    for number in range(200):
        start(history, number)
        report(history, number, 1, float(number * 37 % 100))
        before = trials.lookups
        decision = rule.judge_trial(history, history.trials[number])
        retired, promoted = rule.retire(history), rule.promote(history)
        looked.append(trials.lookups - before)
        follow(history, number, decision)
        for loser, stop in retired.items():
            start(history, loser, 2)
            follow(history, loser, stop)
        if promoted is not None:
            start(history, promoted, trials[promoted].attempt + 1)
        complete(number if decision is None else promoted)
    assert max(looked) <= 60  # a round of 60 trials is read once, when it is over


class Interrupting(list[Trial]):
    """Trials of which each look-up lets another thread act."""

    def __init__(self, trials: Sequence[Trial], act: Callable[[], object]) -> None:
        super().__init__(trials)
        self.act = act

    def __getitem__(self, key: Any) -> Any:
        thread = threading.Thread(target=self.act)
        thread.start()
        thread.join()
        return super().__getitem__(key)


def test_studies_in_two_threads_may_share_a_rule() -> None:
    rule = Asha()
    mine, other = (make_history(SPACE, steps=9) for _ in range(2))
    for history, count in ((mine, 9), (other, 20)):
        for number in range(count):
            start(history, number)
            report(history, number, 1, float(number))
    last = mine.trials[-1]
    expected = Asha().judge_trial(mine, last)
    mine.trials = Interrupting(mine.trials, lambda: rule.judge_trial(other, other.trials[-1]))
    assert expected is not None
    assert rule.judge_trial(mine, last) == expected


def test_a_used_rule_is_pickled_without_its_cache() -> None:
    rule = Asha()
    history = rung_of(rule, [1.0] * 20)
    rule.judge_trial(history, history.trials[3])
    assert len(pickle.dumps(rule)) < 500
    assert copy.deepcopy(rule) == rule == Asha()
