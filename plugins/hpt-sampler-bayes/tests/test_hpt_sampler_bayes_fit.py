"""The evidence against scikit-learn and scipy, its gradient against finite differences, and the fit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gamma, lognorm, multivariate_normal, norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from hpt_sampler_bayes.fit import HyperPosterior, bounds, cold_start, map_fit
from hpt_sampler_bayes.kernel import FloatArray, matern52, squared_distances

GROUP = np.array([0, 1, 2, 2, 2])
THETA = np.log([4.0, 0.7, 1.5, 1.3, 1e-2])


def evidence(n: int = 30, seed: int = 0) -> HyperPosterior:
    """Ordered parameters, a category, and one that is inactive (0.5, all zeros) in some rows."""
    rng = np.random.default_rng(seed)
    hot = np.eye(3)[rng.integers(3, size=n)] * np.sqrt(0.5)
    z = np.column_stack([rng.random((n, 2)), hot])
    z[::3, 1] = 0.5
    z[::4, 2:] = 0.0
    y = np.sin(5 * z[:, 0]) + z[:, 1] + z[:, 2] + 0.1 * rng.standard_normal(n)
    return HyperPosterior(z, (y - y.mean()) / y.std(), GROUP, active=3)


def gls_mean(e: HyperPosterior, k: FloatArray) -> float:
    solved = np.linalg.solve(k, np.column_stack([np.ones(len(k)), e.y]))
    return float(solved[:, 1].sum() / solved[:, 0].sum())


def covariance(e: HyperPosterior, theta: FloatArray) -> FloatArray:
    x = e.z * np.exp(0.5 * theta[:-2])[e.group]
    k = np.exp(theta[-2]) * matern52(squared_distances(x, x))
    return np.asarray(k + np.exp(theta[-1]) * np.eye(len(x)))


def test_the_evidence_equals_the_density_of_a_multivariate_normal() -> None:
    e = evidence()
    k = covariance(e, THETA)
    expected = multivariate_normal(np.full(len(e.y), gls_mean(e, k)), k).logpdf(e.y)
    assert -e.neg_log_evidence(THETA)[0] == pytest.approx(expected, rel=1e-10)


def test_the_evidence_equals_scikit_learn() -> None:
    e = evidence()
    scales = np.exp(-0.5 * THETA[:-2])[GROUP]
    kernel = ConstantKernel(np.exp(THETA[-2])) * Matern(scales, nu=2.5) + WhiteKernel(np.exp(THETA[-1]))
    centred = e.y - gls_mean(e, covariance(e, THETA))
    peer = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(e.z, centred)
    assert -e.neg_log_evidence(THETA)[0] == pytest.approx(peer.log_marginal_likelihood_value_, abs=1e-8)


@pytest.mark.parametrize(("seed", "results"), [(0, 30), (1, 30), (2, 20)])
def test_the_gradient_equals_finite_differences_for_every_kind_of_parameter(seed: int, results: int) -> None:
    e = evidence(results, seed)
    theta = THETA + np.random.default_rng(seed).normal(size=len(THETA))
    for function in (e.neg_log_evidence, e.neg_log_prior, e):
        _, gradient = function(theta)
        steps = np.eye(len(theta)) * 1e-5
        slope = [(function(theta + s)[0] - function(theta - s)[0]) / 2e-5 for s in steps]
        np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("results", [24, 25])
def test_the_prior_is_the_product_of_the_densities_that_the_docs_name(results: int) -> None:
    e = evidence(results)

    def log_density(theta: FloatArray) -> float:
        scales, s2 = np.exp(-0.5 * theta[:-2]), np.exp(theta[-2])
        lengths = lognorm(s=np.sqrt(3.0), scale=np.exp(np.sqrt(2.0) + 0.5 * np.log(3))).logpdf(scales).sum()
        if results < 25:
            lengths = norm(-0.65 + 0.5 * np.log(3), 1.03).logpdf(np.log(scales)).sum()
        return float(lengths + gamma(2.0).logpdf(s2) + norm(-8.0, 3.0).logpdf(theta[-1]))

    other = THETA + 0.3
    assert e.neg_log_prior(THETA)[0] - e.neg_log_prior(other)[0] == pytest.approx(
        log_density(other) - log_density(THETA)
    )


def test_the_fit_ends_where_the_gradient_vanishes_or_at_a_bound() -> None:
    e = evidence(60)
    theta = cold_start(3)
    for _ in range(5):  # a fit ends after 40 iterations
        theta, value = map_fit(e, [theta])
    found, gradient = e(theta)
    assert found == pytest.approx(value)
    box = bounds(3)
    inside = (theta > box[:, 0] + 1e-9) & (theta < box[:, 1] - 1e-9)
    assert np.abs(gradient[inside]).max() < 1e-2
    assert value < e(cold_start(3))[0]


def test_the_fit_takes_the_best_of_its_starts() -> None:
    e = evidence()
    poor = np.array([-6.0, -6.0, -6.0, 4.0, 0.0])
    both = map_fit(e, [poor, cold_start(3)])[1]
    assert both == min(map_fit(e, [poor])[1], map_fit(e, [cold_start(3)])[1])


def test_hyperparameters_without_a_cholesky_factor_are_avoided() -> None:
    e = HyperPosterior(np.zeros((5, 1)), np.arange(5.0), np.zeros(1, dtype=np.intp), 1)
    value, gradient = e(np.array([0.0, 0.0, -700.0]))  # equal points without noise
    assert 1e9 < value < np.inf
    assert np.isfinite(gradient).all()


def test_a_lengthscale_that_matters_is_found_shorter() -> None:
    rng = np.random.default_rng(0)
    z = rng.random((60, 2))
    y = np.sin(8 * z[:, 0])
    theta, _ = map_fit(HyperPosterior(z, (y - y.mean()) / y.std(), np.arange(2), 2), [cold_start(2)])
    assert theta[0] > theta[1] + 2.0


@pytest.mark.parametrize("y", [np.zeros(5), np.array([0.0]), np.array([1.0, -1.0])])
def test_degenerate_losses_are_fitted_without_an_error(y: FloatArray) -> None:
    z = np.zeros((len(y), 2))
    theta, value = map_fit(HyperPosterior(z, y, np.arange(2), 2), [cold_start(2)])
    assert np.isfinite(theta).all()
    assert np.isfinite(value)
