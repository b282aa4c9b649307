"""The densities: equal to Optuna's on the same observations, normalised, and followed by the draws."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from hpt_core import Categorical, Float, Int, Ordinal, Params, Space
from hpt_core.testing.strategies import spaces
from hpt_sampler_tpe.normal import FloatArray, draw, log_mass, mass
from hpt_sampler_tpe.parzen import Mixture, Parzen
from hpt_sampler_tpe.rules import HPT, OPTUNA, Bandwidths, recency
from hpt_sampler_tpe.tree import Tree

FLAT = Space(
    {
        "x": Float(-2.0, 3.0),
        "rate": Float(1e-4, 1.0, log=True),
        "n": Int(1, 900),
        "s": Float(0.0, 200.0, step=0.25),
        "c": Categorical("a", "b", "c", "d"),
    }
)
BRANCHES = Space(
    {
        "root": Categorical("l", "r", "none"),
        "deep": Categorical("p", "q", when={"root": "l"}),
        "k": Int(0, 3, when={"root": ["l", "r"]}),
        "u": Int(1, 40, log=True, when={"deep": "q"}),
        "o": Ordinal("s", "m", "l"),
    }
)


def parzen(tree: Tree, rows: FloatArray, weights: FloatArray, bandwidths: Bandwidths) -> Parzen:
    """Each group learns from the rows in which it is active."""
    mixtures = []
    for group in tree.groups:
        on = ~np.isnan(rows[:, group[0]])
        mixtures.append(Mixture.of([tree.columns[j] for j in group], rows[on][:, group], weights[on], bandwidths))
    return Parzen(tree, tuple(mixtures))


def density(space: Space, n: int, rules: Any = HPT, seed: int = 0) -> Parzen:
    rng = np.random.default_rng(seed)
    rows = space.to_unit([space.sample(rng) for _ in range(n)])
    return parzen(Tree.of(space), rows, rng.uniform(0.1, 2.0, n), rules.bandwidths)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (3.0, 5.0), (-9.0, -7.5), (20.0, 21.0), (-0.1, 0.1)])
def test_masses_keep_their_digits_in_both_tails(low: float, high: float) -> None:
    found = mass(np.array([low]), np.array([high]))[0]
    tail = (-high, -low) if low > 0 else (low, high)
    assert found == pytest.approx(stats.norm.cdf(tail[1]) - stats.norm.cdf(tail[0]), rel=1e-11)


def test_draws_follow_the_truncated_normal() -> None:
    rng = np.random.default_rng(0)
    for mu, sigma in ((0.0, 0.05), (0.5, 1.0), (0.9, 0.3)):
        drawn = draw(np.full(4000, mu), np.full(4000, sigma), rng)
        cut = stats.truncnorm(-mu / sigma, (1 - mu) / sigma, mu, sigma)
        assert stats.kstest(drawn, cut.cdf).pvalue > 1e-3
        assert log_mass(np.array([mu]), np.array([sigma]))[0] == pytest.approx(
            np.log(stats.norm.cdf(1, mu, sigma) - stats.norm.cdf(0, mu, sigma)), abs=1e-12
        )


def optuna_log_pdf(params: list[Params], asked: list[Params]) -> FloatArray:
    """Optuna 5's density on the same observations, weighted by age."""
    optuna = pytest.importorskip("optuna")
    estimator = pytest.importorskip("optuna.samplers._tpe.parzen_estimator")
    weights = pytest.importorskip("optuna.samplers._tpe.sampler").default_weights
    of = optuna.distributions
    space = {
        "x": of.FloatDistribution(-2.0, 3.0),
        "rate": of.FloatDistribution(1e-4, 1.0, log=True),
        "n": of.IntDistribution(1, 900),
        "s": of.FloatDistribution(0.0, 200.0, step=0.25),
        "c": of.CategoricalDistribution(["a", "b", "c", "d"]),
    }
    settings_ = estimator._ParzenEstimatorParameters(1.0, True, False, weights, True)

    def internal(rows: list[Params]) -> dict[str, Any]:
        return {name: np.array([kind.to_internal_repr(row[name]) for row in rows]) for name, kind in space.items()}

    found = estimator._ParzenEstimator(internal(params), space, settings_).log_pdf(internal(asked))
    return np.asarray(found)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 30, 200])
def test_the_density_equals_optunas(n: int) -> None:
    rng = np.random.default_rng(n)
    params, asked = ([FLAT.sample(rng) for _ in range(count)] for count in (n, 40))
    for row, k, s in zip(params, rng.permutation(900), rng.permutation(801), strict=False):
        row.update(n=int(k) + 1, s=float(s) / 4)  # no ties, whose order is arbitrary in Optuna
    expected = optuna_log_pdf(params, asked)
    found = parzen(Tree.of(FLAT), FLAT.to_unit(params), recency(n), OPTUNA.bandwidths)
    of_units = found.log_density(FLAT.to_unit(asked))
    # Optuna's density is on the scales of x and log(rate), ours on the unit scale
    np.testing.assert_allclose(of_units - np.log(5.0) - np.log(np.log(1e4)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rules", [HPT, OPTUNA])
@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_a_density_integrates_to_one(n: int, rules: Any) -> None:
    found = density(Space({"x": Float(0, 1)}), n, rules)
    total, _ = integrate.quad(
        lambda u: float(np.exp(found.log_density(np.array([[u]])))[0]), 0, 1, limit=400, epsabs=1e-10
    )
    assert total == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("n", [0, 1, 5, 40])
def test_a_density_over_a_tree_sums_to_one(n: int) -> None:
    found = density(BRANCHES, n)
    every = BRANCHES.to_unit(list(BRANCHES.grid()))
    assert len(every) == BRANCHES.size
    assert np.exp(found.log_density(every)).sum() == pytest.approx(1.0, abs=1e-12)


@given(spaces(max_size=5), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_any_finite_space_sums_to_one(space: Space, n: int, seed: int) -> None:
    size = space.size
    found = density(space, n, seed=seed)
    if size is not None and size <= 3000:
        total = np.exp(found.log_density(space.to_unit(list(space.grid())))).sum()
        assert total == pytest.approx(1.0, abs=1e-9)
    drawn = found.sample(20, np.random.default_rng(seed))
    assert np.isfinite(found.log_density(drawn)).all()
    for row in drawn:
        params = space.from_unit(np.nan_to_num(row, nan=0.5))
        assert space.contains(params)
        np.testing.assert_allclose(space.to_unit(params), row, atol=1e-11)


def test_draws_follow_the_density_over_a_tree() -> None:
    found = density(BRANCHES, 12)
    every = list(BRANCHES.grid())
    place = {BRANCHES.key(params): i for i, params in enumerate(every)}
    drawn = found.sample(40_000, np.random.default_rng(1))
    counts = np.zeros(len(every))
    for row in drawn:
        counts[place[BRANCHES.key(BRANCHES.from_unit(np.nan_to_num(row, nan=0.5)))]] += 1
    expected = 40_000 * np.exp(found.log_density(BRANCHES.to_unit(every)))
    often = expected >= 5
    rest = [counts[~often].sum()], [expected[~often].sum()]
    observed, wanted = np.append(counts[often], rest[0]), np.append(expected[often], rest[1])
    assert stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-3


def test_the_density_equals_brute_force_over_kernels() -> None:
    """Each kernel by scipy, and the parameters of a branch from the trials of that branch only."""
    space = Space({"b": Categorical("l", "r"), "x": Float(0, 1, when={"b": "l"}), "y": Float(0, 1)})
    rows = np.array([[0.25, 0.2, 0.6], [0.75, np.nan, 0.3], [0.25, 0.9, 0.5]])
    w = np.array([1.0, 0.5, 2.0])
    found = parzen(Tree.of(space), rows, w, HPT.bandwidths)

    def normal(u: float, mu: float, sigma: float) -> float:
        return float(stats.truncnorm(-mu / sigma, (1 - mu) / sigma, mu, sigma).pdf(u))

    sigma_y = HPT.bandwidths.of(rows[:, 2])
    top = normal(0.7, 0.5, 1.0) / 2  # the prior
    for k, row in enumerate(rows):
        kernel_b = (1 + 0.5 / 4) / (1 + 1 / 4) if row[0] == 0.25 else (0.5 / 4) / (1 + 1 / 4)
        top += w[k] * kernel_b * normal(0.7, row[2], sigma_y[k])
    sigma_x = HPT.bandwidths.of(rows[[0, 2], 1])
    below = normal(0.4, 0.5, 1.0) + 1.0 * normal(0.4, 0.2, sigma_x[0]) + 2.0 * normal(0.4, 0.9, sigma_x[1])
    expected = np.log(top / 4.5) + np.log(below / 4.0)
    assert found.log_density(np.array([[0.25, 0.4, 0.7]]))[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("parameter", [Int(1, 9), Int(2, 300, log=True), Float(0, 1, step=0.1), Ordinal(1, 2, 5)])
def test_the_cells_equal_those_of_the_parameter(parameter: Any) -> None:
    tree = Tree.of(Space({"p": parameter}))
    edges = tree.columns[0].edges
    assert edges is not None
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = parameter.value_at(i)
        assert parameter.from_unit(low + 1e-9) == parameter.from_unit(high - 1e-9) == inside
