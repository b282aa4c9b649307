"""Output warps against scipy, their inverses and their invariances."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from hpt_sampler_bayes.warp import (
    HalfRank,
    Warp,
    YeoJohnson,
    fit_warp,
    yeo_johnson,
    yeo_johnson_fit,
    yeo_johnson_inverse,
)

if TYPE_CHECKING:
    from hpt_sampler_bayes.kernel import FloatArray

LOSSES = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6))


@pytest.mark.parametrize("lam", [-1.5, 0.0, 0.3, 1.0, 2.0, 3.5])
def test_yeo_johnson_equals_scipy(lam: float) -> None:
    x = np.linspace(-3, 4, 40)
    np.testing.assert_allclose(yeo_johnson(x, lam), stats.yeojohnson(x, lmbda=lam), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("lam", [-1.5, 0.0, 0.3, 1.0, 2.0, 3.5])
def test_yeo_johnson_has_an_exact_inverse(lam: float) -> None:
    x = np.linspace(-3, 4, 40)
    np.testing.assert_allclose(yeo_johnson_inverse(yeo_johnson(x, lam), lam), x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_the_fitted_exponent_equals_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.gamma(1.0 + seed, size=80) ** 1.5 * (-1.0) ** seed
    x = (x - x.mean()) / x.std()
    expected = stats.yeojohnson_normmax(x)
    if not -4.0 < expected < 6.0:
        pytest.skip("beyond the range that is searched")
    assert yeo_johnson_fit(x) == pytest.approx(expected, abs=2e-3)


def test_half_rank_leaves_the_good_half_unchanged_up_to_scale() -> None:
    y = np.array([0.0, 0.1, 0.5, 0.7, 1.0, 9.0, 50.0, 1e9, 3.0])
    t = HalfRank.fit(y).t
    good = y <= np.median(y)
    slope = (t[1] - t[0]) / (y[1] - y[0])
    np.testing.assert_allclose(t[good] - t[0], slope * (y[good] - y[0]), rtol=1e-9)
    assert t.max() < 4.0


def test_half_rank_puts_the_worse_half_at_gaussian_quantiles() -> None:
    y = np.array([-3.0, -2.0, -1.0, 0.0, 10.0, 1000.0])
    warp = HalfRank.fit(y)
    spread = np.sqrt(np.mean((y[:3] + 0.5) ** 2))
    raw = np.concatenate([y[:3] + 0.5, spread * stats.norm.ppf([0.5 + k / 6 for k in (0.5, 1.5, 2.5)])])
    np.testing.assert_allclose(warp.t, (raw - raw.mean()) / raw.std(), rtol=1e-9)


@given(LOSSES)
def test_both_warps_keep_the_order_and_are_standard(y: FloatArray) -> None:
    for t in (HalfRank.fit(y).t, YeoJohnson.fit(y).t):
        assert np.isfinite(t).all()
        order = np.argsort(y, kind="stable")
        assert np.all(np.diff(t[order]) >= -1e-9)
        assert abs(t.mean()) < 1e-6
        assert t.std() == pytest.approx(1.0, abs=1e-6) or not t.any()


@pytest.mark.parametrize("fit", [HalfRank.fit, YeoJohnson.fit])
def test_warps_are_invariant_to_shift_and_scale(fit: Callable[[FloatArray], Warp]) -> None:
    y = np.random.default_rng(0).gamma(0.5, size=40)
    np.testing.assert_allclose(fit(y).t, fit(123.0 * y - 7.0).t, rtol=1e-6, atol=1e-6)


def test_the_inverses_give_back_the_losses() -> None:
    y = np.random.default_rng(1).gamma(2.0, size=30)
    for warp in (HalfRank.fit(y), YeoJohnson.fit(y)):
        np.testing.assert_allclose(warp.inverse(warp.t), y, rtol=1e-6)
        grid = warp.inverse(np.linspace(-4, 4, 50))
        assert np.all(np.diff(grid) >= 0.0)


@pytest.mark.parametrize(
    "y",
    [
        np.array([3.0]),
        np.full(7, 2.5),
        np.array([0.0, 1.0, 1e30]),
        np.append(np.linspace(0, 1, 30), 1e30),
        np.append(np.linspace(0, 1, 30), -1e30),
        np.append(np.zeros(20), 1.0),
        np.array([1e308, -1e308, 0.0]),
        1e-300 * np.arange(5.0),
    ],
)
def test_extreme_losses_are_warped_to_finite_ones(y: FloatArray) -> None:
    for warp in (HalfRank.fit(y), YeoJohnson.fit(y)):
        assert np.isfinite(warp.t).all()
        assert np.abs(warp.t).max() < 10.0
        assert np.isfinite(warp.inverse(np.array([-3.0, 0.0, 3.0]))).all()


def test_one_outlier_leaves_the_shape_of_the_others() -> None:
    y = np.append(np.linspace(0, 1, 30), 1e30)
    t = YeoJohnson.fit(y).t[:-1]
    assert np.corrcoef(t, y[:-1])[0, 1] > 0.95
    assert np.ptp(t) > 1.0


def test_the_inverse_handles_losses_that_rounding_made_equal() -> None:
    warp = HalfRank.fit(np.array([-1e-200, 0.0, 0.0, 0.0, 1.0]))
    assert warp.knots_t[0] == warp.knots_t[1]
    back = warp.inverse(np.array([warp.knots_t[0] - 1.0, warp.t.max()]))
    assert np.isfinite(back).all()
    assert back[0] < 0.0
    assert back[1] == pytest.approx(1.0)


@pytest.mark.parametrize(("n", "diverged", "least"), [(4, 1, 1.0), (9, 3, 1.0), (30, 9, 1e-3)])
def test_a_quarter_of_diverged_losses_does_not_flatten_the_others(n: int, diverged: int, least: float) -> None:
    y = np.random.default_rng(0).random(n)
    y[:diverged] *= 1e13
    t = fit_warp(y).t
    assert np.ptp(t[diverged:]) > least
    assert t[:diverged].min() > t[diverged:].max()
