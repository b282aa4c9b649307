"""The first trials wait for each other: which are resumed, which are retired, and the effect in whole studies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from scipy.stats import norm

from hpt_core import Float, History, Params, Pause, Report, Space, State, Stop, Study
from hpt_core.history import events
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_core.testing import make_history
from hpt_stopping_folds.folds import Folds

SPACE = Space({"x": Float(0, 1)})
WAITS = Pause("waits until 16 trials have done as many folds")


def study_of(folds: Sequence[Sequence[float | Report]], outcomes: Sequence[Any], **options: Any) -> History:
    points = [{"x": i / 100} for i in range(len(folds))]
    options = {"evidence": "folds", "steps": 5, "resumable": True, **options}
    return make_history(SPACE, list(zip(points, outcomes, strict=True)), reports=dict(enumerate(folds)), **options)


def waiting(*firsts: float, complete: Sequence[float] | None = None) -> History:
    """Trials that wait after their first fold; the last one is complete where ``complete`` has its folds."""
    folds: list[Sequence[float]] = [[first] for first in firsts]
    outcomes: list[Any] = [WAITS for _ in firsts]
    if complete is not None:
        folds, outcomes = [*folds, complete], [*outcomes, float(np.mean(complete))]
    return study_of(folds, outcomes)


def test_a_trial_waits_after_its_first_fold_if_no_trial_is_complete() -> None:
    for folds, options, pauses in (
        ([0.5], {}, True),
        ([0.5, 0.5], {}, False),
        ([0.5], {"resumable": False}, False),
        ([0.5], {"steps": 1}, False),
    ):
        history = study_of([folds], [None], **options)
        assert isinstance(Folds().judge_trial(history, history.trials[0]), Pause) is pauses
        assert Folds(waiting=0).judge_trial(history, history.trials[0]) is None
    history = study_of([[0.1] * 5, [0.1]], [0.1, None])
    assert Folds().judge_trial(history, history.trials[1]) is None
    history = study_of([[0.5, 0.6]], [None])
    assert isinstance(Folds(min_folds=2).judge_trial(history, history.trials[0]), Pause)


def test_trials_that_tie_for_the_best_do_one_fold_more_each_until_one_is_ahead() -> None:
    for folds, chosen in (
        ([[0.5], [0.2], [0.2]], 1),
        ([[0.5], [0.2, 0.9], [0.2]], 2),
        ([[0.5], [0.2, 0.9], [0.2, 0.8]], 2),
        ([[0.5], [0.2, 0.8], [0.2, 0.8]], 1),
        ([[0.5], [0.2, 0.8, 0.1], [0.2, 0.8]], 2),
        ([[0.5], [0.1, 0.2], [0.2, 0.1]], 1),
    ):
        assert Folds(waiting=3).promote(study_of(folds, [WAITS] * 3)) == chosen
    for others, pauses in (([[0.2]], True), ([[0.3], [0.2, 0.1]], True), ([[0.1]], False), ([], False)):
        history = study_of([*others, [0.2, 0.4]], [*[WAITS] * len(others), None])
        assert isinstance(Folds().judge_trial(history, history.trials[-1]), Pause) is pauses
    ended = study_of([[0.2], [0.2, 0.4]], [Stop("worse"), None])
    assert Folds().judge_trial(ended, ended.trials[1]) is None
    last = study_of([[0.2] * 4, [0.2] * 5], [WAITS, None])
    assert Folds().judge_trial(last, last.trials[1]) is None
    assert 0.1 + 0.7 < 0.3 + 0.5  # by rounding
    assert Folds(waiting=2, min_folds=2).promote(study_of([[0.3, 0.5], [0.1, 0.7]], [WAITS] * 2)) == 0


def test_a_tie_ends_on_the_first_fold_on_which_the_trials_differ() -> None:
    for other, pauses in (([0.2, 0.4], True), ([0.2, 0.9], False)):
        history = study_of([other, [0.2, 0.4, 0.5]], [WAITS, None])
        assert isinstance(Folds().judge_trial(history, history.trials[1]), Pause) is pauses


def test_the_best_is_resumed_when_enough_trials_wait_or_no_new_one_will_start() -> None:
    history = waiting(0.5, 0.2, 0.4)
    assert Folds(waiting=4).promote(history) is None
    assert Folds(waiting=3).promote(history) == 1
    history.closing = True
    assert Folds(waiting=4).promote(history) == 1


def test_no_trial_is_resumed_while_a_better_one_runs() -> None:
    """Trials that tie with it are resumed, and a trial that has only begun is not known to be better."""
    for running, chosen in (([0.1], None), ([0.1, 0.9], None), ([0.2], 0), ([0.2, 0.1], 0), ([0.3], 0), ([], 0)):
        history = study_of([[0.2], [0.5], running], [WAITS, WAITS, None])
        for closing in (False, True):
            history.closing = closing
            assert Folds(waiting=2).promote(history) == chosen
    history = study_of([[0.2], [0.1], [0.3] * 5], [WAITS, None, 0.3])
    assert Folds().promote(history) == 0


def test_a_waiting_trial_without_the_watched_metric_is_resumed_last() -> None:
    """Another rule of this kind, which watches another metric, may have paused it."""
    history = make_history(SPACE, evidence="folds", steps=2, resumable=True)
    reported: list[list[dict[str, float]]] = [[{}], [{"cost": 2.0}], [{"cost": 1.0}] * 2]
    for number, reports in enumerate(reported):
        history.apply(events.started(10.0, number, {"x": number / 10}, "w", 1, 1))
        for fold, metrics in enumerate(reports, 1):
            history.apply(events.reported(10.0, number, 1, Report(fold, 0.5, metrics)))
    for number in (0, 1):
        history.apply(events.paused(11.0, number, 1, 1, "folds", WAITS.reason, {}))
    history.apply(events.complete(11.0, 2, 1, (0.5,), {"cost": 1.0}))
    rule = Folds(metric="cost", test="forgiving")
    early = study_of([[0.5], [Report(1, 0.5, {"cost": 2.0})]], [WAITS, WAITS])
    early.closing = True
    assert rule.promote(early) == 1
    assert rule.promote(history) == 1
    history.apply(events.complete(12.0, 1, 1, (0.5,), {"cost": 2.0}))
    assert rule.promote(history) == 0


def test_waiting_trials_are_compared_on_the_folds_that_the_incumbent_has() -> None:
    """Its second fold has no value of the watched metric. Trial 1 is nearer on the first one."""

    def costs(*values: float | None) -> list[Report]:
        return [Report(i, 0.5, {} if v is None else {"cost": v}) for i, v in enumerate(values, 1)]

    history = study_of([costs(0.6, 0.1), costs(0.55, 5.0), costs(0.5, None, 0.5)], [WAITS, WAITS, 0.5], steps=3)
    assert Folds(metric="cost").promote(history) == 1


def test_with_an_incumbent_all_waiting_trials_are_resumed_or_retired() -> None:
    """0.2 would tie with it, 0.5 is hopeless."""
    history = waiting(0.5, 0.2, complete=[0.2, 0.3, 0.2, 0.3, 0.2])
    retired = Folds().retire(history)
    assert list(retired) == [0]
    said = "value is worse than that of trial 2 by 0.3 on the same 1 fold: its expected gain is "
    assert retired[0].reason.startswith(said)
    assert Folds().promote(history) == 1
    assert Folds().retire(waiting(0.5, 0.2)) == {}


def test_the_gain_by_hand() -> None:
    """Two of five folds; a complete and a stopped trial tell how much differences vary, those with one fold do not."""
    best, other, now = [0.20, 0.30, 0.25, 0.25, 0.20], [0.25, 0.30, 0.30, 0.35, 0.20], [0.22, 0.33]
    early = [Stop("worse", value=0.5)] * 30
    folds = [best, other, [0.4, 0.7], *[[0.5]] * 30, now]
    history = study_of(folds, [0.24, 0.28, Stop("worse", value=0.9), *early, None])
    own, d1, d2 = np.var(best, ddof=1), np.var(np.subtract(other, best), ddof=1), np.var([0.2, 0.4], ddof=1)
    d3 = np.var([0.02, 0.03], ddof=1)
    most = 9 * np.median([own, d1, d2, d3])
    assert d1 < most < d2  # which is capped
    variance = (4 * own + 4 * d1 + 1 * most + 1 * d3) / (4 + 4 + 1 + 1)
    sd = math.sqrt(variance * (1 / 2 - 1 / 5))
    gain = norm.expect(lambda x: max(0.0, x), loc=-0.025, scale=sd)
    limit = math.sqrt(max(own, variance) / 5) * 3 / 4  # three folds are left, and four are all but one
    share = gain / limit
    assert Folds(share=0.99 * share).judge_trial(history, history.trials[-1]) is None
    stop = Folds(share=1.01 * share).judge_trial(history, history.trials[-1])
    assert isinstance(stop, Stop)
    assert stop.reason.startswith("value is worse than that of trial 0 by 0.025 on the same 2 folds: ")
    assert stop.evidence["gain"] == pytest.approx(gain, rel=1e-6)
    assert stop.evidence["limit"] == pytest.approx(1.01 * gain, rel=1e-6)


@pytest.mark.parametrize("spoilt", [0, 1, 20])
def test_trials_that_diverged_keep_no_other_from_being_stopped(spoilt: int) -> None:
    best = [0.20, 0.30, 0.25, 0.25, 0.20]
    bad = [Stop("worse", value=1e6)] * spoilt
    history = study_of([best, *[[0.2, 1e6 + i] for i in range(spoilt)], [0.6, 0.6]], [0.24, *bad, None])
    assert isinstance(Folds().judge_trial(history, history.trials[-1]), Stop)


def test_with_a_perfect_incumbent_ties_continue_and_worse_trials_do_not() -> None:
    for first, stops in ((0.0, False), (0.01, True)):
        history = study_of([[0.0] * 5, [first]], [0.0, None])
        assert (Folds().judge_trial(history, history.trials[1]) is not None) is stops


# --- whole studies --------------------------------------------------------------------------------------


@attrs.define(kw_only=True)
class Rows:
    """Suggests the rows of a table in turn."""

    def suggest(self, history: History, rng: Any) -> Params:
        return {"x": history.next_number / 100}


def raced(table: Any, rule: Folds, interrupted: Sequence[int] = ()) -> Study:
    """A study of one candidate per row of a table; it is interrupted before these fits and resumed."""
    fits, left = [0], list(interrupted)

    def train(params: Params, trial: Any) -> Iterator[float]:
        for value in table[round(params["x"] * 100)][trial.resume_step :]:
            fits[0] += 1
            if fits[0] in left:
                left.remove(fits[0])
                raise KeyboardInterrupt
            yield float(value)

    evaluator = {"use": "function", "call": train, "evidence": "folds", "steps": table.shape[1], "resumable": True}
    study = Study(SPACE, sampler=Rows(), evaluator=evaluator, stop=[rule], seed=0)
    for _ in range(1 + len(interrupted)):
        try:
            study.run(trials=len(table))
        except KeyboardInterrupt:
            continue
    return study


def by_hand(table: Any, wait: int, worse: Any) -> list[int]:
    """Number of folds of each row: all wait after one; then the best is resumed until it is worse or complete."""
    count, folds = table.shape
    complete: list[int] = []
    waits: list[int] = []
    done, new = [0] * count, list(range(count))
    while new or waits:
        best = min(complete, key=lambda i: (round(table[i].mean(), 9), i), default=None)
        waits = [i for i in waits if best is None or not worse(table, complete, best, i, done[i])]
        alone = True
        if waits and best is None and (len(waits) >= wait or not new):
            i, alone = first(table, waits, done)
            waits.remove(i)
        elif waits and best is not None:
            i = min(waits, key=lambda i: (round(np.mean(table[i][: done[i]] - table[best][: done[i]]), 9), i))
            waits.remove(i)
        elif new:
            i = new.pop(0)
            done[i] = 1
            if best is None:
                waits.append(i)
                continue
        else:
            break
        while done[i] < folds and not (best is not None and worse(table, complete, best, i, done[i])):
            done[i] += 1
            if not alone:
                break
        complete += [i] if done[i] == folds else []
        waits += [i] if not alone and done[i] < folds else []
    return done


def first(table: Any, waits: Sequence[int], done: Sequence[int]) -> tuple[int, bool]:
    """Which row is resumed if none is complete, and whether no other is as good: round by round among the best."""
    group = list(waits)
    for n in range(1, table.shape[1]):
        means = [round(table[i][:n].mean(), 9) for i in group]
        group = [i for i, mean in zip(group, means, strict=True) if mean == min(means)]
        behind = [i for i in group if done[i] == n]
        if len(group) == 1 or behind:
            return min(behind or group), len(group) == 1
    raise AssertionError("Somebody did all folds.")


def forgiving(table: Any, complete: Any, best: int, i: int, done: int) -> bool:
    return bool(table[i][:done].mean() > table[best].max() + 1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("wait", [1, 4, 50])
@pytest.mark.parametrize("digits", [9, 1, 0])
def test_studies_race_as_by_hand(seed: int, wait: int, digits: int) -> None:
    """With one digit or none after the point there are many ties."""
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 1, (14, 1)) + rng.normal(0, 0.3, (1, 5)) + rng.normal(0, 0.3, (14, 5))
    table = table.round(digits)
    study = raced(table, Folds(test="forgiving", waiting=wait))
    assert [len(trial.reports) for trial in study.trials] == by_hand(table, wait, forgiving)
    states = {trial.state for trial in study.trials}
    assert states == {State.COMPLETE, State.STOPPED} or (digits == 0 and states == {State.COMPLETE})
    assert not verify(study.store, study.name, default_plugins(), sampler=Rows(), rules=study.named_rules).differences


@pytest.mark.parametrize("at", [[1], [9], [15], [17], [4, 16]])
def test_a_race_that_was_interrupted_ends_the_same(at: list[int]) -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(0, 1, (14, 1)) + rng.normal(0, 0.3, (14, 5))
    whole, parts = raced(table, Folds(waiting=6)), raced(table, Folds(waiting=6), at)
    assert sum(trial.attempt for trial in parts.trials) > sum(trial.attempt for trial in whole.trials)
    for one, other in zip(whole.trials, parts.trials, strict=True):
        assert (one.params, one.state, one.value, one.reason) == (other.params, other.state, other.value, other.reason)
        assert [r.value for r in one.reports] == [r.value for r in other.reports]


@pytest.mark.parametrize(("share", "most_fits", "most_given_up"), [(0.1, 0.5, 0.01), (0.25, 1 / 3, 0.0125)])
def test_racing_fits_less_and_gives_up_little(share: float, most_fits: float, most_given_up: float) -> None:
    """Ten times twenty candidates, differences within and beyond the noise; a larger share trades one for the other.

    The standard error of a mean is 0.01; whoever takes the best of the first fold gives up 0.0038, and 0.015 once.
    """
    fits, given_up = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        table = rng.exponential(0.05, (20, 1)) + rng.normal(0, 0.02, (1, 5)) + rng.normal(0, 0.01, (20, 5))
        study = raced(table, Folds(share=share))
        assert study.best is not None
        assert study.best.value is not None
        fits.append(sum(len(trial.reports) for trial in study.trials) / table.size)
        given_up.append(study.best.value - table.mean(axis=1).min())
    assert np.mean(fits) < most_fits
    assert max(given_up) < most_given_up
    assert np.mean(given_up) < 0.002


def test_paused_trials_of_an_invalid_incumbent_are_not_lost() -> None:
    history = waiting(0.5, 0.3, complete=[0.1] * 5)
    assert set(Folds().retire(history)) == {0, 1}
    history.apply(events.invalidated(9.0, 2, "a bug"))
    assert Folds().retire(history) == {}
    history.closing = True
    assert Folds().promote(history) == 1


def test_trials_that_another_rule_paused_do_not_count_as_waiting() -> None:
    history = study_of([[0.1], [0.5, 0.6], [0.2] * 5], [WAITS, Pause("is behind"), 0.2])
    assert Folds().promote(history) == 0
    assert Folds().retire(history) == {}


def test_without_waiting_trials_that_another_rule_paused_are_ignored() -> None:
    history = waiting(0.5, 0.9, complete=[0.1] * 5)
    history.closing = True
    assert Folds(waiting=0).promote(history) is None
    assert Folds(waiting=0).retire(history) == {}
