"""The portfolio: credit, probabilities of the parts, invariance to scale, and replays."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest

from hpt_core import Failure, Float, History, Params, SpaceExhausted, Study, UsageError
from hpt_core.components import Stop
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_sampler_compose.credit import credit, rank_credit, shares
from hpt_sampler_compose.parts import Part
from hpt_sampler_compose.portfolio import PortfolioSampler

if TYPE_CHECKING:
    from numpy.random import Generator

SPACE = {"x": Float(0, 1)}


@attrs.define(kw_only=True)
class RangeSampler:
    """Draws from a part of the space."""

    low: float = 0.0
    high: float = 1.0
    has: int | None = None

    def suggest(self, history: History, rng: Generator) -> Params:
        if self.has is not None and len(history.trials) >= self.has:
            raise SpaceExhausted
        return {"x": float(rng.uniform(self.low, self.high))}


def portfolio(**options: Any) -> PortfolioSampler:
    parts = [Part(sampler=RangeSampler(high=0.5), name="good"), Part(sampler=RangeSampler(low=0.5), name="poor")]
    return PortfolioSampler(samplers=options.pop("samplers", parts), **options)


def the_x(params: Params) -> float:
    return float(params["x"])


def run(sampler: Any, trials: int, function: Any = the_x, **settings: Any) -> Study:
    study = Study(SPACE, sampler=sampler, seed=settings.pop("seed", 1), **settings)
    study.run(function, trials=trials)
    return study


losses = st.integers(1, 3).flatmap(
    lambda m: arrays(float, st.tuples(st.integers(1, 12), st.just(m)), elements=st.sampled_from([0.0, 1, 2, 3, np.nan]))
)


@given(arrays(float, st.tuples(st.integers(0, 30), st.just(2)), elements=st.sampled_from([0.0, 1.0, 2.5, np.inf])))
def test_credit_of_two_objectives_is_by_the_number_of_dominating_trials(losses: Any) -> None:
    dominators = [sum((other <= row).all() and (other < row).any() for other in losses) for row in losses]
    np.testing.assert_array_equal(rank_credit(losses, 1.0), [1.0 - count / len(losses) for count in dominators])


@given(losses, st.floats(0.05, 1))
def test_credit_decreases_with_rank(found: Any, top: float) -> None:
    n = len(found)
    for row, value in zip(found, rank_credit(found, top), strict=True):
        if np.isnan(row).any():
            assert value == 0
            continue
        others = [other for other in found if not np.isnan(other).any()]
        better = sum(all(o <= r for o, r in zip(other, row, strict=True)) and any(other < row) for other in others)
        assert value == pytest.approx(max(0.0, 1 - better / (top * n)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0, 1))
def test_shares_are_probabilities_with_a_floor(means: list[float], least: float) -> None:
    found = shares(means, least)
    assert sum(found) == pytest.approx(1.0)
    assert all(share >= least / len(means) - 1e-12 for share in found)


@pytest.mark.parametrize("ended", [Failure("error", "no"), Stop("enough", value=0.0)])
def test_mean_credit_equals_a_worked_example(ended: Failure | Stop) -> None:
    study = Study(SPACE, sampler="random", seed=0)
    for result in (3.0, 1.0, ended, 2.0):
        study.tell(study.ask(), result)
    study.ask()
    # ranks 2, 0, -, 1 of n = 4 with top = 1 give 0.5, 1, 0, 0.75; weights with half life 1 are 1/8, 1/4, 1/2, 1
    average = (0.5 / 8 + 1.0 / 4 + 0.75) / 1.875
    first, second, unused = credit(study.history, [0, 1, 1, 0, 1], 3, 1.0, 1.0)
    assert first == pytest.approx((0.5 / 8 + 0.75 + average) / (1.125 + 1))
    assert second == pytest.approx((1.0 / 4 + average) / (0.75 + 1))
    assert unused == pytest.approx(average)


def test_an_infeasible_trial_ranks_behind_all_feasible_ones() -> None:
    study = Study(SPACE, sampler="random", seed=0, constraints={"ms": "<= 50"})
    for value, ms in ((3.0, 10.0), (-9.0, 60.0), (-1e9, 99.0), (7.0, 50.0), (8.0, 75.0)):
        study.tell(study.ask(), {"value": value, "ms": ms})
    study.tell(study.ask(), Failure("error", "no"))
    # ranks 0, 2, 4, 1, 3, - of n = 6 with top = 1
    found = [credit(study.history, [0 if i == n else 1 for i in range(6)], 2, 1.0, 1e9)[0] for n in range(6)]
    gained = [1.0, 4 / 6, 2 / 6, 5 / 6, 3 / 6, 0.0]
    average = sum(gained) / 6
    assert found == pytest.approx([(mine + average) / 2 for mine in gained])


def test_the_better_sampler_gets_most_of_the_budget() -> None:
    counts = Counter(trial.source for trial in run(portfolio(), 80).trials)
    assert counts["good"] > 3 * counts["poor"]
    assert counts["poor"] >= 3


def test_it_switches_to_a_sampler_that_becomes_better() -> None:
    study = run(portfolio(), 160, lambda params, trial: params["x"] if trial.number < 40 else -params["x"])
    assert Counter(t.source for t in study.trials[3:40]).most_common(1)[0][0] == "good"
    assert Counter(t.source for t in study.trials[100:]).most_common(1)[0][0] == "poor"


def test_parts_are_drawn_with_the_recorded_probabilities() -> None:
    study = run(portfolio(least=1.0, start=0), 300)
    assert all(trial.info["shares"] == {"good": 0.5, "poor": 0.5} for trial in study.trials)
    chosen = sum(trial.source == "good" for trial in study.trials)
    assert binomtest(chosen, 300, 0.5).pvalue > 1e-3


def test_the_recorded_probabilities_are_the_shares_of_the_options() -> None:
    sampler = portfolio(top=0.9, half_life=2.0, least=0.3)
    history = run(sampler, 12).history
    owner = [("good", "poor").index(trial.source) for trial in history.trials]
    expected = shares(credit(history, owner, 2, 0.9, 2.0), 0.3)
    recorded = sampler.suggest(history, np.random.default_rng(0)).info["shares"]
    assert list(recorded.values()) == pytest.approx(expected, abs=1e-6)


def test_only_the_order_of_results_matters() -> None:
    plain = run(portfolio(), 40)
    other = run(portfolio(), 40, lambda params: -np.exp(9 * params["x"]), objective="maximize")
    assert [t.params for t in plain.trials] == [t.params for t in other.trials]
    assert [t.info for t in plain.trials] == [t.info for t in other.trials]


def test_each_sampler_gets_its_initial_trials_in_turn() -> None:
    study = Study(SPACE, sampler=portfolio(start=2), seed=0)
    assert [study.ask().source for _ in range(4)] == ["good", "poor", "good", "poor"]  # running trials count


def test_limits_and_exhaustion_are_respected() -> None:
    parts = [Part(sampler=RangeSampler(has=6), name="short"), Part(sampler=RangeSampler(), name="few", trials=4)]
    study = run(portfolio(samplers=parts), 20)
    counts = Counter(trial.source for trial in study.trials)
    assert counts["few"] == 4
    assert len(study.trials) <= 10
    assert study.stop_reason == "space exhausted: every sampler of the portfolio is exhausted"


def test_several_objectives() -> None:
    def both(params: Params) -> dict[str, float]:
        return {"a": params["x"], "b": params["x"] ** 2}

    study = run(portfolio(), 60, both, objective={"a": "minimize", "b": "minimize"})
    counts = Counter(trial.source for trial in study.trials)
    assert counts["good"] > 2 * counts["poor"]


def test_a_stored_study_can_be_audited_and_resumed() -> None:
    parts = [[{"use": "defaults"}, {"use": "random", "method": "sobol"}], {"use": "random"}]
    spec = {"use": "portfolio", "samplers": parts, "start": 2}
    straight = run(spec, 24)
    study = run(spec, 10)
    study.run(the_x, trials=24)
    assert [(t.params, t.source, t.info) for t in study.trials] == [
        (t.params, t.source, t.info) for t in straight.trials
    ]
    audit = verify(straight.store, straight.name, default_plugins())
    assert audit.differences == []
    assert {trial.source for trial in straight.trials} == {"sequence/defaults", "sequence/random", "random"}


@pytest.mark.parametrize(
    ("options", "path"),
    [({"least": 1.5}, "least"), ({"top": 0}, "top"), ({"half_life": 0}, "half_life"), ({"start": -1}, "start")],
)
def test_bad_options_are_rejected(options: dict[str, float], path: str) -> None:
    with pytest.raises(UsageError) as caught:
        Study(SPACE, sampler={"use": "portfolio", "samplers": ["random"], **options})
    assert caught.value.mistakes[0].path == f"sampler.{path}"


def test_infeasible_trials_rank_by_violation_whatever_the_size_of_losses() -> None:
    study = Study(SPACE, sampler="random", seed=0, constraints={"ms": "<= 50"})
    for value, ms in ((1e17, 10.0), (2.0, 70.0), (1.0, 60.0), (3.0, 80.0)):
        study.tell(study.ask(), {"value": value, "ms": ms})
    found = [credit(study.history, [0 if i == n else 1 for i in range(4)], 2, 1.0, 1e9)[0] for n in range(4)]
    assert sorted(range(4), key=lambda n: -found[n]) == [0, 2, 1, 3]
    assert len(set(found)) == 4
