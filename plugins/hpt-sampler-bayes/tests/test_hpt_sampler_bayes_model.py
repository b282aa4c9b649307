"""The surrogate: its warp, its target, and the subsample it is fitted to if there are many results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest

from hpt_core import Float, Space
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.model import Model, fit_model
from hpt_sampler_bayes.observations import Observations
from hpt_sampler_bayes.sampler import _one_blas_thread
from hpt_sampler_bayes.warp import HalfRank, YeoJohnson

if TYPE_CHECKING:
    from hpt_sampler_bayes.kernel import FloatArray

ENCODING = Encoding.of(Space({"x": Float(0, 1), "y": Float(0, 1)}))
NONE = np.empty((0, 2))


@pytest.fixture(autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As in the sampler; on a busy machine, several BLAS threads take ten times as long."""
    with _one_blas_thread():
        yield


def observations(n: int, noise: float = 0.0, seed: int = 0, pending: FloatArray = NONE) -> Observations:
    rng = np.random.default_rng(seed)
    rows = rng.random((n, 2))
    y = (rows[:, 0] - 0.3) ** 2 + (rows[:, 1] - 0.6) ** 2 + noise * rng.standard_normal(n)
    return Observations(rows, y, NONE, pending, np.empty((n, 0)), np.zeros(n), y[:, None])


def built(seen: Observations) -> Model:
    return fit_model(ENCODING, seen, [], np.random.default_rng(0))


def test_few_results_are_half_ranked_and_more_are_power_transformed() -> None:
    assert isinstance(built(observations(24)).warp, HalfRank)
    assert isinstance(built(observations(25)).warp, YeoJohnson)


def incumbent(model: Model, seen: Observations) -> float:
    noisy = np.exp(model.theta[-1]) > 1e-3
    return float((model.posterior.predict(seen.rows)[0] if noisy else model.warp.t).min())


def test_the_target_is_near_at_first_and_then_alternates_between_near_and_far() -> None:
    margins = []
    for n, pending in ((9, NONE), (20, NONE), (21, NONE), (22, NONE), (20, np.array([[0.1, 0.1]]))):
        seen = observations(n, pending=pending)
        model = built(seen)
        margins.append(round(incumbent(model, seen) - model.acquisition.target, 9))
    assert margins == [0.02, 0.02, 0.3, 0.02, 0.3]


def test_with_noise_the_incumbent_is_the_lowest_posterior_mean() -> None:
    model = built(observations(80, noise=0.3))
    assert np.exp(model.theta[-1]) > 0.1
    assert model.acquisition.target > model.warp.t.min() + 0.1


def test_without_noise_the_incumbent_is_the_lowest_loss() -> None:
    model = built(observations(60))
    assert np.exp(model.theta[-1]) < 1e-3
    assert model.acquisition.target == pytest.approx(model.warp.t.min() - 0.02)


def test_failures_count_as_worse_than_the_worst() -> None:
    seen = observations(12)
    failed = np.array([[0.9, 0.1]])
    model = built(Observations(seen.rows, seen.y, failed, NONE, seen.excess, seen.violation, seen.losses))
    assert len(model.warp.t) == 13
    assert np.argmax(model.warp.t) == 12
    assert not any(np.array_equal(row, failed[0]) for row in model.best)


def test_a_pending_point_is_no_longer_worth_trying() -> None:
    free = built(observations(20))
    rows = np.random.default_rng(1).random((200, 2))
    best = rows[[int(np.argmax(free.acquisition(rows)))]]
    taken = built(observations(20, pending=best))
    assert taken.acquisition(best)[0] < free.acquisition(best)[0] - 1.0
    np.testing.assert_allclose(taken.posterior.predict(rows)[0], free.posterior.predict(rows)[0])


def test_of_very_many_pending_points_only_the_most_promising_count() -> None:
    waiting = np.random.default_rng(3).random((1000, 2))
    model = built(observations(20, pending=waiting))
    assert len(model.acquisition.gp.alpha) == 20 + 200
    nearest = waiting[[int(np.argmin(np.sum((waiting - [0.3, 0.6]) ** 2, axis=1)))]]
    sd = [gp.predict(nearest)[1][0] for gp in (model.acquisition.gp, model.posterior)]
    assert sd[0] < 0.5 * sd[1]


def test_many_results_are_subsampled_and_the_best_are_kept() -> None:
    seen = observations(1500)
    model = built(seen)
    assert len(model.posterior.alpha) == 600
    kept = {tuple(row) for row in np.round(model.posterior.scaled / model.posterior.root_w, 9)}
    best = np.round(seen.rows[np.argsort(seen.y)[:64]], 9)
    assert all(tuple(row) in kept for row in best)
    grid = np.random.default_rng(2).random((50, 2))
    truth = (grid[:, 0] - 0.3) ** 2 + (grid[:, 1] - 0.6) ** 2
    predicted = model.warp.inverse(model.posterior.predict(grid)[0])
    assert predicted == pytest.approx(truth, abs=0.02)


@pytest.mark.parametrize(("n", "failed"), [(12, 4), (30, 15), (30, 45)])
def test_failures_beside_a_diverged_result_do_not_flatten_the_others(n: int, failed: int) -> None:
    seen = observations(n)
    y = np.where(np.arange(n) == 3, 1e6, seen.y)
    model = built(attrs.evolve(seen, y=y, failed=np.random.default_rng(1).random((failed, 2))))
    good, bad = np.delete(model.warp.t[:n], 3), model.warp.t[n:]
    assert np.ptp(good) > 0.1
    assert bad.min() > good.max()


def test_failures_repel_where_all_results_are_one_large_number() -> None:
    seen = attrs.evolve(observations(6), y=np.full(6, 1e17), failed=np.array([[0.9, 0.1]]))
    t = built(seen).warp.t
    assert t[6] > t[:6].max()


def test_the_few_feasible_of_many_results_stay_in_the_subsample() -> None:
    seen = observations(3000, noise=0.3)
    best_feasible = int(np.argsort(seen.y)[2500])  # neither among the best nor near them
    violation = np.where(np.arange(3000) == best_feasible, 0.0, 1.0)
    model = built(attrs.evolve(seen, violation=violation))
    assert np.exp(model.theta[-1]) > 1e-3
    mean = float(model.posterior.predict(seen.rows[[best_feasible]])[0][0])
    assert mean - model.acquisition.target == pytest.approx(0.02)
