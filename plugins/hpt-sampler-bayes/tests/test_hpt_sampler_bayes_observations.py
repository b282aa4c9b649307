"""The losses of early-stopped, paused and failed trials."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_core import Failure, Float, History, Space
from hpt_core.components import Pause
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_sampler_bayes.constraints import bilog
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.observations import Observations, observe

SPACE = Space({"x": Float(0, 1)})


def stop(history: History, number: int, value: float) -> None:
    history.apply(events.stopped_early(99.0, number, 1, (value,), 0, "rule", "enough", {}))


def seen(history: History) -> Observations:
    return observe(history, Encoding.of(SPACE))


def at(observations: Observations, x: float) -> float:
    return float(observations.y[np.argmin(np.abs(observations.rows[:, 0] - x))])


def test_a_stopped_curve_counts_with_its_extrapolated_loss() -> None:
    curves = {0: [5.0, 3.0, 1.0], 1: [6.0, 5.0, 4.0], 2: [9.0, 7.5]}
    history = make_history(SPACE, [({"x": 0.1}, 1.0), ({"x": 0.2}, 4.0)], running=[{"x": 0.3}], reports=curves)
    stop(history, 2, 7.5)
    assert at(seen(history), 0.3) == pytest.approx(7.5 - 1.5)  # medians of the changes from step 2: -2 and -1


def test_a_stopped_trial_never_becomes_the_best() -> None:
    curves = {0: [5.0, 1.0], 1: [2.0]}
    history = make_history(SPACE, [({"x": 0.1}, 1.0)], running=[{"x": 0.3}], reports=curves)
    stop(history, 1, 2.0)
    assert at(seen(history), 0.3) == 1.0


def test_a_value_set_by_the_stopping_rule_is_kept() -> None:
    curves = {0: [5.0, 3.0, 1.0], 1: [9.0, 7.5]}
    history = make_history(SPACE, [({"x": 0.1}, 1.0)], running=[{"x": 0.3}], reports=curves)
    stop(history, 1, 6.25)
    assert at(seen(history), 0.3) == 6.25


def test_stopped_folds_are_compared_by_the_means_of_the_same_folds() -> None:
    curves = {0: [1.0, 3.0, 5.0], 1: [2.0, 4.0]}
    history = make_history(SPACE, [({"x": 0.1}, 3.0)], running=[{"x": 0.3}], reports=curves, evidence="folds", steps=3)
    stop(history, 1, 3.0)
    assert at(seen(history), 0.3) == pytest.approx(3.0 + 1.0)  # the complete one went from 2 to 3


def test_a_paused_trial_is_evidence_and_a_running_one_is_pending() -> None:
    curves = {0: [5.0, 3.0], 1: [6.0]}
    history = make_history(SPACE, [({"x": 0.1}, 3.0)], running=[{"x": 0.3}, {"x": 0.7}], reports=curves)
    history.apply(events.paused(99.0, 1, 1, 0, "rule", "later", {}))
    observations = seen(history)
    assert at(observations, 0.3) == pytest.approx(4.0)
    np.testing.assert_allclose(observations.pending, SPACE.to_unit([{"x": 0.7}]))


def test_a_running_trial_with_reports_and_a_paused_one_without_are_pending() -> None:
    curves = {0: [5.0, 3.0], 1: [6.0]}
    history = make_history(SPACE, [({"x": 0.1}, 3.0)], running=[{"x": 0.3}, {"x": 0.7}], reports=curves)
    history.apply(events.paused(99.0, 2, 1, 0, "rule", "later", {}))
    observations = seen(history)
    np.testing.assert_allclose(observations.rows, SPACE.to_unit([{"x": 0.1}]))
    np.testing.assert_allclose(observations.pending, SPACE.to_unit([{"x": 0.3}, {"x": 0.7}]))


def test_with_several_objectives_a_stopped_trial_has_its_values_and_a_paused_one_is_pending() -> None:
    trials = [({"x": 0.1}, (3.0, -1.0)), ({"x": 0.3}, Pause("later"))]
    history = make_history(
        SPACE, trials, directions=("minimize", "maximize"), running=[{"x": 0.7}], reports={1: [2.0], 2: [9.0]}
    )
    history.apply(events.stopped_early(99.0, 2, 1, (7.0, 5.0), 0, "rule", "enough", {}))
    observations = seen(history)
    np.testing.assert_array_equal(observations.losses, [[3.0, 1.0], [7.0, -5.0]])
    np.testing.assert_array_equal(observations.y, [3.0, 7.0])
    np.testing.assert_allclose(observations.pending, SPACE.to_unit([{"x": 0.3}]))


@pytest.mark.parametrize("curve", [[], [6.25]])
@pytest.mark.parametrize("others", [[], [({"x": 0.1}, 3.0)]])
def test_a_stopped_trial_with_nothing_to_compare_keeps_its_value(others: list[object], curve: list[float]) -> None:
    number = len(others)
    history = make_history(SPACE, others, running=[{"x": 0.3}], reports={number: curve})  # type: ignore[arg-type]
    stop(history, number, 6.25)
    assert at(seen(history), 0.3) == 6.25


def test_of_many_trials_some_curves_extrapolate() -> None:
    curves = {k: [float(k + 1), float(k)] for k in range(300)} | {300: [50.0]}
    trials: list[tuple[dict[str, float], object]] = [({"x": k / 300}, float(k)) for k in range(300)]
    history = make_history(SPACE, trials, running=[{"x": 0.999}], reports=curves)
    stop(history, 300, 50.0)
    assert at(seen(history), 0.999) == 49.0


def test_failures_are_kept_apart_and_nothing_is_lost() -> None:
    history = make_history(SPACE, [({"x": 0.1}, 3.0), ({"x": 0.5}, Failure("error", "no")), ({"x": 0.9}, -1.0)])
    observations = seen(history)
    np.testing.assert_allclose(observations.failed, SPACE.to_unit([{"x": 0.5}]))
    np.testing.assert_allclose(observations.y, [-1.0, 3.0])


def test_the_order_of_the_trials_does_not_matter() -> None:
    outcomes = [0.0, 1.0, 2.0, 0.0, Failure("error", "no"), Failure("error", "no"), 1.0]
    trials = [({"x": k / 9}, outcome) for k, outcome in enumerate(outcomes)]
    running = [{"x": 7 / 9}, {"x": 8 / 9}]
    one = seen(make_history(SPACE, trials, running=running))
    two = seen(make_history(SPACE, trials[::-1], running=running[::-1]))
    for part in ("rows", "y", "failed", "pending"):
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_recognising_a_value_set_by_a_rule_does_not_depend_on_the_unit(scale: float) -> None:
    curves = {0: [5.0 * scale, 3.0 * scale, 1.0 * scale], 1: [1e6 * scale, 7.5 * scale]}
    history = make_history(SPACE, [({"x": 0.1}, 1.0 * scale)], running=[{"x": 0.3}], reports=curves)
    stop(history, 1, 6.25 * scale)
    assert at(seen(history), 0.3) == 6.25 * scale


@pytest.mark.parametrize("directions", [("minimize", "maximize"), ("minimize", "maximize", "minimize")])
def test_the_largest_floats_as_losses_of_several_objectives_do_not_overflow(directions: tuple[str, ...]) -> None:
    values = [tuple(1.79e308 * (-1) ** (k // 2 + j) for j in range(len(directions))) for k in range(8)]
    trials: list[tuple[dict[str, float], object]] = [({"x": k / 7}, value) for k, value in enumerate(values)]
    observations = seen(make_history(SPACE, trials, directions=directions))
    assert np.ptp(observations.losses, axis=0) == pytest.approx(2e300)
    assert np.ptp(observations.y) > 0.1


def test_the_largest_floats_beyond_a_constraint_do_not_overflow() -> None:
    """They do not hide the sign of the other excesses either."""
    bound = [1.7e308, -1.7e308, 1.7e308, -1.7e308]
    trials: list[tuple[dict[str, float], object]] = [
        ({"x": k / 7}, {"value": 0.0, "ms": m}) for k, m in enumerate(bound)
    ]
    observations = seen(make_history(SPACE, trials, constraints={"ms": "<= 0"}))
    transformed = bilog(observations.excess[:, 0])
    assert np.isfinite(transformed).all()
    np.testing.assert_array_equal(np.sign(transformed), np.sign(observations.excess[:, 0]))
