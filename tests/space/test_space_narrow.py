"""Spaces of which requirements allow less than one configuration in 10,000: how configurations are found and drawn."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from scipy import stats

from hpt_core import Categorical, Constant, Float, Int, Ordinal, Space, Study
from hpt_core.errors import SpaceError
from hpt_core.space.draws import Domain, find_allowed
from hpt_core.space.requirements import parse_requirement


def ordered(n: int, **settings: Any) -> dict[str, Any]:
    """Thresholds t0 < t1 < ...: a share of 1 / n! of the unit cube."""
    first = {"t0": Float(0, 1, **settings)}
    return first | {f"t{i}": Float(0, 1, requires=f"t{i - 1} < t{i}", **settings) for i in range(1, n)}


def mixture(n: int) -> dict[str, Any]:
    """Fractions whose sum is at most 1: a share of 1 / n! of the unit cube."""
    names = [f"m{i}" for i in range(n)]
    return {**dict.fromkeys(names, Float(0, 1)), names[-1]: Float(0, 1, requires=f"{' + '.join(names)} <= 1")}


def drawn(space: Space, count: int, seed: int = 1) -> list[dict[str, Any]]:
    rng = default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def test_ordered_thresholds_are_drawn_as_order_statistics() -> None:
    n = 8
    space = Space(ordered(n))
    found = drawn(space, 400)
    assert all(map(space.contains, found))
    values = np.array([list(params.values()) for params in found])
    for i in range(n):  # the i-th smallest of n uniform numbers has a beta distribution
        assert stats.kstest(values[:, i], stats.beta(i + 1, n - i).cdf).pvalue > 1e-3 / n


def test_fractions_of_a_mixture_are_drawn_uniformly_from_the_simplex() -> None:
    n = 8
    space = Space(mixture(n))
    found = drawn(space, 400)
    assert all(map(space.contains, found))
    values = np.array([list(params.values()) for params in found])
    tests = [stats.kstest(values[:, i], stats.beta(1, n).cdf) for i in range(n)]
    tests.append(stats.kstest(values.sum(axis=1), stats.beta(n, 1).cdf))
    assert min(test.pvalue for test in tests) > 1e-3 / len(tests)


def test_draws_are_spread_evenly_over_a_narrow_finite_space() -> None:
    """Brute force: all configurations of a corner, with a condition whose branches count by their shares."""
    corner = "a + b + c >= 146 and kind == 'k7'"
    space = Space(
        {
            "kind": Categorical(*(f"k{i}" for i in range(20))),
            "a": Int(1, 50),
            "b": Int(1, 50),
            "c": Int(1, 50, requires=corner),
            "high": Ordinal(1, 2, 3, when={"a": list(range(50, 0, -1))[:2]}),
        }
    )
    shares: dict[tuple[Any, ...], float] = {}
    for a, b, c in itertools.product(range(40, 51), repeat=3):
        if a + b + c >= 146:
            levels = (1, 2, 3) if a >= 49 else (None,)
            shares |= {("k7", a, b, c, level): 1 / len(levels) for level in levels}
    counts = Counter(tuple(map(params.get, ("kind", "a", "b", "c", "high"))) for params in drawn(space, 1_500))
    assert set(counts) <= set(shares)
    expected = np.array(list(shares.values())) * 1_500 / sum(shares.values())
    observed = np.array([counts[key] for key in shares])
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_the_default_of_a_narrow_space_is_allowed_and_kept_where_it_is_declared() -> None:
    space = Space(ordered(8))
    assert space.contains(space.default())
    assert space.default() == Space(ordered(8)).default()
    kept = {name: (i + 1) / 10 for i, name in enumerate(space.names)}
    declared = {name: Float(0, 1, default=kept[name], requires=space[name].requires) for name in kept}
    assert Space(declared).default() == kept


def test_a_space_is_not_refused_if_one_random_configuration_is_allowed_and_a_search_finds_no_other() -> None:
    lone = default_rng(0).random((10_000, 4))[1_234]  # one of the configurations that are tried
    bounds = {f"x{i}": Int(0, 10**6) for i in range(4)}
    allowed = Space(bounds).from_unit(lone)
    rule = " and ".join(f"{name} % 100003 == {value % 100003}" for name, value in allowed.items())
    assert Space({**bounds, "x3": Int(0, 10**6, requires=rule)}).default() == allowed


def test_all_points_of_a_small_finite_space_are_found_drawn_evenly_and_tried_however_few_they_are() -> None:
    """Five of 100,000 configurations, no two of which differ in one value only."""
    allowed = ["abcde", "bcdaa", "jjhgf", "cdefg", "aihba"]
    names = [f"c{i}" for i in range(5)]
    one_of = (" and ".join(f"{n} == '{v}'" for n, v in zip(names, word, strict=True)) for word in allowed)
    free = dict.fromkeys(names, Categorical(*"abcdefghij"))
    space = Space({**free, "c4": Categorical(*"abcdefghij", requires=" or ".join(map("({})".format, one_of)))})
    counts = Counter("".join(params.values()) for params in drawn(space, 200))
    assert set(counts) == set(allowed)
    assert stats.chisquare([*counts.values()]).pvalue > 1e-3
    study = Study(space, sampler="random", seed=0)
    study.run(lambda params: float(ord(params["c0"])), trials=9)
    assert sorted("".join(trial.params.values()) for trial in study.trials) == sorted(allowed)


def test_a_small_finite_space_with_one_allowed_point_is_not_refused_and_one_without_any_is() -> None:
    bounds = {"a": Int(0, 299), "b": Int(0, 299)}
    only = Space({**bounds, "b": Int(0, 299, requires="a == 123 and b == 231")})
    assert only.default() == only.sample(default_rng(0)) == {"a": 123, "b": 231}
    with pytest.raises(SpaceError, match=r"None of 10,000 random configurations satisfies 'a \* 2 == b \* 2 \+ 1'"):
        Space({**bounds, "b": Int(0, 299, requires="a * 2 == b * 2 + 1")})


def test_the_default_is_near_the_middle_among_the_thousand_draws_after_the_first_allowed_one() -> None:
    """As before narrow spaces were searched, so that studies of then go on as they would have."""
    rule = "(a - 0.2) * (a - 0.2) + (b - 0.2) * (b - 0.2) + (c - 0.2) * (c - 0.2) <= 0.01"
    space = Space({"a": Float(0, 1), "b": Float(0, 1), "c": Float(0, 1, requires=rule)})
    points = default_rng(0).random((11_000, 3))
    allowed = ((points - 0.2) ** 2).sum(axis=1) <= 0.01
    first = int(allowed.argmax())
    near = points[first : first + 1_001][allowed[first : first + 1_001]]
    nearest = near[((near - 0.5) ** 2).sum(axis=1).argmin()]
    assert list(space.default().values()) == pytest.approx(nearest)


def test_what_a_search_finds_is_allowed_also_if_the_unit_of_a_requirement_is_huge() -> None:
    decode = Space({"a": Int(0, 999), "b": Int(0, 999)}).from_unit
    requirements = [parse_requirement("a * 1e250 < b * 1e250"), parse_requirement("b <= 1")]
    found = find_allowed(Domain(decode, 2, requirements))
    assert {tuple(decode(row).values()) for row in found.rows} == {(0, 1)}


def test_draws_depend_on_the_generator_alone() -> None:
    space = Space(mixture(8))
    assert drawn(space, 3) == drawn(Space.from_json(space.to_json()), 3)
    assert drawn(space, 3) != drawn(space, 3, seed=2)


@pytest.mark.parametrize(
    "declared",
    [
        ordered(7) | {"x": Int(0, 999, requires="x * x == 2 * 449 * 449 and t0 < 0.5")},  # no such int
        {"a": Int(1, 400), "b": Int(1, 400), "c": Int(1, 400, requires="a / (b - b) < c")},
        {"a": Constant(1), "b": Constant(2, requires="a == b")},  # no column to search
    ],
)
def test_a_space_without_an_allowed_configuration_is_refused(declared: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match=r"^space: None of 10,000 random configurations satisfies .* found none, eith"):
        Space(declared)


def test_a_study_in_a_narrow_space_runs_and_a_model_finds_better_points_than_random_search() -> None:
    target = np.linspace(0.2, 0.4, 8)

    def loss(params: dict[str, Any]) -> float:
        return float(((np.array(list(params.values())) - target) ** 2).sum())

    best = {}
    for sampler in ("random", "tpe"):
        study = Study(ordered(8), sampler=sampler, seed=0)
        study.run(loss, trials=40)
        assert all(map(study.space.contains, (trial.params for trial in study.trials)))
        assert study.best is not None
        best[sampler] = loss(study.best.params)
    assert best["tpe"] < best["random"]
