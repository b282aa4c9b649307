"""Which trials the rules stop, which they audit, and their estimate of false stops."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from hpt_core import Float, History, Record, Report, Stop, Study, Trial
from hpt_core.history import events
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_core.testing import make_history
from hpt_stopping_curve.divergence import Divergence
from hpt_stopping_curve.extrapolation import Extrapolation
from hpt_stopping_curve.readings import Readings
from hpt_stopping_curve.replay import false_stop_rate, is_audited

SPACE = {"x": Float(0.0, 1000.0)}
STEPS = 30


def falling(end: float, steps: int = STEPS) -> list[float]:
    """A power law that ends at ``end``."""
    last = STEPS**-0.8
    return [end + step**-0.8 - last for step in range(1, steps + 1)]


def study(complete: Sequence[Sequence[Any]], now: Sequence[Any] = (), **options: Any) -> History:
    curves = [*complete, now] if now else list(complete)
    ends = [getattr(curve[-1], "value", curve[-1]) for curve in complete]
    outcomes = [*ends, None] if now else ends
    points = [({"x": float(i)}, outcome) for i, outcome in enumerate(outcomes)]
    return make_history(SPACE, points, reports=dict(enumerate(curves)), **{"steps": STEPS, **options})


def asked(rule: Any, history: History) -> Stop | None:
    found = rule.judge_trial(history, history.trials[-1])
    assert found is None or isinstance(found, Stop)
    return found


# --- extrapolation --------------------------------------------------------------------------------------


def test_a_curve_that_would_end_above_the_incumbent_is_stopped_at_the_first_moment() -> None:
    others = [falling(0.3), falling(0.5)]
    stops = [asked(Extrapolation(audit=0), study(others, falling(0.9, steps))) for steps in range(1, STEPS + 1)]
    assert [stop is not None for stop in stops] == [6 <= steps < 30 for steps in range(1, STEPS + 1)]  # a fifth of 30
    assert stops[10] is not None
    evidence = stops[10].evidence
    assert evidence["expected"] == pytest.approx(0.9, abs=0.05)
    assert (evidence["incumbent"], evidence["horizon"], evidence["law"]) == (pytest.approx(0.3), 30, "power")
    assert evidence["c"] == pytest.approx(0.8, rel=1e-3)
    json.dumps(evidence, allow_nan=False)


def test_a_trial_that_violates_a_constraint_is_not_the_incumbent() -> None:
    curves = {0: falling(0.3), 1: falling(0.95), 2: falling(0.9, 15)}
    for slow, stops in ((99.0, False), (5.0, True)):
        trials = [
            ({"x": 0.0}, {"value": 0.3, "ms": slow}),
            ({"x": 1.0}, {"value": 0.95, "ms": 5.0}),
            ({"x": 2.0}, None),
        ]
        history = make_history(SPACE, trials, reports=curves, steps=STEPS, constraints={"ms": "<= 10"})
        assert (asked(Extrapolation(audit=0), history) is not None) == stops


def test_a_trial_that_violates_a_constraint_is_not_a_false_stop() -> None:
    """The second curve falls late: the rule would have stopped it, and it went on to beat the first."""
    late = [1.0] * 20 + [0.1] * 10
    for slow, false in ((99.0, 0), (5.0, 1)):
        trials = [({"x": 0.0}, {"value": 0.3, "ms": 5.0}), ({"x": 1.0}, {"value": 0.1, "ms": slow})]
        reports = {0: falling(0.3), 1: late}
        history = make_history(SPACE, trials, reports=reports, steps=STEPS, constraints={"ms": "<= 10"})
        found = false_stop_rate(history, Extrapolation(audit=1.0))
        assert (found.stops, found.false) == (1, false)


@pytest.mark.parametrize("metric", [None, "value"])
def test_a_curve_between_the_incumbent_and_the_other_trials_is_stopped(metric: str | None) -> None:
    stop = asked(Extrapolation(audit=0, metric=metric), study([falling(0.3), falling(0.5)], falling(0.45, 20)))
    assert stop is not None
    assert stop.evidence["step"] == 20


def test_a_curve_that_was_below_the_incumbent_once_continues() -> None:
    now = falling(0.9, 20)
    for lowest, stops in ((now[4], True), (0.2, False)):
        now[4] = lowest
        assert (asked(Extrapolation(audit=0, chance=0.49), study([falling(0.3)], now)) is not None) is stops


def test_the_fifth_report_is_enough_if_no_share_of_the_steps_is_asked_for() -> None:
    rule = Extrapolation(audit=0, min_share=0)
    stops = [asked(rule, study([falling(0.3)], falling(0.9, steps))) is not None for steps in range(1, 8)]
    assert stops == [steps >= 5 for steps in range(1, 8)]


@pytest.mark.parametrize("end", [0.1, 0.29, 0.3])
def test_a_curve_that_would_end_at_the_incumbent_or_below_continues(end: float) -> None:
    others = [falling(0.3), falling(0.5)]
    assert not any(asked(Extrapolation(audit=0), study(others, falling(end, steps))) for steps in range(1, STEPS))


def test_without_points_or_a_complete_trial_nothing_is_stopped() -> None:
    assert asked(Extrapolation(audit=0), study([falling(0.1)], [9.0, 8.9, 8.9, 8.9])) is None
    assert asked(Extrapolation(audit=0), study([], falling(0.9, 20))) is None
    assert asked(Extrapolation(audit=0), study([falling(0.1)], falling(0.9, 20), evidence="folds")) is None


@pytest.mark.parametrize("curve", [[0.0] * 10, [10.0 ** (30 * i) for i in range(1, 11)], [1e-200] * 10])
def test_curves_of_zeros_and_diverging_curves_are_judged_too(curve: list[float]) -> None:
    stop = asked(Extrapolation(audit=0), study([falling(-0.5)], curve))
    if curve[-1] < 1:
        assert stop is not None
        assert stop.evidence["expected"] == pytest.approx(curve[-1], abs=1e-9)
    if stop is not None:
        json.dumps(stop.evidence, allow_nan=False)


@pytest.mark.parametrize("scale", [1e-250, 1e250])
def test_the_scale_of_the_losses_changes_nothing(scale: float) -> None:
    def stop_at(scale: float) -> Stop:
        done, now = ([scale * loss for loss in curve] for curve in (falling(0.3), falling(0.9, 10)))
        found = asked(Extrapolation(audit=0), study([done], now))
        assert found is not None
        return found

    plain, scaled = stop_at(1.0), stop_at(scale)
    for name in ("expected", "spread", "incumbent", "a", "b"):
        assert scaled.evidence[name] == pytest.approx(scale * plain.evidence[name], rel=1e-4)
    assert scaled.evidence["chance"] == pytest.approx(plain.evidence["chance"], rel=1e-4)


def test_the_number_of_steps_may_be_unknown() -> None:
    assert asked(Extrapolation(audit=0), study([falling(0.1)], falling(0.9, 20), steps=None)) is not None


def test_a_complete_trial_without_reports_is_no_measure_of_the_steps() -> None:
    trials = [({"x": float(i)}, outcome) for i, outcome in enumerate([0.1, 0.2, None])]
    history = make_history(SPACE, trials, reports={0: falling(0.1), 2: falling(0.9, 20)})
    stop = asked(Extrapolation(audit=0), history)
    assert stop is not None
    assert stop.evidence["horizon"] == STEPS


def test_the_final_loss_of_a_trial_without_reports_is_that_of_its_result() -> None:
    trials = [({"x": 0.0}, {"value": 0.5, "accuracy": 0.9}), ({"x": 1.0}, {"value": 0.4})]
    history = make_history(SPACE, trials)
    for rule, ends in ((Extrapolation(), [0.5, 0.4]), (Extrapolation(metric="accuracy", maximize=True), [-0.9])):
        assert rule.ends(history, history.complete).tolist() == ends


def test_a_metric_can_be_watched() -> None:
    def curve(end: float, steps: int) -> list[Report]:
        return [Report(i, 0.0, {"accuracy": -loss}) for i, loss in enumerate(falling(end, steps), start=1)]

    history = study([curve(0.1, STEPS)], curve(0.9, 15))
    stop = asked(Extrapolation(audit=0, metric="accuracy", maximize=True), history)
    assert stop is not None
    assert stop.evidence["incumbent"] == pytest.approx(-0.1)
    assert asked(Extrapolation(audit=0), history) is None


# --- divergence -----------------------------------------------------------------------------------------


def test_a_diverging_curve_is_stopped_by_the_spread_of_the_others() -> None:
    others = [falling(0.1 * i) for i in range(7)]  # median 0.3, median absolute deviation 0.2 at every step
    limit = 5 * 1.4826 * 0.2
    best = falling(0.3, 10)[-1]
    for excess, stops in ((0.99, False), (1.01, True)):
        now = [*falling(0.3, 10), best + excess * limit, best + excess * limit]
        stop = asked(Divergence(audit=0), study(others, now))
        assert (stop is not None) is stops
    assert stop is not None
    assert stop.evidence["times"] == pytest.approx(5 * 1.01)


def test_the_spread_counts_from_five_complete_trials_on() -> None:
    """With fewer, ten times its gain of 0.84 counts. A trial that has not reported up to this step does not."""
    others = [falling(0.1 * i) for i in range(5)]  # median absolute deviation 0.1 at every step
    late = falling(0.2, 10)[-1] + 1.01 * 5 * 1.4826 * 0.1
    for count, stops in ((4, False), (5, True)):
        later = [Report(20, 0.4)]
        found = asked(Divergence(audit=0), study([*others[:count], later], [*falling(0.2, 10), late, late]))
        assert (found is not None) is stops


def test_a_spike_that_passes_is_not_divergence() -> None:
    others = [falling(0.1 * i) for i in range(7)]
    assert asked(Divergence(audit=0), study(others, [*falling(0.3, 10), 50.0])) is None
    assert asked(Divergence(audit=0), study(others, [*falling(0.3, 10), 50.0, 0.4])) is None
    assert asked(Divergence(audit=0, reports=1), study(others, [*falling(0.3, 10), 50.0])) is not None


def test_a_good_trial_that_gets_as_bad_as_the_others_continues() -> None:
    others = [[5.0 + 0.001 * i] * STEPS for i in range(7)]
    assert asked(Divergence(audit=0), study(others, [1.0, 0.5, 4.9, 4.9])) is None
    assert asked(Divergence(audit=0), study(others, [1.0, 0.5, 5.9, 5.9])) is not None


@pytest.mark.parametrize(("late", "stops"), [(10.4, False), (10.6, True)])
def test_without_other_trials_a_multiple_of_its_own_gain_counts(late: float, stops: bool) -> None:
    found = asked(Divergence(audit=0), study([], [1.5, 1.0, 0.5, late, late]))
    assert (found is not None) is stops


def test_differences_by_rounding_are_no_divergence() -> None:
    """The late reports are 120 times as far from the best as the others deviate from their median."""
    others = [[0.3 + 1e-16 * i] * STEPS for i in range(7)]
    assert asked(Divergence(audit=0), study(others, [0.3, 0.3, 0.3 + 2e-14, 0.3 + 2e-14])) is None


def test_a_slow_rise_is_no_divergence() -> None:
    others = [falling(0.1 * i) for i in range(7)]
    assert asked(Divergence(audit=0), study(others, [*falling(0.2, 10), *np.linspace(0.4, 0.8, 10)])) is None


# --- the cache ------------------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.tuples(st.sampled_from([*["report"] * 8, "look", "look", "end", "invalidate", "amend"]), st.integers(0, 7)),
    min_size=10,
    max_size=80,
)


def done_to(history: History, what: str, number: int, level: float) -> Iterator[Record]:
    """The records of an action on a trial, if it is possible."""
    trial, now = history.trials[number], float(history.position)
    if what == "invalidate":
        yield events.invalidated(now, number, "wrong")
    elif what == "amend":
        yield events.amended(now, {**history.definition, "space": {"x": {"low": 0.0, "high": 5.5}}}, ["space"])
    elif what == "report" and not trial.finished:
        first = len(trial.reports) + 1
        for step in range(first, first + 3):
            rise = 9.0 * (step > 6) if number % 3 == 0 else 0.0
            yield events.reported(now, number, 1, Report(step * (1 + number % 2), level + step**-0.8 + rise))
    elif what == "end" and trial.reports and not trial.finished:
        yield events.complete(now, number, 1, [trial.reports[-1].value], {})


@settings(max_examples=200)
@given(ACTIONS, st.integers(0, 3), st.sampled_from([None, STEPS]))
def test_a_used_rule_decides_as_a_new_one(steps: list[tuple[str, int]], seed: int, whole: int | None) -> None:
    """Whatever happens to the trials between two decisions, in views without some trials, and after another study."""
    levels = np.random.default_rng(seed).random(8)
    makers: list[Callable[[], Divergence | Extrapolation]] = [
        partial(Divergence, audit=0, reports=1, min_trials=2),
        partial(Extrapolation, audit=0, min_share=0),
    ]
    used = [make() for make in makers]
    for rule in used:
        asked(rule, study([falling(0.1 * i) for i in range(8)], [*falling(0.3, 10), 50.0]))
    history = make_history(SPACE, running=[{"x": float(i)} for i in range(8)], steps=whole)
    for what, number in steps:
        history.extend(done_to(history, what, number, levels[number]))
        for seen in (history, history.as_seen_by(number, 3)) if what == "look" else ():
            for rule, make in zip(used, makers, strict=True):
                assert rule.ends(seen, seen.complete).tolist() == make().ends(seen, seen.complete).tolist()
                for trial in seen.trials:
                    assert rule.judge_trial(seen, trial) == make().judge_trial(seen, trial)


def test_readings_by_any_number_of_keys_are_those_of_the_trials() -> None:
    history, readings = study([falling(0.1), falling(0.2)]), Readings()

    def number_plus(key: int, trial: Trial) -> float:
        return key + trial.number

    for key in (*range(1500), *range(1500)):
        found = readings.of(history, history.complete, key, partial(number_plus, key))
        assert found.tolist() == [key, key + 1]


# --- the audit ------------------------------------------------------------------------------------------


def test_the_audited_share_is_a_function_of_seed_and_number() -> None:
    chosen = [[n for n in range(4000) if is_audited(seed, n, 0.05)] for seed in (0, 1)]
    assert chosen[0] != chosen[1]
    assert all(binomtest(len(numbers), 4000, 0.05).pvalue > 0.001 for numbers in chosen)
    assert [n for n in chosen[0] if not is_audited(0, n, 0.1)] == []
    assert not any(is_audited(0, n, 0.0) for n in range(100))
    assert all(is_audited(0, n, 1.0) for n in range(100))


def test_an_audited_trial_is_never_stopped() -> None:
    others = [falling(0.3), falling(0.5)]
    assert asked(Extrapolation(audit=1.0), study(others, falling(5.0, 20))) is None
    assert asked(Divergence(audit=1.0), study(others, [1.0, 0.5, 99.0, 99.0])) is None


def test_the_false_stops_are_counted_by_hand() -> None:
    """Two of the audited trials look hopeless; one of them gets there by a late drop."""
    late = [*falling(0.9, 20), *([0.05] * 10)]
    history = study([falling(0.3), falling(0.9), late, falling(0.02)])
    found = false_stop_rate(history, Extrapolation(audit=1.0))
    assert found[:3] == (2, 1, 0.5)
    exact = binomtest(1, 2).proportion_ci(method="exact")
    assert found.interval == pytest.approx((exact.low, exact.high))
    assert found == false_stop_rate(history, Extrapolation(audit=1.0))


def test_a_trial_is_compared_with_those_that_had_ended_when_it_started() -> None:
    first_is_best = [falling(0.1), falling(0.9)]
    assert false_stop_rate(study(first_is_best), Extrapolation(audit=1.0)).stops == 1
    assert false_stop_rate(study(first_is_best[::-1]), Extrapolation(audit=1.0))[:3] == (0, 0, None)


def test_the_interval_of_a_rate_of_one_reaches_one() -> None:
    found = false_stop_rate(study([falling(0.3), [*falling(0.9, 20), *([0.05] * 10)]]), Extrapolation(audit=1.0))
    assert found[:3] == (1, 1, 1.0)
    exact = binomtest(1, 1).proportion_ci(method="exact")
    assert found.interval == pytest.approx((exact.low, exact.high))


def test_a_trial_that_still_ran_when_another_started_is_no_incumbent_for_it() -> None:
    """Trial 0 is the best. Trial 2, which looks hopeless beside it, starts before or after trial 0 ends."""
    for ended, stops in ((100.0, 0), (40.0, 1)):
        history = make_history(SPACE, steps=STEPS)
        for number, started in ((0, 0.0), (1, 1.0), (2, 50.0)):
            history.apply(events.started(started, number, {"x": float(number)}, "w", 1, 0))
        for number, end in ((0, 0.1), (1, 0.95), (2, 0.9)):
            for step, loss in enumerate(falling(end), start=1):
                history.apply(events.reported(60.0, number, 1, Report(step, loss)))
        for number, end, time in ((0, 0.1, ended), (1, 0.95, 30.0), (2, 0.9, 110.0)):
            history.apply(events.complete(time, number, 1, [end], {}))
        assert false_stop_rate(history, Extrapolation(audit=1.0)).stops == stops


def test_the_summary_has_the_rate() -> None:
    late = [*falling(0.9, 20), *([0.05] * 10)]
    history = study([falling(0.3), falling(0.9), late, falling(0.02)])
    told = Extrapolation(audit=1.0).summary(history)
    assert told == {
        "audited trials": 4,
        "would have stopped": 2,
        "false-stop rate": 0.5,
        "95 % interval": [0.013, 0.987],
    }
    assert Extrapolation(audit=0.0).summary(history) is None
    assert Divergence(audit=1.0).summary(history) == {"audited trials": 4, "would have stopped": 0}


# --- real studies ---------------------------------------------------------------------------------------


def test_a_real_study_saves_steps_keeps_its_winner_and_verifies() -> None:
    def train(params: dict[str, float]) -> Any:
        bad = params["x"] / 1000
        noise = np.random.default_rng(int(params["x"] * 1e6)).normal(size=STEPS)
        for step in range(1, STEPS + 1):
            blown = 5.0 * (step - 8) if int(params["x"]) % 6 == 0 and step > 8 else 0.0
            yield bad + step**-0.8 + blown + 0.003 * noise[step - 1]

    def run(rules: Sequence[Any]) -> Study:
        made = Study(
            SPACE, sampler="random", evaluator={"use": "function", "call": train, "steps": STEPS}, stop=rules, seed=0
        )
        made.run(trials=60)
        return made

    full, cut = run([]), run(["divergence", "extrapolation"])
    spent = [sum(len(trial.reports) for trial in made.trials) for made in (full, cut)]
    assert spent[1] < 0.7 * spent[0]
    assert cut.best is not None
    assert full.best is not None
    assert cut.best.params == full.best.params
    assert {trial.rule for trial in cut.trials if trial.state == "stopped"} == {"divergence", "extrapolation"}
    result = verify(cut.store, cut.name, default_plugins())
    assert result.differences == []
    assert result.checked >= 60


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
    rule = Divergence(audit=0)
    now = [*falling(0.3, 10), 50.0, 60.0]
    mine, other = (study([falling(gap * i**2) for i in range(8)], now) for gap in (0.2, 2))
    expected = asked(Divergence(audit=0), mine)
    mine.trials = Interrupting(mine.trials, lambda: asked(rule, other))
    assert expected is not None
    assert asked(rule, mine) == expected
