"""The posterior against scikit-learn, dense algebra and finite differences."""

from __future__ import annotations

import mpmath  # type: ignore[import-untyped] # ships no types
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from hpt_sampler_bayes.gp import GP, cholesky
from hpt_sampler_bayes.kernel import FloatArray, matern52, matern52_and_slope, squared_distances

GROUP = np.array([0, 1, 2, 2, 2])  # two numbers and a category of three levels
THETA = np.log([4.0, 0.7, 1.5, 1.3, 1e-3])


def points(n: int, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    hot = np.eye(3)[rng.integers(3, size=n)] * np.sqrt(0.5)
    return np.column_stack([rng.random((n, 2)), hot])


def losses(z: FloatArray) -> FloatArray:
    return np.asarray(np.sin(5 * z[:, 0]) + z[:, 1] ** 2 + z[:, 2])


def dense(z: FloatArray, y: FloatArray, new: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The posterior by dense linear algebra, with the generalised least squares mean."""
    w, (s2, noise) = np.exp(THETA[:-2])[GROUP], np.exp(THETA[-2:])

    def kernel(a: FloatArray, b: FloatArray) -> FloatArray:
        r = np.sqrt(5 * np.sum(w * (a[:, None] - b[None]) ** 2, axis=2))
        return np.asarray(s2 * (1 + r + r * r / 3) * np.exp(-r))

    inverse = np.linalg.inv(kernel(z, z) + noise * np.eye(len(z)))
    mean = inverse.sum(axis=0) @ y / inverse.sum()
    cross = kernel(new, z)
    mu = mean + cross @ inverse @ (y - mean)
    return mu, np.sqrt(s2 - np.sum(cross @ inverse * cross, axis=1))


def test_the_posterior_equals_dense_algebra() -> None:
    z, new = points(30), points(20, seed=1)
    mu, sd = GP.fit(z, losses(z), theta=THETA, group=GROUP).predict(new)
    expected_mu, expected_sd = dense(z, losses(z), new)
    np.testing.assert_allclose(mu, expected_mu, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sd, expected_sd, rtol=1e-7)


def test_the_posterior_equals_scikit_learn_where_the_mean_is_zero() -> None:
    z, new = points(25), points(10, seed=1)
    y = losses(z)
    gp = GP.fit(z, y, theta=THETA, group=GROUP)
    kernel = ConstantKernel(np.exp(THETA[-2])) * Matern(length_scale=np.exp(-0.5 * THETA[:-2])[GROUP], nu=2.5)
    peer = GaussianProcessRegressor(kernel, alpha=np.exp(THETA[-1]), optimizer=None).fit(z, y - gp.mean)
    mu, sd = peer.predict(new, return_std=True)
    np.testing.assert_allclose(gp.predict(new)[0], mu + gp.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gp.predict(new)[1], sd, rtol=1e-7)


def test_the_mean_equals_fifty_digit_arithmetic_on_few_points() -> None:
    z, new = points(5), points(1, seed=2)
    y = losses(z)
    gp = GP.fit(z, y, theta=THETA, group=GROUP)
    mpmath.mp.dps = 50
    w, (s2, noise) = np.exp(THETA[:-2])[GROUP], np.exp(THETA[-2:])

    def entry(a: FloatArray, b: FloatArray) -> mpmath.mpf:
        terms = (mpmath.mpf(v) * (mpmath.mpf(p) - q) ** 2 for v, p, q in zip(w, a, b, strict=True))
        r = mpmath.sqrt(5 * mpmath.fsum(terms))
        return mpmath.mpf(s2) * (1 + r + r * r / 3) * mpmath.exp(-r)

    k = mpmath.matrix(5, 5)
    for i in range(5):
        for j in range(5):
            k[i, j] = entry(z[i], z[j]) + (mpmath.mpf(noise) if i == j else 0)
    centred = mpmath.matrix([mpmath.mpf(v) - mpmath.mpf(gp.mean) for v in y])
    alpha = mpmath.lu_solve(k, centred)
    exact = mpmath.mpf(gp.mean) + mpmath.fsum(entry(new[0], z[i]) * alpha[i] for i in range(5))
    assert float(abs(exact - gp.predict(new)[0][0])) < 1e-11


def test_one_hot_over_root_two_is_the_hamming_distance() -> None:
    hot = np.eye(4)[[0, 1, 3, 3]] * np.sqrt(0.5)
    categories = np.array([0, 1, 3, 3])
    hamming = (categories[:, None] != categories[None]).astype(float)
    np.testing.assert_allclose(squared_distances(hot, hot), hamming, atol=1e-15)


def test_appended_rows_equal_a_fit_to_the_posterior_mean() -> None:
    z, new, at = points(20), points(6, seed=3), points(15, seed=4)
    y = losses(z)
    gp = GP.fit(z, y, theta=THETA, group=GROUP)
    believed = gp.predict(new)[0]
    extended = gp.append(new)
    stacked = np.vstack([z, new])
    w, s2, noise = np.exp(THETA[:-2])[GROUP], np.exp(THETA[-2]), np.exp(THETA[-1])
    k = s2 * matern52(squared_distances(stacked * np.sqrt(w), stacked * np.sqrt(w))) + noise * np.eye(26)
    np.testing.assert_allclose(extended.inverse, np.linalg.inv(np.linalg.cholesky(k)), rtol=1e-6, atol=1e-8)
    alpha = np.linalg.solve(k, np.append(y, believed) - gp.mean)
    np.testing.assert_allclose(extended.alpha, alpha, atol=1e-6)
    np.testing.assert_allclose(extended.predict(at)[0], gp.predict(at)[0], atol=1e-9)
    assert np.all(extended.predict(at)[1] <= gp.predict(at)[1] + 1e-9)


def test_the_gradient_of_the_posterior_equals_finite_differences() -> None:
    z, at = points(20), points(7, seed=5)
    gp = GP.fit(z, losses(z), theta=THETA, group=GROUP)
    columns = np.array([0, 1])
    mu, sd, d_mu, d_sd = gp.predict_with_gradient(at, columns)
    np.testing.assert_allclose([mu, sd], gp.predict(at), rtol=1e-10)
    for k, column in enumerate(columns):
        up, down = at.copy(), at.copy()
        up[:, column] += 1e-6
        down[:, column] -= 1e-6
        slope = (np.array(gp.predict(up)) - np.array(gp.predict(down))) / 2e-6
        np.testing.assert_allclose(d_mu[:, k], slope[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(d_sd[:, k], slope[1], rtol=1e-5, atol=1e-6)


def test_the_slope_of_the_kernel_equals_finite_differences() -> None:
    r2 = np.array([1e-3, 0.1, 1.0, 7.0])
    m, slope = matern52_and_slope(r2)
    np.testing.assert_allclose(m, matern52(r2), rtol=1e-15)
    np.testing.assert_allclose(slope, (matern52(r2 + 1e-7) - matern52(r2 - 1e-7)) / 2e-7, rtol=1e-6)


def test_without_noise_the_posterior_interpolates() -> None:
    z = points(15)
    theta = THETA.copy()
    theta[-1] = np.log(1e-10)
    mu, sd = GP.fit(z, losses(z), theta=theta, group=GROUP).predict(z)
    np.testing.assert_allclose(mu, losses(z), atol=1e-6)
    assert sd.max() < 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_the_variance_lies_between_zero_and_that_of_the_prior(seed: int) -> None:
    z = points(40, seed)
    z[20:] = z[:20]  # repeated points
    _, sd = GP.fit(z, losses(z), theta=THETA, group=GROUP).predict(np.vstack([z, points(100, seed + 50)]))
    assert np.all(sd > 0.0)
    assert np.all(sd <= np.exp(0.5 * THETA[-2]) * (1 + 1e-12))


def test_a_singular_matrix_gets_jitter_and_an_indefinite_one_its_diagonal() -> None:
    ones = np.ones((5, 5))
    factor = cholesky(ones)
    np.testing.assert_allclose(factor @ factor.T, ones, atol=1e-8)
    hopeless = cholesky(np.array([[1.0, 5.0], [5.0, 1.0]]))
    np.testing.assert_allclose(hopeless, np.eye(2))
