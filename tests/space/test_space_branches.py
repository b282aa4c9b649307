"""Conditional spaces of which requirements allow little in some branches: how often each branch is drawn, and where."""

from __future__ import annotations

import copy
import gc
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from scipy import stats

from hpt_core import Categorical, Float, Int, Ordinal, Params, Space, SpaceError
from hpt_core.space.draws import find_allowed

LEVEL = 1e-3


def ordered(n: int, when: dict[str, Any], letter: str = "t") -> dict[str, Any]:
    """Thresholds t0 < t1 < ... of one branch: a share of 1 / n! of it."""
    first = {f"{letter}0": Float(0, 1, when=when)}
    rules = {f"{letter}{i}": f"{letter}{i - 1} < {letter}{i}" for i in range(1, n)}
    return first | {name: Float(0, 1, when=when, requires=rule) for name, rule in rules.items()}


def one_narrow(n: int = 8, choices: tuple[str, ...] = ("free", "narrow")) -> dict[str, Any]:
    free = {"lr": Float(1e-5, 1, log=True, when={"model": "free"})}
    return {"model": Categorical(*choices), **free, **ordered(n, {"model": "narrow"})}


def drawn(space: Space, count: int, seed: int = 1) -> list[dict[str, Any]]:
    rng = default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def check_shares(counts: Counter[Any], shares: dict[Any, float]) -> None:
    assert set(counts) <= set(shares)
    expected = np.array(list(shares.values()))
    observed = [counts[each] for each in shares]
    assert stats.chisquare(observed, expected / expected.sum() * sum(observed)).pvalue > LEVEL


@pytest.mark.parametrize("n", [4, 6, 8])
def test_a_branch_is_drawn_as_often_however_little_of_it_is_allowed(n: int) -> None:
    found = drawn(Space(one_narrow(n, ("free", "other", "more", "narrow"))), 300)
    check_shares(Counter(p["model"] for p in found), dict.fromkeys(("free", "other", "more", "narrow"), 1.0))


def test_ordered_thresholds_of_one_branch_are_drawn_as_order_statistics() -> None:
    n = 8
    space = Space(one_narrow(n))
    found = [params for params in drawn(space, 400) if params["model"] == "narrow"]
    assert all(map(space.contains, found))
    values = np.array([[params[f"t{i}"] for i in range(n)] for params in found])
    for i in range(n):  # the i-th smallest of n uniform numbers has a beta distribution
        assert stats.kstest(values[:, i], stats.beta(i + 1, n - i).cdf).pvalue > LEVEL / n


def test_layers_of_falling_width_are_drawn_evenly_for_each_number_of_layers() -> None:
    """Brute force: all configurations of each branch."""
    widths = {"w1": Int(1, 5)} | {
        f"w{i}": Int(1, 5, when={"layers": list(range(i, 5))}, requires=f"w{i} < w{i - 1}") for i in (2, 3, 4)
    }
    shares: dict[Any, float] = {}
    for n in range(1, 5):
        falling = [w for w in itertools.product(range(1, 6), repeat=n) if list(w) == sorted(set(w), reverse=True)]
        shares |= dict.fromkeys(falling, 1 / len(falling))
    found = drawn(Space({"layers": Int(1, 4), **widths}), 2_000)
    check_shares(Counter(tuple(params.values())[1:] for params in found), shares)


def test_a_mildly_narrow_branch_has_the_distribution_of_its_allowed_random_points() -> None:
    """Rejection sampling, also of a parent that is part of the requirement."""
    space = Space(
        {
            "parts": Int(1, 6),
            "a": Float(0, 1, when={"parts": [4, 5, 6]}),
            "b": Float(1e-2, 1, log=True, when={"parts": [4, 5, 6]}, requires="a * b * parts < 0.02"),
        }
    )
    u = default_rng(0).random((200_000, 3))
    parts, a, b = 4 + np.floor(3 * u[:, 0]), u[:, 1], 10 ** (2 * u[:, 2] - 2)
    allowed = a * b * parts < 0.02
    assert 0.05 < allowed.mean() < 0.1
    found = drawn(space, 2_000)
    inside = [params for params in found if params["parts"] >= 4]
    assert stats.binomtest(len(inside), 2_000, 1 / 2).pvalue > LEVEL
    assert stats.ks_2samp([params["a"] for params in inside], a[allowed]).pvalue > LEVEL
    assert stats.ks_2samp([params["b"] for params in inside], b[allowed]).pvalue > LEVEL
    counts = {k: float((parts[allowed] == k).sum()) for k in (4, 5, 6)}
    check_shares(Counter(params["parts"] for params in inside), counts)


def test_a_branch_is_narrow_if_its_requirement_leaves_little_of_what_the_others_allow() -> None:
    """On its own, it leaves a quarter of the branch."""
    t = Float(0, 1, when={"model": "narrow"}, requires="t < x - 0.28")
    space = Space({"model": ["free", "narrow"], "x": Float(0, 1, requires="x < 0.3"), "t": t})
    found = drawn(space, 400)
    check_shares(Counter(params["model"] for params in found), {"free": 1, "narrow": 1})
    above = [(params["x"] - 0.28) / 0.02 for params in found if params["model"] == "narrow"]
    assert stats.kstest(above, stats.beta(2, 1).cdf).pvalue > LEVEL  # t is uniform below it


def test_two_narrow_branches_have_equal_shares_though_hardly_anything_is_allowed() -> None:
    fractions = [f"m{i}" for i in range(8)]
    mixture = dict.fromkeys(fractions, Float(0, 1, when={"model": "mixture"}))
    mixture["m7"] = Float(0, 1, when={"model": "mixture"}, requires=f"{' + '.join(fractions)} <= 1")
    choices = Categorical("mixture", "thresholds")
    space = Space({"model": choices, **mixture, **ordered(8, {"model": "thresholds"})})
    found = drawn(space, 150)
    assert all(map(space.contains, found))
    check_shares(Counter(params["model"] for params in found), {"mixture": 1, "thresholds": 1})
    sums = [sum(params[name] for name in fractions) for params in found if params["model"] == "mixture"]
    assert stats.kstest(sums, stats.beta(8, 1).cdf).pvalue > LEVEL


def test_a_branch_in_which_nothing_is_allowed_leaves_the_shares_of_the_others() -> None:
    empty = {"x": Float(0, 1, when={"model": "empty"}), "y": Float(2, 3, when={"model": "empty"}, requires="y < x")}
    space = Space(one_narrow(4, ("empty", "free", "narrow")) | empty)
    check_shares(Counter(params["model"] for params in drawn(space, 400)), {"free": 1, "narrow": 1})


def test_all_points_of_a_narrow_branch_of_a_small_finite_space_are_drawn() -> None:
    when = {"model": "narrow"}
    rule = "(a == 7 and b == 91) or (a == 55 and b == 3)"
    narrow = {"a": Int(0, 99, when=when), "b": Int(0, 99, when=when, requires=rule)}
    found = drawn(Space({"model": ["free", "narrow"], **narrow}), 400)
    shares = {("free",): 2.0, ("narrow", 7, 91): 1.0, ("narrow", 55, 3): 1.0}
    check_shares(Counter(tuple(params.values()) for params in found), shares)


def switches(n: int, rule: str) -> dict[str, Any]:
    return {
        name: parameter
        for i in range(n)
        for name, parameter in {
            f"on{i}": Categorical(True, False),
            f"a{i}": Float(0, 1, when={f"on{i}": True}),
            f"b{i}": Float(0, 1, when={f"on{i}": True}, requires=rule.format(f"a{i}", f"b{i}")),
        }.items()
    }


@pytest.mark.parametrize(
    "declared",
    [
        switches(2, "{} < {}"),  # no branch is narrow
        switches(8, "{} < 0.05 + {} * 0"),  # 256 branches, all but a few narrow
        {
            "t": Ordinal(1, 2),
            "a": Float(0, 1),
            "b": Float(0, 1, requires="a + b < 0.05"),
            "c": Int(1, 2, when={"t": 1}),
        },
    ],
)
def test_draws_are_the_first_allowed_random_points_if_no_large_branch_is_narrow(declared: dict[str, Any]) -> None:
    space = Space(declared)
    rng = default_rng(1)
    points = (space.from_unit(rng.random(len(space.columns))) for _ in itertools.count())
    assert drawn(space, 50) == list(itertools.islice(filter(space.allows, points), 50))


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one with each search for allowed points."""
    gc.collect()  # what an equal space of another test has found would be shared
    found: list[Any] = []

    def counted(*given: Any) -> Any:
        found.append(find_allowed(*given))
        return found[-1]

    monkeypatch.setattr("hpt_core.space.allowed.find_allowed", counted)
    return found


def test_of_hundreds_of_branches_none_is_searched(searched: list[Any]) -> None:
    names = [f"k{i}" for i in range(300)]
    narrow = {f"x{name}": Float(0, 1, when={"kind": name}, requires=f"x{name} < 1e-3") for name in names[1:]}
    space = Space({"kind": Categorical(*names), **narrow})
    assert all(map(space.contains, drawn(space, 20)))
    assert len(searched) == 1  # of the whole space


def test_equal_spaces_are_searched_once(searched: list[Any]) -> None:
    space = Space(one_narrow(5))
    again = Space.from_json(space.to_json())
    assert drawn(space, 20) == drawn(again, 20)
    assert len(searched) == 2  # the whole space, and the narrow branch
    Space(one_narrow(3))
    assert len(searched) == 3


def test_a_space_that_was_made_before_is_not_searched_until_it_is_drawn_from(searched: list[Any]) -> None:
    """So that reading a study takes no longer if its space allows little."""
    tables = Space(one_narrow(5)).to_json()
    gc.collect()
    searched.clear()
    again = copy.deepcopy(Space.from_json(tables))
    assert again.contains({"model": "free", "lr": 0.1})
    assert again.size is None
    assert not searched
    again.sample(default_rng(0))
    assert searched


def test_a_space_that_allows_nothing_is_refused_when_it_is_declared_or_drawn_from(searched: list[Any]) -> None:
    empty = {"a": {"low": 1, "high": 9}, "b": {"low": 1, "high": 9, "requires": "a > 2 * b + 9"}}
    read = Space.from_json(empty)
    assert not searched
    for refused in (lambda: Space(empty), lambda: read.sample(default_rng(0)), read.default):
        with pytest.raises(SpaceError, match=r"^space: None of 10,000 random configurations satisfies 'a > 2 \* b"):
            refused()


@settings(max_examples=25)
@given(
    depths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    nested=st.booleans(),
    seeds=st.lists(st.integers(0, 2**32), min_size=2, max_size=4, unique=True),
)
def test_draws_are_allowed_and_depend_on_the_generator_alone(depths: list[int], nested: bool, seeds: list[int]) -> None:
    declared: dict[str, Any] = {"model": Categorical("free", *(f"k{i}" for i in range(len(depths))))}
    for i, depth in enumerate(depths):
        when: dict[str, Any] = {"model": f"k{i}"}
        if nested and i == 0:
            declared["inner"] = Categorical("x", "y", when=when)
            when = {"inner": "y"}
        declared |= ordered(depth, when, "abc"[i])

    def found(seeds: list[int]) -> dict[int, Params]:
        gc.collect()  # equal spaces share what they find
        space = Space(declared)
        drawn = {seed: space.sample(default_rng(seed)) for seed in seeds}
        assert all(map(space.contains, drawn.values()))
        return drawn

    assert found(seeds) == found(seeds[::-1])
