"""Grids and sizes against brute force: the product of all values, filtered by the conditions, each once."""

from __future__ import annotations

import itertools
import math
import pickle
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpt_core.errors import UsageError
from hpt_core.space.space import Categorical, Constant, Float, Grid, Int, Ordinal, Space
from hpt_core.testing.strategies import spaces

LIMIT = 3000


def brute_force(space: Space, values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Everything the grid must be, straight from the definition of a condition."""
    found: dict[str, dict[str, Any]] = {}
    for combination in itertools.product(*(values[name] for name in space.order)):
        params: dict[str, Any] = {}
        for name, value in zip(space.order, combination, strict=True):
            when = space[name].when
            if all(parent in params and params[parent] in list(when[parent]) for parent in when):
                params[name] = value
        found.setdefault(repr(params), params)
    return [{name: params[name] for name in space.names if name in params} for params in found.values()]


def all_values(space: Space) -> dict[str, list[Any]]:
    return {name: [p.value_at(i) for i in range(p.size or 0)] for name, p in space.parameters.items()}


@given(spaces(finite=True, max_size=5))
def test_the_grid_of_a_finite_space_is_every_configuration_once(space: Space) -> None:
    values = all_values(space)
    assume(math.prod(map(len, values.values())) <= LIMIT)
    expected = brute_force(space, values)
    grid = space.grid()
    assert space.size == grid.size == len(grid) == len(expected)
    assert list(grid) == expected
    assert len({space.key(params) for params in grid}) == len(grid)
    assert all(map(space.contains, grid))


@given(spaces(max_size=9, max_parameters=5), st.data())
def test_points_thin_out_what_they_name(space: Space, data: st.DataObject) -> None:
    chosen = data.draw(st.dictionaries(st.sampled_from(space.names), st.integers(1, 4)))
    values = {}
    for name, p in space.parameters.items():
        if p.size is None:
            n = chosen.get(name, 5)
            values[name] = list(dict.fromkeys(p.from_unit(i / (n - 1) if n > 1 else 0.5) for i in range(n)))
        else:
            n = min(chosen.get(name, p.size), p.size)
            places = [math.floor(i * (p.size - 1) / (n - 1) + 0.5) if n > 1 else (p.size - 1) // 2 for i in range(n)]
            assert len(set(places)) == n
            values[name] = [p.value_at(i) for i in places]
    assume(math.prod(map(len, values.values())) <= LIMIT)
    assert list(space.grid(chosen)) == brute_force(space, values)


def test_a_continuous_float_is_taken_at_equal_distances_with_both_ends() -> None:
    space = Space({"x": Float(0, 1), "lr": Float(1e-4, 1.0, log=True)})
    assert [p["x"] for p in space.grid({"lr": 1})] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [p["lr"] for p in space.grid({"x": 1})] == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1.0], rel=1e-12)
    assert list(space.grid(1)) == [{"x": 0.5, "lr": pytest.approx(1e-2)}]
    assert space.grid(3).size == 9
    assert space.grid()[-1] == {"x": 1.0, "lr": 1.0}


def test_a_range_with_fewer_doubles_than_points_gives_each_once() -> None:
    space = Space({"x": Float(1.0, 1.0 + 2 * sys.float_info.epsilon)})
    assert [p["x"] for p in space.grid(50)] == [1.0, 1.0 + sys.float_info.epsilon, 1.0 + 2 * sys.float_info.epsilon]


def test_a_finite_parameter_keeps_all_its_values_under_a_plain_number() -> None:
    space = Space({"n": Int(1, 30), "c": Categorical(*"abcdefgh"), "s": Float(0, 1, step=0.1)})
    assert space.grid(2).size == 30 * 8 * 11
    assert [p["n"] for p in space.grid({"n": 4, "c": 1, "s": 1})] == [1, 11, 20, 30]
    assert space.grid({"n": 99}).size == 30 * 8 * 11


def test_lexicographic_in_the_order_of_the_space() -> None:
    space = Space(
        {
            "C": Ordinal(1, 10, when={"model": "svm"}),
            "model": ["svm", "forest"],
            "depth": Int(1, 2, when={"model": "forest"}),
            "last": [True, False],
        }
    )
    assert space.order == ("model", "C", "depth", "last")
    assert list(space.grid()) == [
        {"C": 1, "model": "svm", "last": True},
        {"C": 1, "model": "svm", "last": False},
        {"C": 10, "model": "svm", "last": True},
        {"C": 10, "model": "svm", "last": False},
        {"model": "forest", "depth": 1, "last": True},
        {"model": "forest", "depth": 1, "last": False},
        {"model": "forest", "depth": 2, "last": True},
        {"model": "forest", "depth": 2, "last": False},
    ]
    assert list(space.grid()[0]) == ["C", "model", "last"]


def test_huge_grids_are_counted_exactly_and_read_anywhere() -> None:
    space = Space({f"p{i}": Int(0, 9) for i in range(30)})
    grid = space.grid()
    assert space.size == grid.size == 10**30
    with pytest.raises(OverflowError):
        len(grid)
    index = 123456789012345678901234567890
    assert "".join(str(v) for v in grid[index].values()) == str(index)
    assert grid[-1] == grid[10**30 - 1] == {f"p{i}": 9 for i in range(30)}
    assert next(iter(grid)) == grid[0]


def test_a_parent_with_2_to_the_50_values_costs_nothing() -> None:
    space = Space({"n": Int(1, 2**50), "x": Int(0, 2, when={"n": [5, 7]}), "y": Int(0, 1, when={"n": 7})})
    assert space.size == (2**50 - 2) + 3 + 6
    grid = space.grid()
    assert grid[3] == {"n": 4}
    assert grid[4] == {"n": 5, "x": 0}
    assert grid[7] == {"n": 6}
    assert grid[8] == {"n": 7, "x": 0, "y": 0}
    assert grid[13] == {"n": 7, "x": 2, "y": 1}
    assert grid[14] == {"n": 8}
    assert grid[-1] == {"n": 2**50}


def test_switches_before_their_children_are_counted_apart() -> None:
    """40 switches, then 40 children: 2**40 states for who only counts along the order."""
    switches = {f"s{i}": [True, False] for i in range(40)}
    children = {f"c{i}": Int(1, 3, when={f"s{i}": True}) for i in range(40)}
    assert Space({**switches, **children}).size == 4**40
    root: dict[str, Any] = {
        "root": [True, False],
        **{k: {"choices": v, "when": {"root": True}} for k, v in switches.items()},
    }
    space = Space({**root, **children})
    assert space.size == 4**40 + 1
    assert space.grid()[4**40] == {"root": False}


def test_one_child_of_forty_parents() -> None:
    parents = {f"p{i}": [0, 1, 2] for i in range(40)}
    child = Int(1, 100, when={name: [0, 1] for name in parents})
    assert Space({**parents, "c": child}).size == 3**40 - 2**40 + 100 * 2**40


def test_a_chain_of_a_thousand_conditions() -> None:
    declared: dict[str, Any] = {"p0": [0, 1]}
    for i in range(1, 1000):
        declared[f"p{i}"] = Categorical(0, 1, when={f"p{i - 1}": 1})
    space = Space(declared)
    assert space.size == 1001
    grid = space.grid()
    assert grid[0] == {"p0": 0}
    assert grid[1000] == {f"p{i}": 1 for i in range(1000)}


def test_list_choices_and_constants_in_a_grid() -> None:
    space = Space({"layers": [[64], [64, 64]], "c": Constant(None), "x": Int(1, 2, when={"layers": [[64, 64]]})})
    assert list(space.grid()) == [
        {"layers": [64], "c": None},
        {"layers": [64, 64], "c": None, "x": 1},
        {"layers": [64, 64], "c": None, "x": 2},
    ]


def test_size_is_none_with_a_continuous_parameter() -> None:
    assert Space({"x": Float(0, 1), "n": [1, 2]}).size is None
    assert Space({"x": Float(1, 1), "n": [1, 2]}).size == 2


@pytest.mark.parametrize("index", [8, -9])
def test_indices_outside_are_refused(index: int) -> None:
    grid = Space({"a": Int(1, 8)}).grid()
    with pytest.raises(IndexError, match="8 points"):
        grid[index]


def test_a_grid_is_a_picklable_sequence() -> None:
    grid = Space({"a": Int(1, 3), "x": Float(0, 1)}).grid()
    assert isinstance(grid, Grid)
    assert list(pickle.loads(pickle.dumps(grid))) == list(grid)
    assert repr(grid) == "<Grid of 15 points over 2 parameters>"
    assert {"a": 2, "x": 0.25} in grid


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (0, "points: must be an int >= 1. Got 0."),
        (2.0, "points: must be an int >= 1. Got 2.0."),
        (True, "points: must be an int >= 1. Got True."),
        ("3", "points: must be an int >= 1. Got '3'."),
        (100_001, "points: must be at most 100,000. Got 100001."),
        ({"lr": 3, "nn": 0}, "points.lr: is not a parameter of the space. Known: n, x."),
        ({"n": 0}, "points.n: must be an int >= 1. Got 0."),
        ({"x": 10**6}, "points.x: must be at most 100,000. Got 1000000."),
    ],
)
def test_points_that_make_no_sense_are_refused(points: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Space({"n": Int(1, 9), "x": Float(0, 1)}).grid(points)
    assert message in str(caught.value)
