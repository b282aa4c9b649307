"""Distributions against scipy: Kolmogorov-Smirnov and chi-square, and the form in which they are recorded."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from scipy import stats
from scipy.stats import chisquare, kstest, qmc

from hpt_core import Categorical, Constant, Float, Int, Ordinal, Space, Suggestion, UsageError
from hpt_core.testing import make_history
from hpt_sampler_random.distributions import quantiles
from hpt_sampler_random.sampler import RandomSampler


class Triangle:
    """A distribution that is not scipy's: density 2x on [0, 1]."""

    def ppf(self, u: float) -> float:
        return float(np.sqrt(u))

    def support(self) -> tuple[float, float]:
        return 0.0, 1.0


triangle = Triangle()
nonsense = object()


class Mine(stats.rv_continuous):
    """A custom distribution that is not part of scipy.stats."""

    def _pdf(self, x: Any, *args: Any) -> Any:
        return 2 * x


def draw(parameter: Any, distribution: Any, n: int = 2000) -> list[Any]:
    space = Space({"x": parameter, "y": Float(0, 1)})
    sampler, history, rng = RandomSampler(distributions={"x": distribution}), make_history(space), default_rng(11)
    found = [sampler.suggest(history, rng) for _ in range(n)]
    assert all(isinstance(p, dict) and space.contains(p) for p in found)
    return [p["x"] for p in found if isinstance(p, dict)]


CONTINUOUS = [
    stats.loguniform(1e-3, 1e3),
    stats.uniform(2, 5),
    stats.beta(2, 5, loc=1, scale=8),
    stats.truncnorm(-2, 2, loc=5, scale=2),
    stats.triang(0.3, loc=1, scale=9),
    stats.truncexpon(b=9.0, loc=1.0),
]


@pytest.mark.parametrize("distribution", CONTINUOUS, ids=lambda d: d.dist.name)
@pytest.mark.parametrize("log", [False, True])
def test_draws_follow_a_continuous_distribution(distribution: Any, log: bool) -> None:
    assert kstest(draw(Float(1e-3, 1e3, log=log), distribution), distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    "distribution", [stats.randint(2, 9), stats.binom(9, 0.3), stats.zipfian(1.2, 9)], ids=lambda d: d.dist.name
)
@pytest.mark.parametrize("parameter", [Int(0, 20), Float(0, 20), Float(0, 20, step=0.5)], ids=str)
def test_draws_follow_a_discrete_distribution(distribution: Any, parameter: Any) -> None:
    values, counts = np.unique(draw(parameter, distribution), return_counts=True)
    expected = distribution.pmf(values) * 2000
    assert expected.sum() > 1999 - 5  # the remaining values are too rare to be drawn
    few = expected < 5
    observed = np.append(counts[~few], counts[few].sum() + 1e-9)
    wanted = np.append(expected[~few], 2000 - expected[~few].sum() + 1e-9)
    assert chisquare(observed, wanted / wanted.sum() * observed.sum()).pvalue > 1e-3


def test_a_continuous_distribution_of_an_int_is_rounded_to_the_nearest_step() -> None:
    found = draw(Int(0, 100, step=10), stats.uniform(0, 100))
    values, counts = np.unique(found, return_counts=True)
    assert values.tolist() == list(range(0, 101, 10))
    assert chisquare(counts, np.array([0.5, *[1] * 9, 0.5]) * 200).pvalue > 1e-3


@pytest.mark.parametrize("parameter", [Categorical("a", "b", "c"), Ordinal("a", "b", "c")], ids=str)
def test_draws_follow_the_weights(parameter: Any) -> None:
    found = draw(parameter, {"weights": [6, 0, 2]})
    assert chisquare([found.count("a"), found.count("c")], [1500, 500]).pvalue > 1e-3
    assert "b" not in found


def test_the_others_stay_uniform_and_conditions_hold() -> None:
    space = Space(
        {
            "model": Categorical("svm", "forest"),
            "C": Float(0, 1, when={"model": "svm"}),
            "depth": Int(1, 9, when={"model": "forest"}),
            "one": Constant(1),
        }
    )
    options = {"model": {"weights": [9, 1]}, "depth": stats.randint(2, 4), "one": {"weights": [1]}}
    sampler, history, rng = RandomSampler(distributions=options), make_history(space), default_rng(5)
    found: list[Any] = [sampler.suggest(history, rng) for _ in range(2000)]
    assert all(space.contains(p) for p in found)
    assert chisquare([sum("C" in p for p in found), sum("depth" in p for p in found)], [1800, 200]).pvalue > 1e-3
    assert {p["depth"] for p in found if "depth" in p} == {2, 3}
    assert kstest([p["C"] for p in found if "C" in p], "uniform").pvalue > 1e-3


def test_a_sequence_is_transformed_by_the_distribution() -> None:
    space = Space({"x": Float(1e-3, 1e3), "y": Float(0, 1)})
    sampler = RandomSampler(method="sobol", distributions={"x": stats.loguniform(1e-3, 1e3)})
    history = make_history(space, seed=4)
    first = sampler.suggest(history, default_rng(0))
    assert isinstance(first, Suggestion)
    u, v = qmc.Sobol(2, rng=4).random(1)[0]
    assert first.params["x"] == pytest.approx(stats.loguniform(1e-3, 1e3).ppf(u), rel=1e-15)
    assert first.params["y"] == pytest.approx(v, abs=2**-40)


def test_a_custom_distribution_is_given_by_its_import_path() -> None:
    found = draw(Float(0, 1), f"{__name__}:triangle")
    assert kstest(found, np.square).pvalue > 1e-3


# --- how they are recorded ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        (stats.loguniform(1e-3, 1e3), {"name": "loguniform", "args": [1e-3, 1e3]}),
        (stats.randint(np.int64(1), 10), {"name": "randint", "args": [1, 10]}),
        (stats.beta(2, 5, loc=1, scale=np.float64(8)), {"name": "beta", "args": [2, 5], "loc": 1, "scale": 8.0}),
        ({"name": "norm", "loc": 1}, {"name": "norm", "args": [], "loc": 1}),
        ({"weights": [1, 2.5]}, {"weights": [1, 2.5]}),
        ("module:name", "module:name"),
    ],
)
def test_a_distribution_is_recorded_as_an_equivalent_table(given: Any, recorded: Any) -> None:
    once = RandomSampler(distributions={"x": given}).distributions
    assert once == {"x": recorded}
    assert json.loads(json.dumps(once)) == once
    assert RandomSampler(distributions=once).distributions == once


@pytest.mark.parametrize("distribution", [*CONTINUOUS, stats.randint(2, 9)], ids=lambda d: d.dist.name)
def test_the_table_draws_the_same_as_the_object(distribution: Any) -> None:
    table = RandomSampler(distributions={"x": distribution}).distributions["x"]
    assert draw(Float(1e-3, 1e3), table, 50) == draw(Float(1e-3, 1e3), distribution, 50)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "Must be a frozen distribution"),
        (stats.norm, "Must be a frozen distribution"),
        (Triangle(), "import path"),
        (Mine(a=0, b=1, name="mine")(), "no distribution 'mine'"),
        (Mine(a=0, b=1, name="norm")(), "is not a distribution of scipy.stats: give its import path"),
        (stats.uniform(loc=np.array([1, 2])), "must be numbers"),
        ({"name": "norm", "args": 3}, "`args` must be a list"),
        ({"name": "norm", "args": ["a"]}, "must be numbers"),
        ({"weights": [0, 0]}, "not all 0"),
        ({"weights": [1, -1]}, "not all 0"),
        ({"weights": [1, float("inf")]}, "not all 0"),
        ({"weights": "ab"}, "not all 0"),
    ],
)
def test_an_invalid_distribution_is_rejected_at_once(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"distributions.x: .*{message}"):
        RandomSampler(distributions={"x": given})


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("y", {"name": "norm"}, r"can draw -inf, which is outside its bounds \[0, 1\]"),
        ("y", {"name": "uniform", "args": [0, 2]}, r"can draw 2, which is outside its bounds \[0, 1\]"),
        ("y", {"name": "unifrom"}, "no distribution 'unifrom'. Did you mean 'uniform'"),
        ("y", {"name": "test"}, "no distribution 'test'"),
        ("y", {"name": "beta", "args": [1]}, "does not accept these arguments"),
        ("y", {"name": "beta", "args": [-1, 2]}, "does not accept these arguments"),
        ("y", {"name": "uniform", "hight": 2}, "does not accept these arguments"),
        ("y", {"weights": [1, 2]}, "infinitely many"),
        ("kind", {"weights": [1, 2, 3]}, "3 weights, but 'kind' has 2 values"),
        ("kind", {"name": "randint", "args": [0, 2]}, "'kind' is not a number"),
        ("knid", {"weights": [1, 2]}, "The space has no parameter 'knid'. Did you mean 'kind'"),
        ("y", "no_such_module_here:x", "no_such_module_here"),
        ("y", "json:dumps", "must have the methods ppf and support"),
    ],
)
def test_a_distribution_that_does_not_fit_the_space_is_rejected(name: str, given: Any, message: str) -> None:
    space = Space({"y": Float(0, 1), "kind": Categorical("a", "b")})
    sampler = RandomSampler(distributions={name: given})
    for use in (
        lambda: sampler.check(space, ["value"]),
        lambda: sampler.suggest(make_history(space), default_rng(0)),
    ):
        with pytest.raises(UsageError, match=message):
            use()
    with pytest.raises(UsageError, match=f"^sampler.distributions.{name}: "):  # its key path in a study file
        sampler.check(space, ["value"])


@pytest.mark.parametrize("u", [0.0, 1.0, 1e-300, 1 - 2**-53])
def test_extreme_quantiles_stay_within_the_bounds(u: float) -> None:
    space = Space({"x": Float(1e-3, 1e3, log=True), "i": Int(2, 8), "c": Categorical(1, 2, 3)})
    given = {"x": stats.loguniform(1e-3, 1e3), "i": stats.randint(2, 9), "c": {"weights": [1, 1, 0]}}
    found = quantiles(RandomSampler(distributions=given).distributions, space)
    params = {name: quantile(u) for name, quantile in found.items()}
    assert space.contains(params)
    assert params["c"] != 3


def test_all_mistakes_are_reported_at_once() -> None:
    """As `hpt check` promises, whether the form of a distribution is wrong or it does not fit its parameter."""
    with pytest.raises(UsageError) as wrong:
        RandomSampler(distributions={"x": {"weights": []}, "n": {"name": "norm"}, "k": 3})
    assert [mistake.path for mistake in wrong.value.mistakes] == ["distributions.x", "distributions.k"]
    sampler = RandomSampler(distributions={"x": {"name": "unifrm"}, "n": {"weights": [1]}, "z": "os:path"})
    with pytest.raises(UsageError) as wrong:
        sampler.check(Space({"x": Float(0, 1), "n": Int(1, 3)}), ["value"])
    paths = ["sampler.distributions.x", "sampler.distributions.n", "sampler.distributions.z"]
    assert [mistake.path for mistake in wrong.value.mistakes] == paths
