"""Importances against closed forms of the variance, and exact marginals against brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeRegressor

from hpt_core import Categorical, Constant, Failure, Float, History, Int, Stop, UsageError
from hpt_core.testing import make_history
from hpt_report_html import importances
from hpt_report_html.importance import _leaves, main_effects

SQUARE = {"a": Float(0, 1), "b": Float(0, 1)}


def sampled(space: Any, function: Any, count: int, **options: Any) -> History:
    rng = np.random.default_rng(1)
    points = [make_history(space).space.sample(rng) for _ in range(count)]
    return make_history(space, [(point, function(point)) for point in points], **options)


def shares(history: History) -> dict[str, float]:
    return {name: found.mean for name, found in importances(history).items()}


def test_importances_of_a_linear_function_are_its_squared_slopes() -> None:
    found = shares(sampled(SQUARE | {"c": Float(0, 1)}, lambda p: 3 * p["a"] + p["b"], 500))
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == pytest.approx(0.9, abs=0.05)
    assert found["b"] == pytest.approx(0.1, abs=0.04)
    assert found["c"] < 0.01


def test_an_interaction_counts_for_neither_parameter() -> None:
    found = shares(sampled(SQUARE, lambda p: (p["a"] - 0.5) * (p["b"] - 0.5), 500))
    assert sum(found.values()) < 0.2  # of a pure interaction no parameter explains anything alone


def test_importances_of_the_ishigami_function() -> None:
    """First-order Sobol indices of Ishigami & Homma's function, a = 7, b = 0.1: 0.314, 0.442 and 0."""

    def ishigami(p: Any) -> float:
        x, y, z = (math.pi * (2 * p[name] - 1) for name in "xyz")
        return float(math.sin(x) + 7 * math.sin(y) ** 2 + 0.1 * z**4 * math.sin(x))

    found = shares(sampled({name: Float(0, 1) for name in "xyz"}, ishigami, 2000))
    assert found["x"] == pytest.approx(0.314, abs=0.05)
    assert found["y"] == pytest.approx(0.442, abs=0.12)  # forests underestimate it; Optuna's does, too
    assert found["z"] < 0.03


def test_the_logarithm_of_a_log_parameter_is_uniform() -> None:
    space = {"lr": Float(1e-6, 1, log=True), "x": Float(0, 1)}
    found = shares(sampled(space, lambda p: math.log10(p["lr"]) / 6 + p["x"], 500))
    assert found["lr"] == pytest.approx(0.5, abs=0.08)


def test_choices_have_equal_shares_of_the_space() -> None:
    # 3 choices with values 0, 0, 3: variance 2; an int from 0 to 1: values 0 and 1, variance 1/4
    space = {"c": Categorical("r", "s", "t"), "i": Int(0, 1)}
    found = shares(sampled(space, lambda p: 3 * (p["c"] == "t") + p["i"], 300))
    assert found["c"] == pytest.approx(2 / 2.25, abs=0.02)
    assert found["i"] == pytest.approx(0.25 / 2.25, abs=0.02)


def test_an_inactive_parameter_has_no_effect_in_the_other_branches() -> None:
    # half of the space is 1 + 3 u, half is 0. Variances: the whole 1.9375, of m 1.5625, of u's marginal 9/48
    space = {"m": Categorical("on", "off"), "u": Float(0, 1, when={"m": "on"})}
    found = shares(sampled(space, lambda p: 1 + 3 * p["u"] if p["m"] == "on" else 0, 600))
    assert found["m"] == pytest.approx(1.5625 / 1.9375, abs=0.04)
    assert found["u"] == pytest.approx(0.1875 / 1.9375, abs=0.03)


def test_the_effect_of_a_condition_does_not_count_for_the_conditional_parameter() -> None:
    # the loss is 1 for "on", whatever u is. Whether u is active tells as much as m does, and must not count for u
    space = {"m": Categorical("p", "on", "q", "r"), "u": Float(0, 1, when={"m": "on"})}
    found = shares(sampled(space, lambda p: float(p["m"] == "on"), 200))
    assert found == pytest.approx({"m": 1.0, "u": 0.0}, abs=0.05)


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 12))
@settings(max_examples=50)
def test_main_effects_of_boxes_equal_brute_force(seed: int, d: int, cuts: int) -> None:
    """Compares with an analysis of variance of the same function on the grid of all edges."""
    rng = np.random.default_rng(seed)
    low, high = np.zeros((1, d)), np.ones((1, d))
    for _ in range(cuts):  # split a box at random, as a tree does
        i, j = int(rng.integers(len(low))), int(rng.integers(d))
        at = rng.uniform(low[i, j], high[i, j])
        low, high = np.vstack([low, low[i]]), np.vstack([high, high[i]])
        high[i, j] = low[-1, j] = at
    v = rng.normal(size=len(low))

    edges = [np.unique(np.concatenate([low[:, j], high[:, j]])) for j in range(d)]
    centres = np.meshgrid(*[(e[1:] + e[:-1]) / 2 for e in edges], indexing="ij")
    widths = np.meshgrid(*[np.diff(e) for e in edges], indexing="ij")
    inside = np.ones((*centres[0].shape, len(low)), dtype=bool)
    for j in range(d):
        inside &= (centres[j][..., None] >= low[:, j]) & (centres[j][..., None] <= high[:, j])
    values, volume = v[inside.argmax(axis=-1)], np.prod(widths, axis=0)
    mean = (values * volume).sum()
    for j in range(d):
        others = tuple(k for k in range(d) if k != j)
        side = np.diff(edges[j])
        marginal = (values * volume).sum(axis=others) / side
        assert main_effects(low, high, v)[j] == pytest.approx((side * (marginal - mean) ** 2).sum(), abs=1e-10)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_main_effects_of_a_tree_equal_those_of_its_predictions(d: int) -> None:
    """Compares with the tree's own predictions on the grid of all thresholds."""
    rng = np.random.default_rng(d)
    x = rng.random((40, d))
    tree: Any = DecisionTreeRegressor(random_state=0).fit(x, rng.normal(size=40))
    thresholds, feature = tree.tree_.threshold, tree.tree_.feature
    edges = [np.unique([0.0, 1.0, *thresholds[feature == j]]) for j in range(d)]
    centres = np.meshgrid(*[(e[1:] + e[:-1]) / 2 for e in edges], indexing="ij")
    values = tree.predict(np.stack(centres, axis=-1).reshape(-1, d)).reshape(centres[0].shape)
    widths = [np.diff(e) for e in edges]
    mean = values
    for width in reversed(widths):
        mean = mean @ width
    expected = []
    for j in range(d):
        marginal = np.moveaxis(values, j, 0)
        for k in reversed([k for k in range(d) if k != j]):
            marginal = marginal @ widths[k]
        expected.append(widths[j] @ (marginal - mean) ** 2)
    assert main_effects(*_leaves(tree.tree_, d)) == pytest.approx(expected, abs=1e-10)


def test_the_order_of_parameters_does_not_matter() -> None:
    history = sampled(SQUARE | {"c": Float(0, 1)}, lambda p: 3 * p["a"] + 2 * p["b"] ** 2 + p["c"] * p["a"], 400)
    other = make_history(
        {"c": Float(0, 1), "b": Float(0, 1), "a": Float(0, 1)}, [(t.params, t.value) for t in history.trials]
    )
    assert shares(other) == pytest.approx(shares(history), abs=0.02)


def test_the_order_of_choices_does_not_matter() -> None:
    # of six choices of effects 0 to 5, variance 35/12, beside 5 x, variance 25/12
    effects = dict(zip("uvwxyz", range(6), strict=True))
    for choices in ("uvwxyz", "zxvywu"):
        space = {"choice": Categorical(*choices), "x": Float(0, 1)}
        found = shares(sampled(space, lambda p: effects[p["choice"]] + 5 * p["x"], 600))
        assert found["choice"] == pytest.approx(35 / 60, abs=0.05)


def test_only_complete_trials_count() -> None:
    history = sampled(SQUARE, lambda p: p["a"], 60)
    points = [(trial.params, trial.value) for trial in history.trials]
    others = [({"a": 0.1, "b": b}, end) for b in (0.1, 0.9) for end in (Failure("error", ""), Stop("late", {}, 99.0))]
    assert importances(make_history(SQUARE, [*points, *others])) == importances(history)


@pytest.mark.parametrize(("offset", "unit"), [(1e9, 1.0), (0.0, 1e-200), (0.0, 1e200)])
def test_offset_and_unit_of_the_objective_do_not_matter(offset: float, unit: float) -> None:
    found = shares(sampled(SQUARE, lambda p: offset + unit * (3 * p["a"] + p["b"]), 200))
    assert found == pytest.approx({"a": 0.9, "b": 0.1}, abs=0.06)


def test_a_diverged_trial_is_clipped_if_most_losses_are_equal() -> None:
    history = sampled(SQUARE, lambda p: max(p["a"] - 0.8, 0.0), 200)
    points = [(trial.params, trial.value) for trial in history.trials]
    points[0] = ({"a": 0.5, "b": 0.123}, 1e9)
    assert next(iter(shares(make_history(SQUARE, points)))) == "a"
    assert shares(make_history(SQUARE, points))["a"] > 0.5


@pytest.mark.parametrize(
    ("space", "point"),
    [
        ({"c": Constant(1)}, {"c": 1}),
        (SQUARE, {"a": 0.5, "b": 0.5}),
        ({"m": Categorical("on", "off"), "u": Float(0, 1, when={"m": "on"})}, {"m": "off"}),
    ],
)
def test_a_single_configuration_is_refused(space: Any, point: Any) -> None:
    history = make_history(space, [(point, float(n)) for n in range(20)])
    with pytest.raises(UsageError, match="the same configuration"):
        importances(history)


def test_points_closer_than_rounding_have_importance_zero() -> None:
    history = make_history({"a": Float(0, 1)}, [({"a": 0.5 + n * 1e-10}, float(n)) for n in range(20)])
    assert shares(history) == {"a": 0.0}


def test_more_than_two_thousand_trials_are_subsampled() -> None:
    found = shares(sampled(SQUARE, lambda p: 3 * p["a"] + p["b"], 2500))
    assert found == pytest.approx({"a": 0.9, "b": 0.1}, abs=0.04)


def test_one_diverged_trial_does_not_dominate() -> None:
    history = sampled(SQUARE, lambda p: p["a"], 100)
    points = [(trial.params, trial.value) for trial in history.trials]
    points[0] = ({"a": 0.5, "b": 0.123}, 1e9)
    assert shares(make_history(SQUARE, points))["a"] > 0.8


def test_early_trials_still_count_after_the_search_has_converged() -> None:
    rng = np.random.default_rng(0)
    # 40 trials anywhere, and 160 in the best corner, where b makes nearly all the difference
    points = [*rng.random((40, 2)).tolist(), *(rng.random((160, 2)) * (1e-4, 1e-2)).tolist()]
    found = shares(make_history(SQUARE, [({"a": a, "b": b}, 3 * a + b) for a, b in points]))
    assert found == pytest.approx({"a": 0.9, "b": 0.1}, abs=0.1)


def test_importances_are_deterministic_and_independent_of_the_unit() -> None:
    history = sampled(SQUARE, lambda p: p["a"] + 0.3 * p["b"], 60)
    assert importances(history) == importances(history)
    scaled = make_history(SQUARE, [(t.params, 4.0 * (t.value or 0.0)) for t in history.trials])
    assert shares(scaled) == pytest.approx(shares(history))


def test_the_objective_is_chosen_by_name() -> None:
    history = sampled(SQUARE, lambda p: (p["a"], p["b"]), 100, directions=("minimize", "maximize"))
    assert next(iter(importances(history))) == "a"
    assert next(iter(importances(history, "value1"))) == "b"
    with pytest.raises(UsageError, match=r"no objective 'valu'\. It has: value0, value1"):
        importances(history, "valu")


@pytest.mark.parametrize(
    ("count", "value", "message"), [(9, None, "need 10 complete trials; the study has 9"), (20, 1.0, "the same value")]
)
def test_too_few_trials_or_equal_values_are_refused(count: int, value: float | None, message: str) -> None:
    history = sampled(SQUARE, lambda p: p["a"] if value is None else value, count)
    with pytest.raises(UsageError, match=message):
        importances(history)
