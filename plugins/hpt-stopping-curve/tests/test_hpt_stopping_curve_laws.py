"""The laws against themselves without noise, and the forecast's stated error against simulated curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
