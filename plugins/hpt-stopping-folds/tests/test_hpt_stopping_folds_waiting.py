"""The first trials wait for each other: who goes on, who is retired, and what becomes of it in whole studies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from scipy.stats import norm

from hpt_core import Float, History, Params, Pause, Space, State, Stop, Study, events
from hpt_core.plugins import default_plugins
from hpt_core.testing import make_history
from hpt_core.verify import verify
from hpt_stopping_folds.folds import Folds

SPACE = Space({"x": Float(0, 1)})


def study_of(folds: Sequence[Sequence[float]], outcomes: Sequence[Any], **options: Any) -> History:
    points = [{"x": i / 100} for i in range(len(folds))]
    options = {"evidence": "folds", "steps": 5, "resumable": True, **options}
    return make_history(SPACE, list(zip(points, outcomes, strict=True)), reports=dict(enumerate(folds)), **options)


def waiting(*firsts: float, complete: Sequence[float] | None = None) -> History:
    """Trials that wait after their first fold; the last one is complete where ``complete`` has its folds."""
    folds: list[Sequence[float]] = [[first] for first in firsts]
    outcomes: list[Any] = [Pause("waits") for _ in firsts]
    if complete is not None:
        folds, outcomes = [*folds, complete], [*outcomes, float(np.mean(complete))]
    return study_of(folds, outcomes)


def test_a_trial_waits_after_its_first_fold_where_nobody_is_complete() -> None:
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


def test_the_best_goes_on_when_enough_wait_or_nobody_else_will_come() -> None:
    history = waiting(0.5, 0.2, 0.4)
    assert Folds(waiting=4).promote(history) is None
    assert Folds(waiting=3).promote(history) == 1
    history.closing = True
    assert Folds(waiting=4).promote(history) == 1


def test_with_an_incumbent_all_that_wait_go_on_or_are_retired() -> None:
    """0.2 would tie with it, 0.5 is hopeless."""
    history = waiting(0.5, 0.2, complete=[0.2, 0.3, 0.2, 0.3, 0.2])
    retired = Folds().retire(history)
    assert list(retired) == [0]
    assert retired[0].reason.startswith("value is worse than that of trial 2 on 1 folds and expected to gain")
    assert Folds().promote(history) == 1
    assert Folds().retire(waiting(0.5, 0.2)) == {}


def test_the_gain_by_hand() -> None:
    """Two of five folds; one other complete trial, whose differences tell how much they vary."""
    best, other, now = [0.20, 0.30, 0.25, 0.25, 0.20], [0.25, 0.30, 0.30, 0.35, 0.20], [0.22, 0.33]
    history = study_of([best, other, now], [0.24, 0.28, None])
    own, d1, d2 = np.var(best, ddof=1), np.var(np.subtract(other, best), ddof=1), np.var([0.02, 0.03], ddof=1)
    variance = (4 * own + 4 * d1 + 1 * d2) / (4 + 4 + 1)
    sd = math.sqrt(variance * (1 / 2 - 1 / 5))
    gain = norm.expect(lambda x: max(0.0, x), loc=-0.025, scale=sd)
    limit = math.sqrt(max(own, variance) / 5)
    share = gain / limit
    assert Folds(share=0.99 * share).judge_trial(history, history.trials[2]) is None
    stop = Folds(share=1.01 * share).judge_trial(history, history.trials[2])
    assert isinstance(stop, Stop)
    assert stop.evidence["gain"] == pytest.approx(gain, rel=1e-6)
    assert stop.evidence["limit"] == pytest.approx(1.01 * gain, rel=1e-6)


def test_a_perfect_incumbent_lets_ties_go_on_and_nothing_worse() -> None:
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
    """A study of one candidate per row of a table; it is interrupted before these fits and goes on."""
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
    """How many folds each row gets: all wait after one; then the best goes on until it is worse or through."""
    count, folds = table.shape
    complete: list[int] = []
    waits: list[int] = []
    done, new = [0] * count, list(range(count))
    while new or waits:
        best = min(complete, key=lambda i: (table[i].mean(), i), default=None)
        waits = [i for i in waits if best is None or not worse(table, complete, best, i, done[i])]
        if waits and (best is not None or len(waits) >= wait or not new):
            base = np.zeros(folds) if best is None else table[best]
            i = min(waits, key=lambda i: (np.mean(table[i][: done[i]] - base[: done[i]]), i))
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
        complete += [i] if done[i] == folds else []
    return done


def forgiving(table: Any, complete: Any, best: int, i: int, done: int) -> bool:
    return bool(table[i][:done].mean() > table[best].max() + 1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("wait", [1, 4, 50])
def test_studies_race_as_by_hand(seed: int, wait: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 1, (14, 1)) + rng.normal(0, 0.3, (1, 5)) + rng.normal(0, 0.3, (14, 5))
    study = raced(table, Folds(test="forgiving", waiting=wait))
    assert [len(trial.reports) for trial in study.trials] == by_hand(table, wait, forgiving)
    assert {trial.state for trial in study.trials} == {State.COMPLETE, State.STOPPED}
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


def test_racing_fits_less_and_gives_up_little() -> None:
    """Ten times twenty candidates, differences within and beyond the noise: fewer than half of all fits."""
    fits, given_up = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        table = rng.exponential(0.05, (20, 1)) + rng.normal(0, 0.02, (1, 5)) + rng.normal(0, 0.01, (20, 5))
        study = raced(table, Folds())
        assert study.best is not None
        assert study.best.value is not None
        fits.append(sum(len(trial.reports) for trial in study.trials) / table.size)
        given_up.append(study.best.value - table.mean(axis=1).min())
    assert np.mean(fits) < 0.5
    assert max(given_up) < 0.01
    assert np.mean(given_up) < 0.002


def test_paused_trials_of_an_invalid_incumbent_are_not_lost() -> None:
    history = waiting(0.5, 0.3, complete=[0.1] * 5)
    assert set(Folds().retire(history)) == {0, 1}
    history.apply(events.invalidated(9.0, 2, "a bug"))
    assert Folds().retire(history) == {}
    history.closing = True
    assert Folds().promote(history) == 1


def test_where_none_waits_what_another_rule_paused_is_left_alone() -> None:
    history = waiting(0.5, 0.9, complete=[0.1] * 5)
    history.closing = True
    assert Folds(waiting=0).promote(history) is None
    assert Folds(waiting=0).retire(history) == {}
