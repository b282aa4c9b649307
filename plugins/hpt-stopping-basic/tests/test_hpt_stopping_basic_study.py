"""Rules on the study: budgets, target and plateau by worked examples and properties."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Failure, Float, History, Space, State, Stop, Study, UsageError
from hpt_core.history import events
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import VerifyResult, verify
from hpt_core.testing import make_history
from hpt_stopping_basic.study import Deadline, Plateau, Target, TimeBudget, TrialBudget

SPACE = Space({"x": Float(0, 1)})
FAILED = Failure("error", "boom")


def study(outcomes: Sequence[Any], **options: Any) -> History:
    return make_history(SPACE, [({"x": i / 10_000}, value) for i, value in enumerate(outcomes)], **options)


# --- budgets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "stops"), [([], False), ([1, 2], False), ([1, FAILED, 2], True), ([1, 2, None], True)]
)
def test_trials_that_were_started_count(outcomes: list[Any], stops: bool) -> None:
    assert (TrialBudget(limit=3).judge_study(study(outcomes)) is not None) == stops


def test_waiting_and_invalid_trials_do_not_count() -> None:
    history, rule = study([1, 2, 3]), TrialBudget(limit=3)
    history.apply(events.invalidated(9.0, 1, "a bug"))
    history.apply(events.enqueued(9.0, 3, {"x": 0.9}))
    assert rule.judge_study(history) is None
    history.apply(events.started(9.0, 3, {"x": 0.9}, "w", 1, 0))
    assert rule.judge_study(history) == Stop("3 trials were started, the limit is 3", {"started": 3})


def test_a_waiting_trial_outside_an_amended_space_does_not_count() -> None:
    history = study([1, 2])
    history.apply(events.enqueued(9.0, 2, {"x": 0.9}))
    history.apply(events.amended(9.0, {**history.definition, "space": Space({"x": Float(0, 0.5)}).to_json()}, []))
    assert TrialBudget(limit=3).judge_study(history) is None
    history.apply(events.started(9.0, 2, {"x": 0.9}, "w", 1, 0))
    assert TrialBudget(limit=3).judge_study(history) is not None


def test_only_time_of_work_on_the_study_counts() -> None:
    history, rule = study([1.0] * 10), TimeBudget(limit=60.0)
    assert rule.judge_study(history) is None
    history.apply(events.joined(10_000.0, "w", {}))  # the next day
    assert rule.judge_study(history) is None
    history.clock = 10_000.0 + 60
    stop = rule.judge_study(history)
    assert stop is not None
    assert stop.evidence == {"elapsed": history.elapsed}
    assert "limit is 60 s" in stop.reason


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (90, 90),
        (0.5, 0.5),
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1.5 h", 5400),
        (" 2m 5s ", 125),
    ],
)
def test_time_budgets_as_text(given: Any, expected: float) -> None:
    assert TimeBudget(limit=given).limit == expected


@pytest.mark.parametrize(
    "given", [0, -1, True, None, "", "90", "10x", "m", "1h x", "-5s", math.nan, math.inf, 10**400, [1]]
)
def test_invalid_time_budgets_are_refused(given: Any) -> None:
    with pytest.raises(UsageError, match=r"limit: Must be seconds > 0, or text like"):
        TimeBudget(limit=given)


def test_a_deadline_stops_running_trials_except_at_their_last_step() -> None:
    history = study([1.0, None, None], reports={1: [0.5, 0.4], 2: [0.5, 0.4, 0.3]}, steps=3)
    early, at_last = history.trials[1:]
    rule = Deadline(limit=60.0)
    assert [rule.judge_study(history), rule.judge_trial(history, early)] == [None, None]
    history.clock = 1000.0
    stop = TimeBudget(limit=60.0).judge_study(history)
    assert stop is not None
    assert [rule.judge_study(history), rule.judge_trial(history, early)] == [stop, stop]
    assert rule.judge_trial(history, at_last) is None


def test_a_study_ends_at_its_deadline_in_the_middle_of_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Study(SPACE, sampler="random", stop={"use": "deadline", "limit": 60.0})
    now = endless.ledger.now()
    monkeypatch.setattr(endless.ledger, "now", lambda: now)

    def train(_params: dict[str, Any]) -> Iterator[float]:
        nonlocal now
        for epoch in range(100):
            now += 25.0
            yield 1 / (1 + epoch)

    endless.run(train, trials=2)
    (trial,) = endless.history.trials
    assert (trial.state, trial.rule, trial.partial) == (State.STOPPED, "deadline", True)
    assert [report.step for report in trial.reports] == [1, 2, 3]
    assert trial.values == (trial.reports[-1].value,)
    assert str(endless.stop_reason) == "75.0 s have passed, the limit is 60 s"
    assert verify(endless.store, endless.name, default_plugins()) == VerifyResult(checked=3)


# --- target ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "outcomes", "first"),
    [
        ("minimize", [3, 2.1, FAILED], None),
        ("minimize", [3, 2, 1], 1),
        ("maximize", [1, 1.9, FAILED], None),
        ("maximize", [1, 3, 2], 1),
    ],
)
def test_a_target_is_reached_in_the_direction_of_the_objective(
    direction: str, outcomes: list[Any], first: int | None
) -> None:
    stop = Target(value=2).judge_study(study(outcomes, directions=[direction]))
    assert (stop and stop.evidence["trial"]) == first
    assert stop is None or stop.evidence["value"] == outcomes[stop.evidence["trial"]]


def test_running_and_stopped_trials_reach_no_target() -> None:
    history = study([3, None], reports={1: [0.0]})
    assert Target(value=2).judge_study(history) is None
    history.apply(events.stopped_early(9.0, 1, 1, [0.0], 0, "rule", "", {}))
    assert Target(value=2).judge_study(history) is None


def test_a_target_on_another_objective_or_a_metric() -> None:
    history = study([(1, 5), (2, 9)], directions=["minimize", "maximize"])
    stop = Target(value=8, metric="value1").judge_study(history)
    assert stop == Stop("trial 1 reached value1 = 9, the target is 8", {"trial": 1, "value": 9.0})
    history.apply(events.started(9.0, 2, {"x": 0.5}, "w", 1, 0))
    history.apply(events.complete(9.0, 2, 1, [3, 3], {"size": 7}))
    assert Target(value=8, metric="size").judge_study(history) is not None
    assert Target(value=8, metric="size", maximize=True).judge_study(history) is None
    assert Target(value=7, metric="size", maximize=True).judge_study(history) is not None
    assert Target(value=0, metric="nothing").judge_study(history) is None


# --- plateau --------------------------------------------------------------------------------------

RULE = {"patience": 3, "min_trials": 1, "min_delta": 0.5}


@pytest.mark.parametrize(
    ("outcomes", "stops"),
    [
        ([9, 9, 9], False),  # nothing before the last three
        ([9, 9, 9, 9], True),
        ([9, 8, 8, 8], False),
        ([9, 8, 8, 8, 8], True),
        ([9, 8, 8, 8, 7.5], True),  # a gain of exactly min_delta does not count
        ([9, 8, 8, 8, 7.4], False),
        ([9, 10, 11, 12], True),
        ([9, 10, FAILED, 11], False),  # a failure is no evidence
        ([9, 10, FAILED, 11, 12], True),
        ([FAILED, FAILED, FAILED, FAILED], False),
    ],
)
def test_a_plateau_by_hand(outcomes: list[Any], stops: bool) -> None:
    assert (Plateau(**RULE).judge_study(study(outcomes)) is not None) == stops  # type: ignore[arg-type]
    negated = [o if o is FAILED else -o for o in outcomes]
    rule = Plateau(**RULE)  # type: ignore[arg-type]
    assert (rule.judge_study(study(negated, directions=["maximize"])) is not None) == stops


def test_stopped_trials_are_trials_without_gain() -> None:
    history = study([9, 9, None, None])
    rule = Plateau(**RULE)  # type: ignore[arg-type]
    for number in (2, 3):
        assert rule.judge_study(history) is None
        history.apply(events.stopped_early(9.0, number, 1, [1.0], 0, "rule", "", {}))
    stop = rule.judge_study(history)
    assert stop is not None
    assert stop.reason == "no gain above 0.5 in the last 3 trials"
    assert stop.evidence == {"trials": 4, "patience": 3, "best": 9.0, "before": 9.0, "min_delta": 0.5}


@pytest.mark.parametrize(
    ("d", "patience", "trials"),
    [(1, None, 31), (6, None, 31), (7, None, 36), (20, None, 101), (6, 3, 20), (7, 3, 21), (20, 3, 60)],
)
def test_the_default_waits_longer_in_larger_spaces(d: int, patience: int | None, trials: int) -> None:
    space = Space({f"x{i}": Float(0, 1) for i in range(d)})
    for n, stops in ((trials - 1, False), (trials, True)):
        history = make_history(space, [({f"x{j}": i / 1000 for j in range(d)}, 5.0) for i in range(n)])
        assert (Plateau(patience=patience).judge_study(history) is not None) == stops


def test_the_default_gain_is_a_thousandth_of_the_better_half() -> None:
    """The median is 10 from the best: a gain up to 0.01 does not count."""
    first: list[float] = [50, *[60] * 20, *[1000] * 10]
    assert Plateau(patience=3).judge_study(study([*first, 55, 55, 49.991])) is not None
    assert Plateau(patience=3).judge_study(study([*first, 55, 55, 49.98])) is None


def test_the_default_gain_is_not_0_if_a_quarter_of_the_results_tie_for_the_best() -> None:
    """The median is 1000 from the best: a gain up to 1 does not count."""
    for before, stops in ((0.9, True), (1.1, False)):
        history = study([*[1000] * 11, before, *[0] * 8])
        assert (Plateau(patience=8).judge_study(history) is not None) is stops


def test_the_default_gain_is_not_that_of_results_which_diverged() -> None:
    """Of 32 results 20 diverged. The quartile is 0.9 from the best: a gain up to 0.009 does not count."""
    first: list[float] = [*[1e6] * 20, 2, 1.9, 1.8, 1.7, 1.3, 1.3, 1.2, 1.1, 1]
    assert Plateau(patience=3).judge_study(study([*first, 5, 5, 0.998])) is not None
    assert Plateau(patience=3).judge_study(study([*first, 5, 5, 0.99])) is None


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=80))
def test_a_steady_descent_never_stops(drops: list[float]) -> None:
    values = [1000.0]
    for drop in drops:
        values.append(values[-1] - drop)
    assert Plateau(patience=5, min_trials=1).judge_study(study(values)) is None


def constrained(results: Sequence[tuple[float, float]]) -> History:
    found = Study(SPACE, constraints={"ms": "<= 10"}, sampler="random", seed=0)
    for i, (value, ms) in enumerate(results):
        found.add_trial({"x": i / 10_000}, {"value": value, "ms": ms})
    return found.history


def test_a_target_must_be_reached_by_a_feasible_trial() -> None:
    stop = Target(value=1.0).judge_study(constrained([(0.5, 11.0), (2.0, 1.0), (0.9, 10.0), (0.1, 1.0)]))
    assert stop is not None
    assert stop.evidence["trial"] == 2
    assert Target(value=1.0).judge_study(constrained([(0.5, 11.0), (2.0, 1.0)])) is None


def test_a_gain_that_violates_the_constraints_does_not_count() -> None:
    rule = Plateau(patience=3, min_trials=1, min_delta=0.0)
    assert rule.judge_study(constrained([(3.0, 1.0), (2.0, 11.0), (1.0, 11.0), (0.0, 11.0)])) is not None
    assert rule.judge_study(constrained([(3.0, 1.0), (2.0, 11.0), (1.0, 9.0), (0.0, 11.0)])) is None
    assert rule.judge_study(constrained([(3.0, 11.0)] * 9)) is None


def test_a_plateau_of_a_metric() -> None:
    history = study([])
    for i in range(6):
        history.apply(events.started(float(i), i, {"x": i / 10}, "w", 1, 0))
        history.apply(events.complete(float(i), i, 1, [float(-i)], {"size": 5.0} if i else {}))
    rule: dict[str, Any] = {**RULE, "metric": "size"}
    assert Plateau(**rule).judge_study(history) is not None
    assert Plateau(**{**rule, "metric": "other"}).judge_study(history) is None


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (TrialBudget, {"limit": 0}),
        (TrialBudget, {"limit": 2.5}),
        (Target, {"value": "1"}),
        (Plateau, {"min_delta": -1}),
    ],
)
def test_bad_options_are_refused(rule: type, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        rule(**options)
