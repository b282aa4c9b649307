"""The Gaussian process against scikit-learn, finite differences and its own draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from hpt_stopping_regret import gp

RNG = np.random.default_rng(0)
X = RNG.random((25, 3))
Y = np.sin(5 * X[:, 0]) + X[:, 1] ** 2 + 0.05 * RNG.normal(size=25)
AT = RNG.random((12, 3))
NUMERIC = np.zeros(3, dtype=bool)
THETA = np.log([0.4, 0.9, 2.0, 1.3, 0.01])


def reference(theta: Any) -> Any:
    """Scikit-learn's process under the same hyperparameters, noise as a variance on the diagonal."""
    values = np.exp(theta)
    kernel = ConstantKernel(values[3]) * Matern(values[:3], nu=2.5)
    return GaussianProcessRegressor(kernel, alpha=values[4] + 1e-9, optimizer=None).fit(X, Y)


def test_the_prediction_is_that_of_scikit_learn() -> None:
    mean, sd = gp.GP.conditioned(THETA, X, Y, NUMERIC).marginal(AT)
    wanted_mean, wanted_sd = reference(THETA).predict(AT, return_std=True)
    np.testing.assert_allclose(mean, wanted_mean, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(sd, wanted_sd, rtol=1e-6)


def test_the_posterior_is_the_likelihood_of_scikit_learn_times_the_prior() -> None:
    def likelihood(theta: Any) -> float:
        values = np.exp(theta)
        kernel = ConstantKernel(values[3]) * Matern(values[:3], nu=2.5) + WhiteKernel(values[4] + 1e-9)
        return float(
            GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(X, Y).log_marginal_likelihood_value_
        )

    def prior(theta: Any) -> float:
        centre = [math.sqrt(2) + 0.5 * math.log(3) - 3] * 3 + [0.0, -6.0]
        return float(-0.5 * np.sum(((theta - centre) / np.array([math.sqrt(3)] * 3 + [1.0, 2.0])) ** 2))

    gaps = gp.squares(X, X, NUMERIC)
    other = THETA + np.array([0.3, -0.2, 0.5, -0.4, 0.7])
    ours = gp.negative_log_posterior(THETA, gaps, Y)[0] - gp.negative_log_posterior(other, gaps, Y)[0]
    assert ours == pytest.approx(likelihood(other) + prior(other) - likelihood(THETA) - prior(THETA), rel=1e-8)


def test_the_gradient_is_that_of_finite_differences() -> None:
    mixed = X.copy()
    mixed[:, 2] = RNG.integers(0, 3, 25)
    gaps = gp.squares(mixed, mixed, np.array([False, False, True]))
    assert gp.negative_log_posterior(THETA, gaps, Y)[1] == pytest.approx(
        [
            (gp.negative_log_posterior(THETA + h, gaps, Y)[0] - gp.negative_log_posterior(THETA - h, gaps, Y)[0]) / 2e-5
            for h in 1e-5 * np.eye(5)
        ],
        rel=1e-5,
    )


def test_categories_are_one_hot_codes_over_root_two() -> None:
    codes = np.array([0.1, 0.5, 0.9])[RNG.integers(0, 3, 25)]
    mixed = np.column_stack([X[:, :2], codes])
    onehot = np.column_stack([X[:, :2], np.stack([codes == c for c in (0.1, 0.5, 0.9)], axis=1) / math.sqrt(2)])
    theta = np.log([0.4, 0.9, 0.7, 1.3, 0.01])
    wide = np.log([0.4, 0.9, 0.7, 0.7, 0.7, 1.3, 0.01])
    ours = gp.GP.conditioned(theta, mixed, Y, np.array([False, False, True])).marginal(mixed[:5])
    theirs = gp.GP.conditioned(wide, onehot, Y, np.zeros(5, dtype=bool)).marginal(onehot[:5])
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_draws_have_the_joint_posterior() -> None:
    model = gp.GP.conditioned(THETA, X, Y, NUMERIC)
    drawn = model.draws(AT, np.random.default_rng(1).standard_normal((12, 40_000)))
    mean, covariance = reference(THETA).predict(AT, return_cov=True)
    np.testing.assert_allclose(drawn.mean(axis=1), mean, atol=5 * math.sqrt(covariance.max() / 40_000))
    np.testing.assert_allclose(np.cov(drawn), covariance, atol=0.03 * covariance.max())


def test_the_fit_is_a_maximum_and_its_draws_have_width() -> None:
    normals = np.random.default_rng(2).standard_normal((200, 5))
    best, *around = gp.fit(X, Y, NUMERIC, normals)
    gaps = gp.squares(X, X, NUMERIC)
    top = gp.negative_log_posterior(best, gaps, Y)[0]
    for move in 0.05 * np.vstack([np.eye(5), -np.eye(5)]):
        moved = np.clip(best + move, *gp.bounds(3))
        assert gp.negative_log_posterior(moved, gaps, Y)[0] >= top - 1e-3
    spread = np.std(around, axis=0)
    assert spread[2] > spread[0]  # the third column does nothing: its length scale is open
    assert (spread > 0.02).all()


def test_the_draws_have_the_covariance_of_the_curvature_and_stay_within_the_bounds() -> None:
    best, *moved = gp.fit(X, Y, NUMERIC, 1e-3 * np.eye(5))
    root = (np.array(moved) - best).T / 1e-3
    gaps, h = gp.squares(X, X, NUMERIC), 1e-2 * np.eye(5)

    def value(theta: Any) -> float:
        return gp.negative_log_posterior(theta, gaps, Y)[0]

    curvature = [
        [(value(best + a + b) - value(best + a - b) - value(best - a + b) + value(best - a - b)) / 4e-4 for b in h]
        for a in h
    ]
    np.testing.assert_allclose(root @ root.T, np.linalg.inv(curvature), rtol=0.02, atol=0.01)
    low, high = gp.bounds(3)
    far = np.array(gp.fit(X, Y, NUMERIC, 99.0 * np.eye(5)))
    assert ((low <= far) & (far <= high)).all()
