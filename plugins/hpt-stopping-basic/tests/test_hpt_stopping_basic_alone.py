"""The rules `threshold` and `patience`, by worked examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Float, History, Report, Space, State, Stop, Study, UsageError
from hpt_core.testing import make_history
from hpt_stopping_basic.alone import Patience, Threshold

SPACE = Space({"x": Float(0, 1)})


def judge(rule: Threshold | Patience, reports: Sequence[Any], **options: Any) -> Stop | None:
    history = make_history(SPACE, running=[{"x": 0.5}], reports={0: reports}, **options)
    return rule.judge_trial(history, history.trials[0])


@pytest.mark.parametrize(
    ("reports", "options", "stops"),
    [
        ([], {}, False),
        ([10], {}, False),  # as bad as the limit is not worse
        ([10.1], {}, True),
        ([99, 10], {}, False),  # a curve's last report
        ([9.9], {"directions": ["maximize"]}, True),
        ([10], {"directions": ["maximize"]}, False),
        ([99], {"directions": ["maximize"]}, False),
        ([5, 15], {"evidence": "folds"}, False),  # mean 10
        ([5, 16], {"evidence": "folds"}, True),
    ],
)
def test_a_limit(reports: list[float], options: dict[str, Any], stops: bool) -> None:
    assert (judge(Threshold(limit=10), reports, **options) is not None) == stops


def test_a_limit_applies_from_its_first_step_on() -> None:
    assert judge(Threshold(limit=10, min_step=2), [99]) is None
    stop = judge(Threshold(limit=10, min_step=2), [99, 98])
    assert stop == Stop("value = 98 at step 2 is worse than the limit 10", {"step": 2, "value": 98.0, "limit": 10})


def test_a_limit_on_a_metric() -> None:
    memory = [Report(1, 0.0, {"memory": 5.0})]
    assert judge(Threshold(metric="memory", limit=4), memory) is not None
    assert judge(Threshold(metric="memory", limit=6), memory) is None
    assert judge(Threshold(metric="memory", limit=4, maximize=True), memory) is None
    assert judge(Threshold(metric="memory", limit=6, maximize=True), memory) is not None
    assert judge(Threshold(metric="other", limit=0), memory) is None


FALLING = [10.0, 9, 8, 7, 6, 5]


@pytest.mark.parametrize(
    ("reports", "stops"),
    [
        (FALLING, False),
        ([*FALLING, 5, 5, 5], False),  # the last gain was 4 reports ago
        ([*FALLING, 5, 5, 5, 5], False),
        ([*FALLING, 5, 5, 5, 5, 5], True),
        ([*FALLING, 6, 7, 8, 9, 10], True),
        ([*FALLING, 5, 5, 5, 5, 4.999], True),  # a gain of 0.0002 of the best
        ([*FALLING, 5, 5, 5, 5, 4.99], False),  # 0.002
        ([1, 1, 1, 1, 1], False),  # there is nothing before the last five
        ([1, 1, 1, 1, 1, 1], True),
        ([0, 0, 0, 0, 0, 0], True),
        ([0, 0, 0, 0, 0, -1e-9], False),  # any gain is large against 0
        ([-10, -10, -10, -10, -10, -10.005], True),
        ([-10, -10, -10, -10, -10, -10.02], False),
    ],
)
def test_patience(reports: list[float], stops: bool) -> None:
    assert (judge(Patience(), reports) is not None) == stops
    assert (judge(Patience(), [-r for r in reports], directions=["maximize"]) is not None) == stops


def test_patience_grows_with_the_length_of_a_trial() -> None:
    assert judge(Patience(), [1] * 10, steps=100) is None
    assert judge(Patience(), [1] * 11, steps=100) is not None
    assert judge(Patience(reports=2), [1] * 3, steps=100) is not None


def test_patience_does_not_stop_a_trial_at_its_last_step() -> None:
    assert judge(Patience(reports=2), [1] * 7, steps=8) is not None
    assert judge(Patience(reports=2), [1] * 8, steps=8) is None


def test_patience_does_not_judge_folds() -> None:
    assert judge(Patience(reports=1), [1] * 10, evidence="folds") is None


@given(st.lists(st.floats(0.5, 1), min_size=1, max_size=30), st.integers(1, 5))
def test_a_curve_that_halves_each_time_is_never_stopped(noise: list[float], patience: int) -> None:
    curve = [0.5**i * (0.9 + 0.1 * n) for i, n in enumerate(noise)]
    assert judge(Patience(reports=patience), curve) is None


def test_the_evidence_has_the_compared_values() -> None:
    assert judge(Patience(reports=2, min_gain=0.1), [4, 4.1, 4.5], directions=["maximize"]) is None
    stop = judge(Patience(reports=2, min_gain=0.1), [4, 4.1, 4.2], directions=["maximize"])
    evidence = {"step": 3, "before": 4.0, "since": 4.2}
    assert stop == Stop("no gain of 0.1 in the last 2 reports", evidence, complete=True)


@pytest.mark.parametrize(
    ("rule", "options"), [(Threshold, {}), (Threshold, {"limit": "9"}), (Patience, {"min_gain": -1})]
)
def test_bad_options_are_refused(rule: type, options: dict[str, Any]) -> None:
    with pytest.raises((UsageError, TypeError)):
        rule(**options)


class Uniform:
    def suggest(self, history: History, rng: Any) -> dict[str, Any]:
        return history.space.sample(rng)


def test_a_study_whose_trials_all_converge_has_a_best_one() -> None:
    def train(params: dict[str, Any]) -> Iterator[float]:
        for step in range(1, 50):
            yield params["x"] + 2.0**-step

    study = Study({"x": Float(0, 1)}, sampler=Uniform(), stop=Patience(reports=3), seed=1)
    study.run(train, trials=5)
    assert {trial.state for trial in study.trials} == {State.COMPLETE}
    assert {trial.rule for trial in study.trials} == {"patience"}
    assert study.best is min(study.trials, key=lambda trial: trial.params["x"])
