"""Importances against closed forms of the variance, and exact marginals against brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import Categorical, Float, History, Int, UsageError
from hpt_core.testing import make_history
from hpt_report_html import importances
from hpt_report_html.importance import main_effects

SQUARE = {"a": Float(0, 1), "b": Float(0, 1)}


def sampled(space: Any, function: Any, count: int, **options: Any) -> History:
    rng = np.random.default_rng(1)
    points = [make_history(space).space.sample(rng) for _ in range(count)]
    return make_history(space, [(point, function(point)) for point in points], **options)


def shares(history: History) -> dict[str, float]:
    return {name: found.mean for name, found in importances(history).items()}


def test_a_linear_function_is_shared_out_by_its_squared_slopes() -> None:
    found = shares(sampled(SQUARE | {"c": Float(0, 1)}, lambda p: 3 * p["a"] + p["b"], 500))
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == pytest.approx(0.9, abs=0.05)
    assert found["b"] == pytest.approx(0.1, abs=0.04)
    assert found["c"] < 0.01


def test_what_parameters_do_together_belongs_to_neither() -> None:
    found = shares(sampled(SQUARE, lambda p: (p["a"] - 0.5) * (p["b"] - 0.5), 500))
    assert sum(found.values()) < 0.2  # of a pure interaction no parameter explains anything alone


def test_ishigami() -> None:
    """First-order Sobol indices of Ishigami & Homma's function, a = 7, b = 0.1: 0.314, 0.442 and 0."""

    def ishigami(p: Any) -> float:
        x, y, z = (math.pi * (2 * p[name] - 1) for name in "xyz")
        return float(math.sin(x) + 7 * math.sin(y) ** 2 + 0.1 * z**4 * math.sin(x))

    found = shares(sampled({name: Float(0, 1) for name in "xyz"}, ishigami, 2000))
    assert found["x"] == pytest.approx(0.314, abs=0.1)
    assert found["y"] == pytest.approx(0.442, abs=0.1)
    assert found["z"] < 0.03


def test_a_log_parameter_counts_in_its_logarithm() -> None:
    space = {"lr": Float(1e-6, 1, log=True), "x": Float(0, 1)}
    found = shares(sampled(space, lambda p: math.log10(p["lr"]) / 6 + p["x"], 500))
    assert found["lr"] == pytest.approx(0.5, abs=0.08)


def test_choices_take_equal_shares_of_the_space() -> None:
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


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 12))
@settings(max_examples=50)
def test_marginals_of_boxes_are_exact(seed: int, d: int, cuts: int) -> None:
    """Against the analysis of variance of the same function on the grid of all its edges."""
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


def test_one_diverged_trial_is_not_all_there_is() -> None:
    history = sampled(SQUARE, lambda p: p["a"], 100)
    points = [(trial.params, trial.value) for trial in history.trials]
    points[0] = ({"a": 0.5, "b": 0.123}, 1e9)
    assert shares(make_history(SQUARE, points))["a"] > 0.8


def test_it_is_the_same_each_time_and_the_unit_of_the_objective_is_none_of_its_business() -> None:
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
def test_it_says_what_is_missing(count: int, value: float | None, message: str) -> None:
    history = sampled(SQUARE, lambda p: p["a"] if value is None else value, count)
    with pytest.raises(UsageError, match=message):
        importances(history)
