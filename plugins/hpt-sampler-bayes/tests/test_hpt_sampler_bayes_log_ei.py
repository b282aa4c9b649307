"""Log expected improvement against fifty-digit arithmetic and simulation."""

from __future__ import annotations

import mpmath  # type: ignore[import-untyped] # ships no types
import numpy as np
import pytest

from hpt_sampler_bayes.log_ei import log_ei, log_ei_with_gradient, log_h

U = [30.0, 5.0, 1.0, 0.0, -0.999, -1.001, -5.0, -25.0, -49.9, -50.1, -100.0, -1e3, -1e5]


def exact_log_h(u: float) -> mpmath.mpf:
    mpmath.mp.dps = 60
    v = mpmath.mpf(u)
    t = mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(v * v / 2) * mpmath.erfc(-v / mpmath.sqrt(2))
    if u < -200:  # erfc does not underflow earlier, but its product with exp needs more digits
        mpmath.mp.dps = 120
        q = 1 / v**2
        series = mpmath.fsum((-1) ** k * mpmath.fac2(2 * k + 1) * q**k for k in range(12))
        return -v * v / 2 - mpmath.log(2 * mpmath.pi) / 2 + mpmath.log(q * series)
    return -v * v / 2 - mpmath.log(2 * mpmath.pi) / 2 + mpmath.log(1 + v * t)


@pytest.mark.parametrize("u", U)
def test_log_h_is_exact_to_rounding(u: float) -> None:
    exact = exact_log_h(u)
    assert float(log_h(np.array([u]))[0]) == pytest.approx(float(exact), rel=2e-14, abs=2e-15)


@pytest.mark.parametrize("branch", [-1.0, -50.0])
def test_branches_meet(branch: float) -> None:
    left, right = log_h(np.array([np.nextafter(branch, -np.inf), np.nextafter(branch, np.inf)]))
    assert left == pytest.approx(right, rel=1e-12)


def test_log_h_grows_with_u() -> None:
    u = np.concatenate([-np.logspace(5, 0, 500), np.linspace(-0.9, 40, 500)])
    assert np.all(np.diff(log_h(u)) > 0.0)


@pytest.mark.parametrize("u", U)
def test_the_gradient_is_exact(u: float) -> None:
    mpmath.mp.dps = 60
    mu, sd = -u * 0.7, 0.7
    value, by_mu, by_sd = log_ei_with_gradient(np.array([mu]), np.array([sd]), 0.0)
    v = mpmath.mpf(u)
    if u < -200:
        q = 1 / v**2
        rest = q * mpmath.fsum((-1) ** k * mpmath.fac2(2 * k + 1) * q**k for k in range(12))
        ratio = (rest - 1) / v
    else:
        ratio = mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(v * v / 2) * mpmath.erfc(-v / mpmath.sqrt(2))
        rest = 1 + v * ratio
    assert float(value[0]) == pytest.approx(float(log_ei(np.array([mu]), np.array([sd]), 0.0)[0]), rel=1e-15)
    assert float(by_mu[0]) == pytest.approx(float(-ratio / rest / sd), rel=1e-9)
    assert float(by_sd[0]) == pytest.approx(float(1 / rest / sd), rel=1e-9, abs=1e-100)


def test_expected_improvement_equals_simulation() -> None:
    draws = np.random.default_rng(0).normal(0.3, 0.8, size=400_000)
    simulated = np.maximum(0.1 - draws, 0.0)
    error = 4 * simulated.std() / np.sqrt(len(draws))
    value = np.exp(log_ei(np.array([0.3]), np.array([0.8]), 0.1)[0])
    assert value == pytest.approx(simulated.mean(), abs=error)
