"""The hypervolume by trial agrees with counting a fine grid and with inclusion and exclusion."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Float, Params, Stop
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_report_html import figures
from hpt_report_html.hypervolume import volumes


@given(st.integers(2, 3).flatmap(lambda m: st.lists(st.tuples(*[st.floats(0, 1.2)] * m), min_size=1, max_size=6)))
def test_the_volume_is_that_of_inclusion_and_exclusion(points: list[tuple[float, ...]]) -> None:
    expected = 0.0
    for size in range(1, len(points) + 1):
        for some in combinations(points, size):
            expected -= (-1) ** size * float(np.prod(np.maximum(0.0, 1.0 - np.max(some, axis=0))))
    assert volumes(np.array(points), np.array([len(points)])) == pytest.approx([expected], abs=1e-9)


@given(st.integers(2, 3).flatmap(lambda m: st.lists(st.tuples(*[st.integers(0, 7)] * m), min_size=1, max_size=20)))
def test_the_volume_of_the_first_points_is_that_of_the_cells_that_they_dominate(points: list[tuple[int, ...]]) -> None:
    """Many coordinates are equal."""
    cells = np.array(list(product(range(6), repeat=len(points[0]))))
    first = np.array(points)[:, None]
    counts = np.arange(1, len(points) + 1)
    shares = [(cells >= first[:count]).all(axis=2).any(axis=0).mean() for count in counts]
    assert volumes(np.array(points) / 6, counts) == pytest.approx(shares)
    assert volumes(np.array(points) / 6, counts[1::3]) == pytest.approx(shares[1::3])


def test_the_figure_has_the_share_of_a_grid_that_the_front_so_far_dominates() -> None:
    rng = np.random.default_rng(3)
    losses = rng.random((25, 2)) + np.linspace(0.5, 0, 25)[:, None]
    trials: list[tuple[Params, object]] = [({"x": i / 25}, tuple(row)) for i, row in enumerate(losses.tolist())]
    trials[7] = ({"x": 0.99}, Stop("hopeless"))
    done = [i for i in range(25) if i != 7]
    figure = figures(make_history({"x": Float(0, 1)}, trials, directions=["minimize"] * 2))["Hypervolume"]
    line = figure.data[0]
    low, high = losses[done].min(axis=0), np.quantile(losses[done], 0.9, axis=0)
    cells = (np.array(list(product(np.arange(400), repeat=2))) + 0.5) / 400
    for number in done:
        so_far = (losses[[i for i in done if i <= number]] - low) / (high - low)
        share = (so_far[None] <= cells[::7, None]).all(axis=2).any(axis=1).mean()
        drawn = [y for x, y in zip(line.x, line.y, strict=True) if x <= number][-1]
        assert drawn == pytest.approx(share, abs=0.01)


def test_a_long_front_of_three_objectives_has_the_volume_of_the_cells_that_it_dominates() -> None:
    """The front is a plane of a grid, in random order, so that many coordinates are equal."""
    side = 60
    cells = np.array(list(product(range(side), repeat=3)))
    front = cells[cells.sum(axis=1) == side]
    shuffled = np.random.default_rng(0).permutation(front) / side
    assert len(front) > 1500
    expected = np.mean(cells.sum(axis=1) >= side)
    assert volumes(shuffled, np.array([len(front)])) == pytest.approx([expected])


def test_of_many_trials_200_have_a_point_among_them_the_first_and_the_last() -> None:
    """Each trial is on the front, so the curve would have a point for each."""
    count = 450
    trials: list[tuple[Params, object]] = [({"x": i / count}, (float(i), float(count - i))) for i in range(count)]
    line = figures(make_history({"x": Float(0, 1)}, trials, directions=["minimize"] * 2))["Hypervolume"].data[0]
    assert len(line.x) == len(line.y) == 200
    assert (line.x[0], line.x[-1]) == (0, count - 1)
    assert np.diff(line.x).max() <= 3


def test_losses_at_the_ends_of_the_number_range_are_drawn() -> None:
    rows = [(1.7e308, -1.7e308), (-1.7e308, 1.7e308), (0.0, 0.0), (1.0, 1.0)]
    trials: list[tuple[Params, object]] = [({"x": i / 4}, row) for i, row in enumerate(rows)]
    line = figures(make_history({"x": Float(0, 1)}, trials, directions=["minimize"] * 2))["Hypervolume"].data[0]
    end = np.quantile([-1.7, 0.0, 0.0, 1.7], 0.9)
    assert line.y[-1] == pytest.approx((end / (1.7 + end)) ** 2)


def test_trials_of_the_front_outside_an_amended_space_count() -> None:
    trials: list[tuple[Params, object]] = [({"x": u}, (u, v)) for u, v in ((0.1, 0.2), (0.4, 0.9), (0.9, 0.5))]
    history = make_history({"x": Float(0, 1)}, trials, directions=["minimize"] * 2)
    whole = figures(history)["Hypervolume"].data[0].y
    narrower = {"x": Float(0.5, 1).to_json()}
    history.apply(events.amended(9.0, {**history.definition, "space": narrower}, ["x"]))
    assert [trial.number for trial in history.front] == [0]
    assert figures(history)["Hypervolume"].data[0].y == whole


def test_a_study_with_one_or_four_objectives_has_no_such_figure() -> None:
    for count in (1, 4):
        trials: list[tuple[Params, object]] = [({"x": u}, (u,) * count if count > 1 else u) for u in (0.1, 0.5, 0.9)]
        assert "Hypervolume" not in figures(make_history({"x": Float(0, 1)}, trials, directions=["minimize"] * count))
