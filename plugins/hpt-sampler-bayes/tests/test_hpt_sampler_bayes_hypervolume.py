"""Several objectives: hypervolumes by inclusion and exclusion, expected improvements by simulation, and results."""

from __future__ import annotations

import itertools
import math
from functools import reduce
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpt_core import Categorical, Float, Params, Plugins, Study
from hpt_core.study.verify import verify
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.gp import GP
from hpt_sampler_bayes.hypervolume import HypervolumeImprovement, front, log_ehvi_with_gradient, spread, undominated
from hpt_sampler_bayes.log_ei import log_ei
from hpt_sampler_bayes.objectives import Affine, fit_objectives
from hpt_sampler_bayes.observations import observe
from hpt_sampler_bayes.sampler import BayesSampler

CORNERS = np.array([[0.0, 1.0], [0.4, 0.5], [1.0, 0.0]])
REFERENCE = np.array([1.3, 1.2])
POINTS = st.integers(2, 5).flatmap(
    lambda m: arrays(np.float64, st.tuples(st.integers(1, 6), st.just(m)), elements=st.integers(0, 6).map(float))
)


def inclusion_exclusion(points: Any, reference: Any) -> Any:
    """The volume dominated by points below the reference, by inclusion and exclusion.

    A point of shape (n, m) stands for n alternatives, and gives n volumes.
    """
    volume = 0.0
    for size in range(1, len(points) + 1):
        for subset in itertools.combinations(points, size):
            sides = np.maximum(np.asarray(reference) - reduce(np.maximum, subset), 0.0)
            volume = volume + (-1) ** (size + 1) * sides.prod(axis=-1)
    return volume


def log_ehvi(mu: Any, sd: Any, corners: Any, reference: Any) -> tuple[Any, Any]:
    """The formula for predictions (m, n)."""
    return log_ehvi_with_gradient(list(zip(mu, sd, strict=True)), *undominated(corners, reference))


@given(POINTS, st.data())
def test_a_certain_point_adds_what_inclusion_and_exclusion_gives(points: Any, data: st.DataObject) -> None:
    m = points.shape[1]
    reference = np.full(m, 6.5)
    point = data.draw(arrays(np.float64, m, elements=st.integers(0, 6).map(float)))
    added = inclusion_exclusion([*points, point], reference) - inclusion_exclusion(points, reference)
    value, _ = log_ehvi(point[:, None], np.full((m, 1), 1e-9), points[front(points)], reference)
    assert math.exp(value[0]) == pytest.approx(added, abs=1e-5)


@given(POINTS)
def test_the_boxes_cover_what_is_not_dominated_once(points: Any) -> None:
    m = points.shape[1]
    low, high = undominated(points, np.full(m, 6.5))
    assert (low < high).all()
    grid = np.array(list(itertools.product(np.arange(-0.75, 6.5, 1.0), repeat=m)))[:2000]
    dominated = (points[None] <= grid[:, None]).all(axis=2).any(axis=1)
    inside = ((low[None] <= grid[:, None]) & (grid[:, None] < high[None])).all(axis=2).sum(axis=1)
    assert inside.tolist() == (~dominated).astype(int).tolist()


def test_with_three_objectives_the_number_of_boxes_is_linear_in_the_points() -> None:
    points = np.random.default_rng(0).random((200, 3))
    corners = points[front(points)]
    low, _ = undominated(corners, np.full(3, 1.1))
    assert len(low) == 2 * len(corners) + 1  # Lacour, Klamroth & Fonseca, Computers & Operations Research 2017


@given(POINTS)
def test_the_front_equals_brute_force(points: Any) -> None:
    kept = {tuple(p) for p in points if not any((q <= p).all() and (q < p).any() for q in points)}
    found = points[front(points)]
    assert {tuple(p) for p in found} == kept
    assert len(found) == len(kept)
    assert found.tolist() == sorted(found.tolist())


@pytest.mark.parametrize(
    ("mu", "sd"),
    [
        ((0.2, 0.4), (0.3, 0.2)),
        ((1.0, 1.0), (0.5, 0.5)),
        ((-0.5, 0.2), (0.1, 0.4)),
        ((0.3, 0.5, 0.4), (0.3, 0.2, 0.4)),
        ((0.3, 0.5, 0.4, 0.6), (0.3, 0.2, 0.4, 0.2)),
    ],
)
def test_the_expected_improvement_equals_simulation(mu: tuple[float, ...], sd: tuple[float, ...]) -> None:
    m = len(mu)
    corners = CORNERS if m == 2 else np.random.default_rng(1).random((5, m))
    reference = REFERENCE if m == 2 else np.full(m, 1.2)
    draws = np.random.default_rng(0).normal(mu, sd, size=(4_000, m))
    known = inclusion_exclusion(corners, reference)
    gained = inclusion_exclusion([*corners, draws], reference) - known
    value, _ = log_ehvi(np.array(mu)[:, None], np.array(sd)[:, None], corners[front(corners)], reference)
    assert math.exp(value[0]) == pytest.approx(gained.mean(), abs=4 * gained.std() / math.sqrt(len(draws)))


def test_far_from_the_front_the_logarithm_stays_finite() -> None:
    far = np.array([[50.0, 1e3], [50.0, 1e3]])
    value, slopes = log_ehvi(far, np.full((2, 2), 0.1), CORNERS, REFERENCE)
    assert np.isfinite(value).all()
    assert np.isfinite(slopes).all()
    assert value[0] > value[1]
    assert (slopes[:, 0] < 0).all()


def test_with_a_certain_second_objective_the_expected_improvement_of_the_first_remains() -> None:
    mu, sd, none = np.linspace(-1, 2, 7), np.linspace(0.1, 1, 7), np.empty((0, 2))
    value, _ = log_ehvi([mu, np.full(7, -0.8)], [sd, np.full(7, 1e-9)], none, REFERENCE)
    assert value == pytest.approx(log_ei(mu, sd, 1.3) + math.log(1.2 + 0.8))


def process(seed: int) -> GP:
    rng = np.random.default_rng(seed)
    z = rng.random((9, 3))
    return GP.fit(z, rng.standard_normal(9), theta=np.array([1.0, 0.5, -1.0, 0.2, -6.0]), group=np.arange(3))


@pytest.mark.parametrize("m", [2, 3, 4])
def test_the_gradient_equals_finite_differences(m: int) -> None:
    losses = np.random.default_rng(3).random((6, m))
    term = HypervolumeImprovement.over([process(k) for k in range(m)], losses, np.full(m, 1.2))
    z, step = np.random.default_rng(2).random((20, 3)), 1e-6
    value, gradient = term.with_gradient(z, np.array([0, 2]))
    assert value == pytest.approx(term(z))
    for place, column in enumerate((0, 2)):
        off = np.eye(3)[column] * step
        assert gradient[:, place] == pytest.approx((term(z + off) - term(z - off)) / (2 * step), rel=1e-4, abs=1e-5)


def test_a_long_front_is_thinned_evenly_and_keeps_its_ends() -> None:
    x = np.linspace(0, 1, 500)
    line = np.column_stack([x, 1 - x])
    some = np.sort(x[spread(line, 64)])
    assert (len(some), some[0], some[-1]) == (64, 0.0, 1.0)
    assert np.diff(some).max() < 2.5 / 64
    term = HypervolumeImprovement.over([process(0), process(1)], line, REFERENCE)
    assert len(term.low) == 65


@given(arrays(np.float64, st.tuples(st.integers(0, 9), st.just(3)), elements=st.integers(0, 3).map(float)))
def test_spread_chooses_each_place_once(points: Any) -> None:
    chosen = points[spread(points, 5)]
    places = {tuple(p) for p in points}
    assert len({tuple(p) for p in chosen}) == len(chosen) == min(5, len(places))


@pytest.mark.parametrize("m", [3, 6])
def test_the_front_of_many_results_in_many_objectives_stays_affordable(m: int) -> None:
    losses = np.random.default_rng(0).random((300, m))
    term = HypervolumeImprovement.over([process(k) for k in range(m)], losses, np.full(m, 1.1))
    assert len(term.low) < 500
    assert np.isfinite(term(np.random.default_rng(1).random((2000, 3)))).all()


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e300, 1e300)))
@example(np.array([11012.0, 11012.0, 1.0, 0.0, 0.0]))
def test_proportions_survive_and_only_the_bad_tail_is_cut(y: Any) -> None:
    fitted = Affine.fit(y)
    assert np.isfinite(fitted.t).all()
    low, median, high = np.quantile(y / 4, [0.25, 0.5, 0.75]) * 4
    if median > low:
        high = min(high, median + 1e3 * (median - low))  # beyond, a third quartile counts as diverged, too
    assert (np.diff(fitted.t[np.argsort(y)]) >= -1e-9).all()
    inside = (y <= high) | (high == low)
    assert fitted.inverse(fitted.t)[inside] == pytest.approx(y[inside], rel=1e-6, abs=1e-6 * max(1.0, np.abs(y).max()))


def test_a_diverged_result_does_not_flatten_the_others() -> None:
    y = np.append(np.linspace(0, 1, 20), 1e9)
    assert np.ptp(Affine.fit(y).t[:20]) > 0.5


# --- acquisition ------------------------------------------------------------------------------------


def trade(params: Params) -> dict[str, float]:
    x, y = params["x"], params["y"]
    return {"a": (x - 0.2) ** 2 + (y - 0.5) ** 2, "b": (x - 0.8) ** 2 + (y - 0.5) ** 2}


SPACE = {"x": Float(0, 1), "y": Float(0, 1)}
BOTH = {"a": "minimize", "b": "minimize"}


def test_infeasible_results_are_not_in_the_front_and_pending_points_lose_their_acquisition() -> None:
    study = Study(SPACE, objective=BOTH, constraints={"c": "<= 0"}, sampler=BayesSampler(), seed=0)
    rng = np.random.default_rng(0)
    for i in range(12):
        params = {"x": float(rng.random()), "y": float(rng.random())}
        study.add_trial(params, {**trade(params), "c": float(i % 2)})
    history = study.history
    encoding = Encoding.of(history.space)
    seen = observe(history, encoding)
    model, improvement = fit_objectives(encoding, seen, [], rng)
    assert improvement is not None
    kept = Affine.fit(seen.losses[:, 0]).t[seen.feasible]
    ends = np.concatenate([improvement.low[:, 0], improvement.high[:, 0]])
    assert set(np.round(ends[np.isfinite(ends)], 9)) <= {
        *np.round(kept, 9),
        round(float(improvement.high[:, 0].max()), 9),
    }
    beside = model.best[:1] + np.array([[0.05, 0.02]])
    best, believed = encoding.encode(beside), attrs.evolve(seen, pending=beside)
    _, later = fit_objectives(encoding, believed, [], rng)
    assert later is not None
    assert later(best)[0] < improvement(best)[0] - 3
    nothing = attrs.evolve(seen, violation=np.ones_like(seen.violation))
    assert fit_objectives(encoding, nothing, [], rng)[1] is None


def test_the_info_of_a_suggestion_is_what_the_model_says_and_the_reference_is_beyond_the_worst_result() -> None:
    study = Study(SPACE, objective={"a": "maximize", "b": "minimize"}, sampler=BayesSampler(), seed=0)
    rng = np.random.default_rng(0)
    for _ in range(9):
        params = {"x": float(rng.random()), "y": float(rng.random())}
        study.add_trial(params, trade(params))
    suggestion = BayesSampler().suggest(study.history, rng)
    encoding = Encoding.of(study.space)
    model, improvement = fit_objectives(encoding, observe(study.history, encoding), [], rng)
    assert improvement is not None
    assert isinstance(model.warp, Affine)
    z = encoding.encode(study.space.to_unit([suggestion.params]))
    (mu,), (sd,) = model.posterior.predict(z)
    assert suggestion.info["mean"] == pytest.approx(-(model.warp.shift + model.warp.scale * mu))
    assert suggestion.info["sd"] == pytest.approx(model.warp.scale * sd)
    assert suggestion.info["acquisition"] == pytest.approx(improvement(z)[0])
    beyond = model.warp.t.max() + 0.1 * np.ptp(model.warp.t)  # a tenth of the range beyond the worst result
    assert improvement.high[:, 0].max() == pytest.approx(beyond)


def test_it_dominates_more_than_random_search_and_predicts_the_first_objective() -> None:
    areas = {}
    for sampler in (BayesSampler(), "random"):
        study = Study(SPACE, objective=BOTH, sampler=sampler, seed=0)
        study.run(trade, trials=20)
        areas[sampler == "random"] = inclusion_exclusion([t.values for t in study.front], (0.6, 0.6))
    assert areas[False] > areas[True] + 0.01
    assert areas[False] > 0.97 * (0.36 - 0.36**2 / 6)  # the area of the true front, x from 0.2 to 0.8


def test_three_objectives_dominate_more_than_random_search() -> None:
    ends = np.array([[0.2, 0.2], [0.8, 0.2], [0.5, 0.8]])
    grid = np.random.default_rng(0).random((4000, 3)) * 0.5

    def distances(params: Params) -> dict[str, float]:
        apart = ends - [params["x"], params["y"]]
        return dict(zip("abc", (apart**2).sum(axis=1).tolist(), strict=True))

    shares = []
    for sampler in (BayesSampler(), "random"):
        study = Study(SPACE, objective=dict.fromkeys("abc", "minimize"), sampler=sampler, seed=0)
        study.run(distances, trials=20)
        found = np.array([trial.values for trial in study.front])
        shares.append(np.any(np.all(found[None] <= grid[:, None], axis=2), axis=1).mean())
    assert shares[0] > shares[1] + 0.05


def test_directions_do_not_matter() -> None:
    def other(params: Params) -> dict[str, float]:
        found = trade(params)
        return {"a": -found["a"], "b": found["b"]}

    one = Study(SPACE, objective=BOTH, sampler=BayesSampler(), seed=0)
    two = Study(SPACE, objective={**BOTH, "a": "maximize"}, sampler=BayesSampler(), seed=0)
    one.run(trade, trials=10)
    two.run(other, trials=10)
    assert [t.params for t in one.trials] == [t.params for t in two.trials]
    assert one.trials[-1].info["mean"] == pytest.approx(-two.trials[-1].info["mean"])
    assert one.trials[-1].info["mean"] == pytest.approx(one.trials[-1].values[0], abs=0.2)  # type: ignore[index] # complete


def test_failures_categories_and_constraints_work_together_and_can_be_recomputed() -> None:
    def train(params: Params) -> dict[str, float]:
        if params["kind"] == "c":
            raise ValueError("no such kind")
        return {**trade(params), "ms": 1.0 if params["kind"] == "a" else 9.0}

    space = {**SPACE, "kind": Categorical("a", "b", "c")}
    study = Study(space, objective=BOTH, constraints={"ms": "<= 5"}, sampler=BayesSampler(), seed=0, max_failures=99)
    study.run(train, trials=18)
    assert {trial.params["kind"] for trial in study.front} == {"a"}
    result = verify(study.store, study.name, Plugins(), sampler=BayesSampler(), rules=[])
    assert (result.checked, result.differences) == (18, [])
