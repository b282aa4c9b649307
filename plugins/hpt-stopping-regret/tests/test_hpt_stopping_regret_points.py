"""The candidates at which the model is asked: where they lie and that they are valid."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_core import Categorical, Float, Int, Space
from hpt_stopping_regret.points import categorical_columns, encoded, near, pool

MIXED = Space({"m": Categorical("p", "q", "r"), "x": Float(0.0, 1.0), "y": Float(0.0, 1.0, when={"m": "p"})})


def test_a_point_near_another_differs_in_half_of_the_columns_and_in_at_least_one() -> None:
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(4)})
    moves = near(space, np.full((1, 4), 0.5), 4000, 0.05, np.random.default_rng(0)) - 0.5
    assert (moves != 0).any(axis=1).all()
    assert (moves != 0).mean() == pytest.approx(1 / 2 + 1 / 2 * 1 / 4, abs=0.02)
    assert moves[moves != 0].std() == pytest.approx(0.05, rel=0.05)
    corner = near(space, np.ones((2, 4)), 50, 0.05, np.random.default_rng(0))
    assert corner.shape == (100, 4)
    assert corner.min() < corner.max() == 1.0


def test_near_a_point_all_categories_are_tried_and_the_parameters_that_they_make_active() -> None:
    centre = MIXED.to_unit({"m": "q", "x": 0.5})
    found = MIXED.from_unit(near(MIXED, centre[None], 300, 0.01, np.random.default_rng(0)))
    assert {params["m"] for params in found} == {"p", "q", "r"}
    assert {params["y"] == pytest.approx(0.5, abs=0.05) for params in found if params["m"] == "p"} == {True}


def test_an_inactive_category_differs_from_each_of_its_values() -> None:
    space = Space({"x": Int(0, 1), "m": Categorical("p", "q", "r", when={"x": 1})})
    unit = space.to_unit([{"x": 0}, *({"x": 1, "m": m} for m in "pqr")])
    codes = encoded(unit, categorical_columns(space))[:, space.columns.index("m")]
    assert len(set(codes.tolist())) == 4


@pytest.mark.parametrize(("bound", "low", "high"), [("x <= 0.3", 0.0, 0.3), ("x < 1e-6", 0.0, 1.0)])
def test_candidates_satisfy_the_requirements_unless_none_drawn_does(bound: str, low: float, high: float) -> None:
    space = Space({"x": Float(0.0, 1.0, requires=bound)})
    found = pool(space, 200, np.random.default_rng(0))
    assert found.min() == pytest.approx(low, abs=0.05)
    assert found.max() == pytest.approx(high, abs=0.05)
    assert found.max() <= high
