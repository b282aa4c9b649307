"""The laws against themselves without noise, and the forecast's stated error against simulated curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import curve_fit

from hpt_stopping_curve.laws import Law, fit, forecast

HORIZON = 50.0
STEPS = np.arange(1.0, HORIZON + 1)


@settings(max_examples=40, deadline=None)
@given(
    a=st.floats(-2, 2),
    b=st.floats(0.1, 3),
    c=st.floats(0.1, 3),
    points=st.integers(5, 40),
    scale=st.sampled_from([1, 7]),
)
def test_a_noiseless_power_law_is_recovered(a: float, b: float, c: float, points: int, scale: int) -> None:
    steps = scale * STEPS[:points]
    found = fit(steps, a + b * steps**-c, "power")
    assert (found.a, found.b, found.c) == pytest.approx((a, b, c), rel=1e-4, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(a=st.floats(-2, 2), b=st.floats(0.1, 3), c=st.floats(0.8, 20), points=st.integers(6, 40))
def test_a_noiseless_exponential_is_recovered(a: float, b: float, c: float, points: int) -> None:
    steps, rate = STEPS[:points], c / points  # the bounds are per last step
    found = fit(steps, a + b * np.exp(-rate * steps), "exponential")
    assert (found.a, found.b, found.c) == pytest.approx((a, b, rate), rel=1e-4, abs=1e-5)


def test_a_noisy_fit_is_that_of_scipy() -> None:
    y = 0.2 + 0.9 * STEPS**-0.7 + 0.01 * np.random.default_rng(0).normal(size=len(STEPS))
    found = fit(STEPS, y, "power")
    wanted, _ = curve_fit(lambda t, a, b, c: a + b * t**-c, STEPS, y, p0=(0.1, 1, 1))
    assert (found.a, found.b, found.c) == pytest.approx(wanted, rel=1e-5)


def regressions(steps: Any, losses: Any, horizon: float) -> Any:
    """Weights, means and squared scales of the value at the horizon, by the textbook's formulas for each shape."""
    found = []
    for law, c in [*((True, c) for c in np.geomspace(0.05, 5, 32)), *((False, c) for c in np.geomspace(0.3, 50, 32))]:
        part = steps**-c if law else np.exp(-c * steps / horizon)
        end = horizon**-c if law else np.exp(-c)
        design = np.column_stack([np.ones(len(steps)), (part - end) / (part[0] - end)])
        covariance = np.linalg.inv(design.T @ design)
        fitted = covariance @ design.T @ losses
        rss, freedom = float(np.sum((losses - design @ fitted) ** 2)), len(steps) - 2
        weight = np.sqrt(np.linalg.det(covariance)) * rss ** (-freedom / 2)
        found.append((weight, fitted[0], rss / freedom * (1 + covariance[0, 0])))
    weights, means, squares = np.array(found).T
    return weights / weights.sum(), means, squares


@pytest.mark.parametrize("points", [5, 20])
def test_the_forecast_is_the_mixture_of_the_regressions_under_each_shape(points: int) -> None:
    """Widened by a tenth of the change to come, and by how far the first half was off at the last point."""
    y = (0.2 + STEPS**-0.5 + 0.05 * np.random.default_rng(3).normal(size=len(STEPS)))[:points]
    found = forecast(STEPS[:points], y, HORIZON)
    weights, means, squares = regressions(STEPS[:points], y, HORIZON)
    half = max(4, points // 2)
    earlier, then, _ = regressions(STEPS[:half], y[:half], float(points))
    scales = np.sqrt(squares + (0.1 * (means - y[-1])) ** 2 + (earlier @ then - y[-1]) ** 2)
    for one, other in ((found.weights, weights), (found.means, means), (found.scales, scales)):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
    assert found.below(0.3) == pytest.approx(weights @ stats.t.cdf((0.3 - means) / scales, points - 2))
    assert found.spread**2 == pytest.approx(weights @ (scales**2 + means**2) - (weights @ means) ** 2)


@pytest.mark.parametrize("law", ["power", "exponential"])
@pytest.mark.parametrize("points", [10, 25])
def test_the_stated_error_holds_where_a_law_is_true(law: Law, points: int) -> None:
    """The chance that it gives to what came is under 5 % in about 5 % of the curves, on either side, or less."""
    rng = np.random.default_rng(1)
    chances = []
    for _ in range(200):
        falling = STEPS ** -rng.uniform(0.2, 2) if law == "power" else np.exp(-STEPS * rng.uniform(0.03, 0.4))
        y = (
            rng.uniform(0, 1)
            + rng.uniform(0.3, 2) * falling
            + 10 ** rng.uniform(-3, -1.5) * rng.normal(size=len(STEPS))
        )
        chances.append(forecast(STEPS[:points], y[:points], HORIZON).below(y[-1]))
    for tail in (np.mean(np.array(chances) < 0.05), np.mean(np.array(chances) > 0.95)):
        assert tail <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 200)


def test_a_curve_that_still_falls_in_a_straight_line_may_end_anywhere_below() -> None:
    found = forecast(STEPS[:15], 1 - 0.01 * STEPS[:15], HORIZON)
    assert found.below(0.6) > 0.05


def test_a_constant_curve_stays() -> None:
    found = forecast(STEPS[:8], np.full(8, 0.25), HORIZON)
    assert found.mean == pytest.approx(0.25)
    assert found.below(0.2499) < 1e-6 < 1 - 1e-6 < found.below(0.2501)


def test_shift_and_scale_of_the_losses_change_nothing() -> None:
    y = 0.2 + STEPS[:20] ** -0.5 + 0.01 * np.random.default_rng(2).normal(size=20)
    plain, moved = forecast(STEPS[:20], y, HORIZON), forecast(STEPS[:20], 5 * y - 1, HORIZON)
    assert moved.mean == pytest.approx(5 * plain.mean - 1)
    assert moved.spread == pytest.approx(5 * plain.spread)
    assert moved.below(5 * 0.25 - 1) == pytest.approx(plain.below(0.25), rel=1e-6)
