"""Samples against their distributions in closed form."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hpt_core.space.space import Categorical, Float, Int, Ordinal, Space
from hpt_core.testing.strategies import spaces

N = 20_000
LEVEL = 1e-3  # seeds are fixed; a wrong distribution is far below


def draw(space: Space, n: int = N, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(n)]


def check_counts(values: list[Any], expected: dict[Any, float]) -> None:
    counts = Counter(values)
    assert set(counts) <= set(expected)
    observed = [counts[value] for value in expected]
    share = np.array(list(expected.values()))
    assert stats.chisquare(observed, share / share.sum() * len(values)).pvalue > LEVEL


def test_finite_values_are_equally_likely() -> None:
    space = Space(
        {
            "c": Categorical("a", "b", None),
            "o": Ordinal(1, 2, 4, 8),
            "i": Int(-3, 5),
            "s": Int(0, 20, step=4),
            "f": Float(0, 1, step=0.1),
            "b": [True, False],
        }
    )
    found = draw(space)
    for name, p in space.parameters.items():
        values = [p.value_at(i) for i in range(p.size or 0)]
        check_counts([params[name] for params in found], dict.fromkeys(values, 1.0))


@pytest.mark.parametrize("p", [Int(1, 12, log=True), Int(3, 33, step=5, log=True), Float(0.1, 2, step=0.1, log=True)])
def test_log_values_are_as_likely_as_their_cells_are_wide(p: Int | Float) -> None:
    assert p.size is not None
    assert p.step is not None
    bottom = p.low - min(p.step, p.low) / 2
    edges = [bottom] + [p.value_at(i) + p.step / 2 for i in range(p.size)]
    width = {p.value_at(i): math.log(edges[i + 1] / edges[i]) for i in range(p.size)}
    check_counts([params["p"] for params in draw(Space({"p": p}))], width)


@pytest.mark.parametrize(
    ("p", "law"),
    [
        (Float(-2, 6), stats.uniform(-2, 8)),
        (Float(1e-5, 10, log=True), stats.loguniform(1e-5, 10)),
        (Float(1e-300, 1e300, log=True), stats.loguniform(1e-300, 1e300)),
        (Float(1.0, 1.5, log=True), stats.loguniform(1.0, 1.5)),
    ],
)
def test_floats_follow_their_law(p: Float, law: Any) -> None:
    values = [params["p"] for params in draw(Space({"p": p}))]
    assert stats.kstest(values, law.cdf).pvalue > LEVEL
    assert len(set(values)) == N


def test_a_child_is_uniform_whenever_it_is_active() -> None:
    space = Space({"x": Float(0, 1, when={"m": "b"}), "m": ["a", "b", "c"], "n": Int(1, 4, when={"m": ["a", "b"]})})
    found = draw(space)
    check_counts([params["m"] for params in found], {"a": 1, "b": 1, "c": 1})
    check_counts([params["n"] for params in found if "n" in params], {1: 1, 2: 1, 3: 1, 4: 1})
    with_x = [params["x"] for params in found if "x" in params]
    assert len(with_x) == sum(params["m"] == "b" for params in found)
    assert stats.kstest(with_x, "uniform").pvalue > LEVEL


@given(spaces(), st.integers(0, 2**32 - 1))
def test_a_sample_is_the_image_of_a_uniform_point(space: Space, seed: int) -> None:
    sample = space.sample(np.random.default_rng(seed))
    assert space.contains(sample)
    assert sample == space.from_unit(np.random.default_rng(seed).random(len(space.columns)))
    assert list(sample) == [name for name in space.names if name in sample]
