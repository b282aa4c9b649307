"""The rules `median` and `percentile`: worked examples, a numpy oracle on random studies, and invariances."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import Failure, Float, History, Report, Space, Stop, UsageError
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_stopping_basic.ranked import Median, Percentile
from hpt_stopping_basic.reference import interpolated

SPACE = Space({"x": Float(0, 1)})
Curves = Sequence[Sequence[float]]


def study(curves: Curves, running: Sequence[float], **options: Any) -> History:
    """Complete trials with these reports (steps 1, 2, ...), and a running one with number len(curves)."""
    trials = [({"x": i / 1000}, curve[-1]) for i, curve in enumerate(curves)]
    reports: Mapping[int, Any] = dict(enumerate([*curves, running]))
    return make_history(SPACE, trials, running=[{"x": 0.9}], reports=reports, **options)


def judge(rule: Median | Percentile, history: History, number: int = -1) -> Stop | None:
    return rule.judge_trial(history, history.trials[number])


# --- worked by hand -------------------------------------------------------------------------------

TABLE = [[9, 5, 1], [8, 6, 4], [7, 7, 7], [6, 8, 10], [5, 3, 1]]
# running averages up to step 2: 7, 7, 7, 7, 4 -> median 7; up to step 3: 5, 6, 7, 8, 3 -> median 6


@pytest.mark.parametrize(
    ("running", "stops"),
    [
        ([7], False),  # step 1: averages 9 8 7 6 5, median 7; a tie
        ([7.01], True),
        ([9, 7], False),  # the best so far is 7, a tie with the median 7
        ([9, 7.5], True),
        ([6.5, 99], False),  # the best so far counts for a curve
        ([7, 7, 6], False),
        ([7, 7, 6.1], True),
        ([7, 7, 7, 7], False),  # no trial has reached step 4: no evidence
    ],
)
def test_a_curve_by_hand(running: list[float], stops: bool) -> None:
    assert (judge(Median(), study(TABLE, running)) is not None) == stops


@pytest.mark.parametrize(
    ("running", "stops"),
    [
        ([7.01], False),  # one fold is too little by default
        ([9, 5], False),  # mean 7 = median of 7 7 7 7 4
        ([9, 5.1], True),
        ([6.5, 99], True),  # the mean counts for folds
        ([1, 1, 16], False),  # mean 6 = median of 5 6 7 8 3
        ([1, 1, 16.2], True),
    ],
)
def test_folds_by_hand(running: list[float], stops: bool) -> None:
    assert (judge(Median(), study(TABLE, running, evidence="folds")) is not None) == stops


@pytest.mark.parametrize(("percentile", "bound"), [(25, 5), (50, 6), (75, 7), (10, 3.8), (99, 7.96)])
def test_a_percentile_by_hand(percentile: float, bound: float) -> None:
    rule = Percentile(percentile=percentile)
    assert judge(rule, study(TABLE, [9, 9, bound])) is None
    stop = judge(rule, study(TABLE, [9, 9, bound + 0.01]))
    assert stop is not None
    assert stop.evidence["limit"] == pytest.approx(bound)


def test_the_evidence_is_in_the_users_sign() -> None:
    curves = [[-v for v in curve] for curve in TABLE]
    stop = judge(Median(), study(curves, [-7, -7, -6.5], directions=["maximize"]))
    assert stop is not None
    assert stop.evidence == {"step": 3, "value": -6.5, "limit": -6.0, "trials": 5}
    assert stop.reason == "value = -6.5 at step 3 is worse than the median -6 of 5 complete trials"
    assert stop.value is None


def test_folds_are_compared_on_the_same_folds_whatever_their_order() -> None:
    """Fold 2 is hard for all trials; a trial that has done folds 2 and 3 is compared on those."""
    curves = [[1, 9, 2], [1, 8, 3], [1, 9, 1], [1, 8, 2], [1, 9, 3]]
    history = study(curves, [], evidence="folds")
    for step, value in ((2, 8.0), (3, 2.0)):
        history.apply(events.reported(99.0, 5, 1, Report(step, value)))
    assert judge(Median(), history) is None  # mean 5; the others' means over folds 2, 3: 5.5 5.5 5 5 6
    history.apply(events.reported(99.0, 5, 1, Report(4, 0.0)))
    assert judge(Median(), history) is None  # no other trial did fold 4


def test_trials_that_violate_a_constraint_are_left_out() -> None:
    curves = [*TABLE, *([[0, 0, 0]] * 6)]
    times = [5.0] * 5 + [99.0] * 6
    trials = [
        ({"x": i / 1000}, {"value": curve[-1], "ms": ms})
        for i, (curve, ms) in enumerate(zip(curves, times, strict=True))
    ]
    reports: Mapping[int, Any] = dict(enumerate([*curves, [7]]))
    for bound, stops in (("<= 10", False), ("<= 100", True)):
        history = make_history(SPACE, trials, running=[{"x": 0.9}], reports=reports, constraints={"ms": bound})
        assert (judge(Median(), history) is not None) == stops


def test_warm_up() -> None:
    assert judge(Median(), study(TABLE[:4], [99, 99])) is None
    assert judge(Median(min_trials=4), study(TABLE[:4], [99, 99])) is not None
    assert judge(Median(min_step=3), study(TABLE, [99, 99])) is None
    assert judge(Median(min_step=2), study(TABLE, [99, 99])) is not None
    assert judge(Median(), study(TABLE, [99, 99], steps=30)) is None  # a tenth of 30 steps
    assert judge(Median(), study(TABLE, [99, 99, 99], steps=30)) is not None
    assert judge(Median(min_step=1), study(TABLE, [99], evidence="folds")) is not None


def test_only_complete_trials_are_a_reference() -> None:
    curves = [*TABLE, [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]]
    trials: list[Any] = [({"x": i / 1000}, 1) for i in range(5)]
    trials += [({"x": 0.5}, Failure("error", "")), ({"x": 0.6}, Failure("error", "")), ({"x": 0.7}, None)]
    reports: dict[int, Any] = dict(enumerate([*curves[:5], *curves[5:8], [7.0, 7.0]]))
    history = make_history(SPACE, trials, running=[{"x": 0.9}], reports=reports)
    assert judge(Median(), history) is None
    history.apply(events.stopped_early(9.0, 7, 1, [1.0], 0, "rule", "reason", {}))
    assert judge(Median(), history) is None


def test_a_further_objective_or_a_metric_may_be_watched() -> None:
    trials = [({"x": i / 10}, (0.0, 1.0)) for i in range(5)]
    reports: dict[int, Any] = {i: [Report(1, 0.0, {"value1": float(i), "size": float(i)})] for i in range(5)}
    cases: list[tuple[str, dict[str, Any], float, float]] = [
        ("value1", {}, 2.0, 1.9),  # an objective to maximise
        ("size", {}, 2.0, 2.1),
        ("size", {"maximize": True}, 2.0, 1.9),
    ]
    for metric, options, good, bad in cases:
        for value, stops in ((good, False), (bad, True)):
            reports[5] = [Report(1, 99.0, {metric: value})]
            history = make_history(
                SPACE, trials, directions=["minimize", "maximize"], running=[{"x": 0.9}], reports=reports
            )
            stop = judge(Median(metric=metric, **options), history)
            assert (stop is not None) == stops
            assert stop is None or stop.evidence["value"] == bad
    reports[5] = [Report(1, 99.0)]
    history = make_history(SPACE, trials, directions=["minimize", "maximize"], running=[{"x": 0.9}], reports=reports)
    assert judge(Median(metric="size"), history) is None  # never reported by this trial


def test_constant_curves_are_ties_in_spite_of_rounding() -> None:
    for value in (0.1, 0.7, 1e-9, 123456.7):
        history = study([[value] * 7] * 5, [value] * 7)
        assert judge(Median(), history) is None
        assert judge(Median(), study([[value] * 7] * 5, [value] * 7, evidence="folds")) is None


@pytest.mark.parametrize("evidence", ["curve", "folds"])
def test_huge_losses_are_compared(evidence: str) -> None:
    complete = [[1e308] * 3, [0.5] * 3, [1.0] * 3, [1e308] * 3, [1e308] * 3]
    assert judge(Median(), study(complete, [1e308, 1e308], evidence=evidence)) is None
    assert judge(Median(), study(complete, [1.7e308, 1.7e308], evidence=evidence)) is not None


@pytest.mark.parametrize("evidence", ["curve", "folds"])
@pytest.mark.parametrize("rule", [Median(), Percentile(percentile=50.0)])
def test_a_trial_at_its_last_step_is_complete_however_bad(rule: Median | Percentile, evidence: str) -> None:
    for steps, stops in ((3, False), (4, True), (None, True)):
        history = study([[1.0] * 3] * 5, [9.0] * 3, evidence=evidence, steps=steps)
        assert (judge(rule, history) is not None) == stops
    with_a_gap: Any = [Report(1, 9.0), Report(3, 9.0)]
    assert judge(rule, study([[1.0] * 3] * 5, with_a_gap, evidence=evidence, steps=3)) is None


# --- against a plain oracle -----------------------------------------------------------------------

numbers = st.integers(-4, 4).map(float)
curves = st.lists(st.lists(numbers, min_size=1, max_size=5), min_size=1, max_size=12)


def oracle(complete: Curves, running: Sequence[float], percentile: float, folds: bool) -> bool:
    n = len(running)
    others = [np.mean(curve[:n]) for curve in complete if len(curve) >= n]
    if len(others) < 3:
        return False
    mine = np.mean(running) if folds else np.min(running)
    return bool(mine > np.percentile(others, percentile) + 1e-9)


@settings(max_examples=200)
@given(curves, st.lists(numbers, min_size=1, max_size=5), st.sampled_from([10.0, 25.0, 50.0, 80.0]), st.booleans())
def test_a_decision_is_that_of_numpy(complete: Curves, running: list[float], percentile: float, folds: bool) -> None:
    history = study(complete, running, evidence="folds" if folds else "curve")
    rule = Percentile(percentile=percentile, min_trials=3, min_step=1)
    assert (judge(rule, history) is not None) == oracle(complete, running, percentile, folds)


@given(curves, st.lists(numbers, min_size=1, max_size=5), st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_other_trials_and_the_sign_do_not_matter(
    complete: Curves, running: list[float], random: Any, folds: bool
) -> None:
    rule = Median(min_trials=2, min_step=1)
    options: dict[str, Any] = {"evidence": "folds" if folds else "curve"}
    decision = judge(rule, study(complete, running, **options))
    shuffled = list(complete)
    random.shuffle(shuffled)
    assert judge(rule, study(shuffled, running, **options)) == decision
    negated = study([[-v for v in c] for c in complete], [-v for v in running], directions=["maximize"], **options)
    assert (judge(rule, negated) is None) == (decision is None)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(0, 100))
def test_interpolation_is_numpys(values: list[float], percentile: float) -> None:
    found = interpolated(sorted(values), percentile)
    assert found == pytest.approx(np.percentile(values, percentile), rel=1e-9, abs=1e-9)


@given(st.floats(-1e6, 1e6), st.integers(1, 9), st.floats(0, 100))
def test_interpolation_between_equals_is_exact(value: float, n: int, percentile: float) -> None:
    assert interpolated([value] * n, percentile) == value


# --- the cache never changes a decision -----------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.just(0), numbers),
        st.tuples(st.just("report"), st.integers(0, 9), numbers),
        st.tuples(st.just("complete"), st.integers(0, 9), numbers),
        st.tuples(st.just("invalidate"), st.integers(0, 9), numbers),
        st.tuples(st.just("amend"), st.integers(0, 9), numbers),
    ),
    min_size=20,
    max_size=120,
)


def act(history: History, action: str, which: int, value: float) -> None:
    now, number = float(history.position), history.next_number
    still_open = sorted(history.open)
    if action == "start":
        history.apply(events.started(now, number, {"x": number / 1000}, "w", 1, 0))
    elif action == "report" and still_open:
        trial = history.trials[still_open[which % len(still_open)]]
        history.apply(events.reported(now, trial.number, 1, Report(len(trial.reports) + 1, value)))
    elif action == "complete" and still_open:
        history.apply(events.complete(now, still_open[which % len(still_open)], 1, [value], {}))
    elif action == "invalidate" and which < number:
        history.apply(events.invalidated(now, which, "a bug"))
    elif action == "amend":
        low = Space({"x": Float(which / 2000, 1)}).to_json()
        directions = {"value": "minimize" if which % 2 else "maximize"}
        history.apply(events.amended(now, {**history.definition, "space": low, "objectives": directions}, []))


@given(steps, st.booleans(), st.integers(1, 4))
def test_a_used_rule_decides_as_a_new_one(actions: list[tuple[str, int, float]], folds: bool, lag: int) -> None:
    """Parallel trials, invalid ones, amended studies, and the views of reproducible studies in between."""
    history = make_history(SPACE, evidence="folds" if folds else "curve")
    old = Median(min_trials=1, min_step=1)
    for i, (action, which, value) in enumerate(actions):
        act(history, action, which, value)
        if i % 17 == 5:
            old = pickle.loads(pickle.dumps(copy.deepcopy(old)))
        for number in list(history.open):
            for seen in (history, history.as_seen_by(number, lag)):
                assert judge(old, seen, number) == judge(Median(min_trials=1, min_step=1), seen, number)


def test_a_trial_that_was_taken_back_is_left_out_of_later_steps_too() -> None:
    rule, history = Median(min_trials=1, min_step=1), study([[1.0, 1.0], [5.0, 5.0]], [2.0])
    assert judge(rule, history) is None
    history.apply(events.invalidated(9.0, 1, "a bug"))
    history.apply(events.reported(9.0, 2, 1, Report(2, 2.0)))
    assert judge(rule, history) is not None


def test_one_rule_serves_two_studies_in_turn() -> None:
    rule = Median(min_trials=2, min_step=1)
    good, bad = study([[1.0], [1.0]], [2.0]), study([[3.0], [3.0]], [2.0])
    for _ in range(3):
        assert judge(rule, good) is not None
        assert judge(rule, bad) is None


def test_a_rule_that_saw_a_study_also_serves_one_with_fewer_trials() -> None:
    """The first complete trial of the one has the number that would follow in the other."""
    rule = Median(min_trials=1, min_step=1)
    trials: list[tuple[dict[str, Any], Any]] = [({"x": i / 10}, Failure("error", "no")) for i in range(2)]
    later = make_history(SPACE, [*trials, ({"x": 0.5}, 1.0), ({"x": 0.6}, None)], reports={2: [1.0], 3: [2.0]})
    assert judge(rule, later) is not None
    assert judge(rule, study([[3.0]], [2.0])) is None
    assert judge(rule, study([[1.0]], [2.0])) is not None


def test_a_used_rule_is_pickled_without_its_cache() -> None:
    rule = Median()
    judge(rule, study(TABLE, [9, 9]))
    assert len(pickle.dumps(rule)) < 300


@pytest.mark.parametrize(
    "options", [{"percentile": 0}, {"percentile": 100}, {"min_trials": 0}, {"min_step": 0}, {"metric": 3}]
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Percentile(**options)
