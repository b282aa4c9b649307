"""The surrogate: log expected improvement, mean and variance, encoding, and the training data."""

from __future__ import annotations

import itertools
import math
from typing import Any

import mpmath  # type: ignore[import-untyped] # ships no types
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from hpt_core import Categorical, Failure, Float, Int, Space
from hpt_core.components import Pause, Stop
from hpt_core.testing import make_history
from hpt_core.testing.strategies import spaces
from hpt_sampler_forest.model import Encoder, Forest, log_expected_improvement, tree_sizes
from hpt_sampler_forest.observations import half_rank, observe

TREE = Space({"m": Categorical("a", "b"), "x": Float(0, 1, when={"m": "a"}), "n": Int(0, 3)})


@pytest.mark.parametrize(
    "u", [40.0, 30.0, 5.0, 1.0, 0.0, -0.999, -1.001, -5.0, -25.0, -49.9, -50.1, -100.0, -1e3, -1e5]
)
@pytest.mark.parametrize("sd", [1.0, 0.02])
def test_log_expected_improvement_equals_mpmath(u: float, sd: float) -> None:
    with mpmath.workdps(80):
        v = mpmath.mpf(u)
        phi = mpmath.exp(-v * v / 2) / mpmath.sqrt(2 * mpmath.pi)
        below = mpmath.erfc(-v / mpmath.sqrt(2)) / 2
        expected = float(mpmath.log(mpmath.mpf(sd)) + _log_h(v, phi, below))
    found = log_expected_improvement(u * sd, np.array([0.0]), np.array([sd**2]))[0]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def _log_h(v: mpmath.mpf, phi: mpmath.mpf, below: mpmath.mpf) -> mpmath.mpf:
    if v > -100:
        return mpmath.log(phi + v * below)
    q = 1 / (v * v)  # 80 digits do not suffice for the sum, while the series converges fast here
    return mpmath.log(phi) + mpmath.log(q * (1 - 3 * q + 15 * q**2 - 105 * q**3 + 945 * q**4))


def test_log_expected_improvement_equals_simulation() -> None:
    drawn = np.random.default_rng(0).normal(0.3, 0.5, 400_000)
    found = log_expected_improvement(0.1, np.array([0.3]), np.array([0.25]))[0]
    assert math.exp(found) == pytest.approx(np.maximum(0.1 - drawn, 0.0).mean(), rel=0.01)


def test_mean_and_variance_are_those_of_a_mixture_of_leaves() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((60, 3)), rng.normal(size=60)
    forest = Forest.fit(x, y, 7, rng)
    asked = rng.random((11, 3))
    mean, variance = forest.predict(asked)
    np.testing.assert_allclose(mean, forest.forest.predict(asked), atol=1e-12)
    each = np.array([tree.predict(asked) for tree in forest.forest.estimators_])
    inside = np.array([tree.tree_.impurity[tree.apply(asked)] for tree in forest.forest.estimators_])
    np.testing.assert_allclose(variance, each.var(axis=0) + inside.mean(axis=0), atol=1e-12)


@given(st.integers(1, 1200), st.integers(1, 80))
def test_trees_of_an_ordinary_size_use_all_rows_and_four_fifths_of_the_columns(n: int, p: int) -> None:
    assert tree_sizes(n, p) == (n, max(1, int(0.8 * p)))


@given(st.integers(1, 10**7), st.integers(1, 10**6))
def test_a_level_of_a_tree_searches_a_bounded_number_of_cells(n: int, p: int) -> None:
    rows, columns = tree_sizes(n, p)
    assert 1 <= rows <= n
    assert 1 <= columns <= p
    assert rows * columns <= 80_000


def test_a_wide_forest_is_fitted_with_the_bounded_sizes() -> None:
    rng = np.random.default_rng(1)
    forest = Forest.fit(rng.random((1200, 125)), rng.random(1200), 2, rng)
    for tree in forest.forest.estimators_:
        assert tree.tree_.weighted_n_node_samples[0] == 1000
        assert tree.max_features_ == 80


def test_the_encoding_equals_a_worked_example() -> None:
    encoder = Encoder.of(TREE)
    rows = encoder.encode(TREE.to_unit([{"m": "a", "x": 0.25, "n": 0}, {"m": "b", "n": 3}]))
    np.testing.assert_allclose(rows, [[1, 0, 0.25, 0.125], [0, 1, -1, 0.875]], atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(spaces(max_size=6), st.integers(0, 2**32 - 1))
def test_different_configurations_have_different_encodings(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = {space.key(params): params for params in (space.sample(rng) for _ in range(12))}
    rows = Encoder.of(space).encode(space.to_unit(list(points.values())))
    assert np.isfinite(rows).all()
    assert len(np.unique(rows, axis=0)) == len(points)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30))
def test_half_rank_losses_keep_their_order(losses: list[float]) -> None:
    given_ = np.array(losses)
    found = half_rank(given_)
    order = np.argsort(given_, kind="stable")
    assert (np.diff(found[order]) >= -1e-12).all()
    assert found[np.argmin(given_)] == found.min()


def test_half_rank_losses_equal_a_worked_example() -> None:
    """The better ones are 4, 1, 0 and 0 below the median. The other three have two values."""
    losses = np.array([1.0, 4.0, 5.0, 5.0, 7.0, 99.0, 99.0])
    better, worse = np.array([-4.0, -1.0, 0.0, 0.0]) / math.sqrt(17 / 4), norm.ppf([2 / 3, 5 / 6, 5 / 6])
    np.testing.assert_allclose(half_rank(losses), np.append(better, worse), atol=1e-12)


def test_one_diverged_trial_changes_little() -> None:
    plain = half_rank(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 9.0]))
    np.testing.assert_allclose(half_rank(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 1e30])), plain)
    assert plain.max() < 3


def test_failures_and_stopped_trials() -> None:
    space = Space({"x": Float(0, 1)})
    outcomes = [0.1, 0.5, 0.9, Failure("error", "no"), Stop("bad", value=0.2), Stop("bad", value=0.95)]
    trials = [({"x": (i + 1) / 10}, outcome) for i, outcome in enumerate(outcomes)]
    reports = {4: [0.2], 5: [0.95]}
    seen = observe(make_history(space, trials, reports=reports, running=[{"x": 0.77}]), np.random.default_rng(0))
    assert seen.numbers.tolist() == [0, 1, 2, 4, 5, 3]
    assert seen.pending.tolist() == [6]
    assert seen.results == 5
    assert seen.y[3] == seen.y[1]  # no better than the median result
    assert seen.y[5] == pytest.approx(seen.y[:5].max() + 0.5 * np.ptp(seen.y[:5]))


def test_infeasible_trials_are_worse_than_all_feasible_ones_in_order_of_violation() -> None:
    results = [(0.5, 10.0), (0.0, 50.0), (0.1, 11.0), (0.9, 9.0), (0.7, 10.0), (0.2, 11.0)]
    trials: list[Any] = [({"x": (i + 1) / 10}, {"value": loss, "ms": ms}) for i, (loss, ms) in enumerate(results)]
    history = make_history(
        {"x": Float(0, 1)}, [*trials, ({"x": 0.9}, Failure("error", "no"))], constraints={"ms": "<= 10"}
    )
    y = observe(history, np.random.default_rng(0)).y
    np.testing.assert_array_equal(y[[0, 4, 3]], half_rank(np.array([0.5, 0.7, 0.9])))
    assert y[3] < y[2] == y[5] < y[1] < y[6]


def test_without_a_feasible_trial_only_the_violation_counts() -> None:
    trials = [({"x": (i + 1) / 10}, {"value": -ms, "ms": ms}) for i, ms in enumerate([40.0, 11.0, 90.0, 20.0])]
    y = observe(make_history({"x": Float(0, 1)}, trials, constraints={"ms": "<= 10"}), np.random.default_rng(0)).y
    assert np.argsort(y).tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("outcome", [Stop("bad", value=5.0), Pause("later")])
@pytest.mark.parametrize(("evidence", "loss"), [("curve", 9.0), ("folds", 5.0)])
def test_trials_ended_early_count_with_their_last_loss_or_the_mean_of_their_folds(
    evidence: str, loss: float, outcome: Stop | Pause
) -> None:
    trials = [({"x": (i + 1) / 10}, value) for i, value in enumerate([1.0, 2.0, 6.0, outcome])]
    history = make_history({"x": Float(0, 1)}, trials, reports={3: [1.0, 9.0]}, evidence=evidence)
    y = observe(history, np.random.default_rng(0)).y
    np.testing.assert_array_equal(y, half_rank(np.array([1.0, 2.0, 6.0, loss])))


def test_ties_of_several_objectives_share_a_rank() -> None:
    results = [(1.0, 3.0), (0.0, 5.0), (1.0, 3.0), (2.0, 0.0), (1.0, 3.0)]
    trials = [({"x": (i + 1) / 10}, result) for i, result in enumerate(results)]
    history = make_history({"x": Float(0, 1)}, trials, directions=["minimize", "minimize"])
    for seed in range(5):
        y = observe(history, np.random.default_rng(seed)).y
        assert y[0] == y[2] == y[4]


@pytest.mark.parametrize("seed", range(5))
def test_a_trial_that_another_one_dominates_is_worse_whatever_the_weights(seed: int) -> None:
    results = np.random.default_rng(seed).integers(0, 4, (12, 3)).astype(float)
    trials = [({"x": (i + 1) / 20}, tuple(result)) for i, result in enumerate(results.tolist())]
    history = make_history({"x": Float(0, 1)}, trials, directions=["minimize"] * 3)
    y = observe(history, np.random.default_rng(seed)).y
    for i, j in itertools.permutations(range(len(y)), 2):
        if (results[i] <= results[j]).all() and (results[i] < results[j]).any():
            assert y[i] < y[j]


def test_the_weights_of_several_objectives_are_drawn_anew() -> None:
    """Each result of a convex front is the best under some weights."""
    trials = [
        ({"x": (i + 1) / 10}, result) for i, result in enumerate([(0.0, 4.0), (1.0, 1.0), (4.0, 0.0), (5.0, 5.0)])
    ]
    history, rng = make_history({"x": Float(0, 1)}, trials, directions=["minimize"] * 2), np.random.default_rng(0)
    assert {int(observe(history, rng).y.argmin()) for _ in range(40)} == {0, 1, 2}


def test_a_stopped_trial_without_reports_has_its_value_and_a_paused_one_is_pending() -> None:
    """Those of a program that owns its loop need not have reports."""
    trials = [
        ({"x": (i + 1) / 10}, outcome) for i, outcome in enumerate([1.0, 2.0, Stop("bad", value=5.0), Pause("later")])
    ]
    seen = observe(make_history({"x": Float(0, 1)}, trials), np.random.default_rng(0))
    np.testing.assert_array_equal(seen.y, half_rank(np.array([1.0, 2.0, 5.0])))
    assert seen.pending.tolist() == [3]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("evidence", ["curve", "folds"])
@pytest.mark.parametrize("big", [1.7e308, -1.7e308])
def test_medians_and_means_of_the_largest_floats_do_not_overflow(big: float, evidence: str) -> None:
    trials = [({"x": (i + 1) / 10}, value) for i, value in enumerate([big, big, Stop("bad", value=big)])]
    history = make_history(Space({"x": Float(0, 1)}), trials, reports={2: [big, big]}, evidence=evidence)
    assert observe(history, np.random.default_rng(0)).y.tolist() == [0.0, 0.0, 0.0]


def test_the_largest_floats_do_not_overflow() -> None:
    trials = [({"x": (i + 1) / 10}, value) for i, value in enumerate([1.7e308, -1.7e308, 0.5, 1.6e308, -1e200])]
    y = observe(make_history({"x": Float(0, 1)}, trials), np.random.default_rng(0)).y
    assert np.isfinite(y).all()
    assert max(y[1], y[4]) < y[2] < min(y[0], y[3])
