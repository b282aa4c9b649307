"""Split sizes, weights and bandwidths, compared with the papers and with Optuna's own functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from hpt_core import Int, Space
from hpt_sampler_tpe.parzen import Mixture
from hpt_sampler_tpe.rules import HPT, OPTUNA, recency
from hpt_sampler_tpe.tree import Tree


@pytest.mark.parametrize("n", range(1, 301))
def test_the_number_of_good_results(n: int) -> None:
    assert OPTUNA.split(n) == min(math.ceil(0.1 * n), 25)
    assert HPT.split(n) == max(2, min(math.ceil(0.1 * n), 25))


def test_the_split_and_the_weights_equal_optunas() -> None:
    theirs = pytest.importorskip("optuna.samplers._tpe.sampler")
    for n in range(1, 301):
        assert OPTUNA.split(n) == theirs.default_gamma(n)
        np.testing.assert_allclose(recency(n), theirs.default_weights(n))


def test_weights_by_age() -> None:
    np.testing.assert_allclose(recency(30), np.append(np.linspace(1 / 30, 1, 5), np.ones(25)))
    shuffled = np.random.default_rng(0).permutation(30)
    np.testing.assert_allclose(OPTUNA.weights(shuffled, good=True), recency(30)[shuffled])


@pytest.mark.parametrize("n", [1, 2, 5, 25])
def test_weights_by_rank_decrease_and_average_to_that_of_the_prior(n: int) -> None:
    found = HPT.weights(np.arange(n)[::-1], good=True)
    assert (np.diff(found) < 0).all()
    assert found.mean() == pytest.approx(1.0)
    np.testing.assert_array_equal(HPT.weights(np.arange(n), good=False), np.ones(n))


def test_bandwidths_equal_a_worked_example() -> None:
    mu = np.array([0.9, 0.1, 0.4])
    # at the ends, the inner gap counts; in the middle, the larger of 0.3 and 0.5; the floor is 1 / (3 + 2)
    np.testing.assert_allclose(OPTUNA.bandwidths.of(mu), [0.5, 0.3, 0.5])
    np.testing.assert_allclose(OPTUNA.bandwidths.of(np.array([0.3])), [0.7])
    np.testing.assert_allclose(OPTUNA.bandwidths.of(np.array([0.3, 0.35])), [0.25, 0.25])
    np.testing.assert_allclose(HPT.bandwidths.of(np.array([0.3, 0.35])), [1 / 16, 1 / 16])
    np.testing.assert_allclose(HPT.bandwidths.of(np.full(200, 0.5)), np.full(200, 0.05))
    # With few values, the floor is half their distance.
    np.testing.assert_allclose(HPT.bandwidths.of(np.full(200, 0.5), 3), np.full(200, 1 / 6))
    np.testing.assert_allclose(HPT.bandwidths.of(np.full(200, 0.5), 500), np.full(200, 0.05))
    np.testing.assert_allclose(OPTUNA.bandwidths.of(np.full(200, 0.5), 3), np.full(200, 0.01))


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_a_kernel_at_one_of_few_values_leaves_mass_to_its_neighbours(size: int) -> None:
    """However often a value was observed, its neighbour has about the normal mass beyond one standard deviation."""
    (column,) = Tree.of(Space({"n": Int(1, size)})).columns
    assert column.centres is not None
    mixture = Mixture.of([column], np.full((40, 1), column.centres[0]), np.ones(40), HPT.bandwidths)
    others = np.exp(mixture.log_density(column.centres[:, None]))
    assert others.sum() == pytest.approx(1.0)
    between = norm.cdf(3.0) - norm.cdf(1.0)  # half a cell is one standard deviation
    kernel = between / norm.cdf(1.0)  # truncated to the interval
    assert others[1] >= 0.95 * kernel * 40 / 41
