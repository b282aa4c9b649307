"""The order by added hypervolume, compared with inclusion-exclusion and a worked example."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpt_sampler_tpe import hypervolume as hypervolume_module
from hpt_sampler_tpe.hypervolume import largest_first

if TYPE_CHECKING:
    from hpt_sampler_tpe.normal import FloatArray


def hypervolume(points: FloatArray, chosen: Sequence[int], reference: FloatArray) -> float:
    """By inclusion-exclusion: what points dominate in common is what their componentwise maximum dominates."""
    total = 0.0
    for count in range(1, len(chosen) + 1):
        for some in combinations(chosen, count):
            corner = points[list(some)].max(axis=0)
            total -= (-1) ** count * prod(np.maximum(reference - corner, 0.0).tolist())
    return total


@st.composite
def sets_of_points(draw: st.DrawFn) -> FloatArray:
    """Points on a coarse grid, so that many have equal coordinates or dominate others; some are above 8."""
    n, m = draw(st.integers(1, 7)), draw(st.integers(2, 4))
    found: FloatArray = draw(arrays(float, (n, m), elements=st.integers(0, 9).map(float)))
    return found


@given(sets_of_points(), st.integers(1, 7))
def test_each_point_adds_as_much_as_any_that_follows(points: FloatArray, most: int) -> None:
    reference = np.full(points.shape[1], 8.0)
    order = largest_first(points, reference, most).tolist()
    assert sorted(order) == list(range(len(points)))
    for k in range(min(most, len(points))):
        gains = [hypervolume(points, [*order[:k], i], reference) for i in order[k:]]
        assert gains[0] == pytest.approx(max(gains))


@pytest.mark.parametrize("objectives", [2, 3])
def test_the_order_of_many_points_equals_that_by_whole_hypervolumes(objectives: int) -> None:
    points = np.abs(np.random.default_rng(objectives).normal(size=(60, objectives)))
    points /= np.linalg.norm(points, axis=1)[:, None]
    reference = np.full(objectives, 1.1)
    expected: list[int] = []
    for _ in range(9):
        gains = {i: hypervolume(points, [*expected, i], reference) for i in range(60) if i not in expected}
        expected.append(max(gains, key=lambda i: gains[i]))
    assert largest_first(points, reference, 9).tolist()[:9] == expected


def test_a_worked_example() -> None:
    # Alone they dominate 5, 12, 12 and 5 below (5, 5). After (1, 2): 1, 3 and 2 more; after (2, 1), too: 1 and 1.
    points = np.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0]])
    assert largest_first(points, np.array([5.0, 5.0]), 4).tolist() == [1, 2, 0, 3]


def test_equal_points_follow_those_that_add_something() -> None:
    points = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0]])
    assert largest_first(points, np.array([4.0, 4.0]), 3).tolist() == [0, 2, 1]


def test_what_is_added_is_exact_where_volumes_differ_by_many_orders_of_magnitude() -> None:
    points = np.array([[0.0, 2e-20], [1e-20, 1e-20], [3e-20, 0.0]])
    # The first one alone dominates 1 - 2e-20; the second adds 1e-20 to it, then the third 1e-20 - 3e-40.
    assert largest_first(points[[1, 0, 2]], np.ones(2), 3).tolist() == [0, 1, 2]


def test_with_many_objectives_the_number_of_boxes_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def cut(low: FloatArray, high: FloatArray, point: FloatArray) -> tuple[FloatArray, FloatArray]:
        sizes.append(len(low))
        return original(low, high, point)

    original = hypervolume_module._cut
    monkeypatch.setattr(hypervolume_module, "_cut", cut)
    points = np.abs(np.random.default_rng(0).normal(size=(200, 9)))
    order = largest_first(points / np.linalg.norm(points, axis=1)[:, None], np.full(9, 1.1), 25)
    assert sorted(order.tolist()) == list(range(200))
    assert 3 <= len(sizes) < 25
    assert max(sizes) <= hypervolume_module._MOST_BOXES
