"""Constraints on metrics: probability of feasibility, acquisition, and the feasible optimum."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from hpt_core import Categorical, Float, Int, Params, Plugins, Study, Trial
from hpt_core.study.verify import verify
from hpt_sampler_bayes.acquisition import Feasibility, Sum
from hpt_sampler_bayes.constraints import bilog, feasibility_terms
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.gp import GP
from hpt_sampler_bayes.model import fit_model
from hpt_sampler_bayes.observations import observe
from hpt_sampler_bayes.priors import Prior, PriorTerm
from hpt_sampler_bayes.sampler import BayesSampler, _one_blas_thread
from hpt_sampler_bayes.strategy import model_and_acquisition

SQUARE = {"x": Float(0, 6), "y": Float(0, 6)}


def gardner(params: Params) -> dict[str, float]:
    """The first problem of Gardner et al. 2014, section 5.1; the best feasible value is -2."""
    x, y = params["x"], params["y"]
    loss = math.cos(2 * x) * math.cos(y) + math.sin(x)
    return {"loss": loss, "c": math.cos(x) * math.cos(y) - math.sin(x) * math.sin(y)}


def study(**options: object) -> Study:
    given = {"objective": {"loss": "minimize"}, "constraints": {"c": "<= 0.5"}, "sampler": BayesSampler(), "seed": 0}
    return Study(SQUARE, **{**given, **options})  # type: ignore[arg-type] # any of its options


def process() -> GP:
    rng = np.random.default_rng(0)
    z = rng.random((9, 3))
    t = z[:, 0] - z[:, 1] ** 2 + 0.3
    return GP.fit(z, t, theta=np.array([1.0, 0.5, -1.0, 0.2, -6.0]), group=np.arange(3))


def test_feasibility_is_the_posterior_mass_below_the_bound() -> None:
    gp, z = process(), np.random.default_rng(1).random((50, 3))
    mu, sd = gp.predict(z)
    assert np.exp(Feasibility(gp)(z)) == pytest.approx(norm.cdf(0.0, loc=mu, scale=sd), rel=1e-9)


def test_the_gradient_of_the_feasibility_equals_finite_differences() -> None:
    term, z, step = Feasibility(process()), np.random.default_rng(2).random((20, 3)), 1e-6
    value, gradient = Sum([term, term]).with_gradient(z, np.array([0, 2]))
    assert value == pytest.approx(2.0 * term(z))
    for place, column in enumerate((0, 2)):
        off = np.eye(3)[column] * step
        assert gradient[:, place] == pytest.approx((term(z + off) - term(z - off)) / step, rel=1e-4, abs=1e-5)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_the_bilog_transform_keeps_order_and_sign(values: list[float]) -> None:
    excess = np.array(values)
    transformed = bilog(excess)
    assert np.isfinite(transformed).all()
    assert (transformed[excess > 0] >= 0).all()
    assert (transformed[excess <= 0] <= 0).all()
    assert (np.diff(transformed[np.argsort(excess)]) >= 0).all()


def told(space: Mapping[str, object], results: list[tuple[Params, dict[str, float]]], **options: object) -> Study:
    made = Study(space, **{"objective": {"loss": "minimize"}, "sampler": BayesSampler(), "seed": 0, **options})  # type: ignore[arg-type] # any of its options
    for params, result in results:
        made.add_trial(params, result)
    return made


LINE = [({"x": k / 10}, {"loss": 1 - k / 10, "c": k / 10}) for k in range(11)]


def test_the_incumbent_is_the_best_feasible_result() -> None:
    history = told({"x": Float(0, 1)}, LINE, constraints={"c": "<= 0.42"}).history
    encoding = Encoding.of(history.space)
    seen = observe(history, encoding)
    model = fit_model(encoding, seen, [], np.random.default_rng(0))
    by_x = dict(zip(np.round(seen.rows[:, 0], 9).tolist(), model.warp.t.tolist(), strict=True))
    assert model.acquisition.target == pytest.approx(by_x[0.4], abs=0.1)
    assert min(by_x[0.3], by_x[0.4]) - by_x[0.5] > 0.1
    assert model.best[:, 0].tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.0])


@pytest.mark.parametrize("bound", ["<= -1", "<= -0.05"])
def test_without_a_feasible_result_only_the_feasibility_counts(bound: str) -> None:
    space = {"x": Int(0, 200)}
    results = [({"x": k}, {"loss": -float(k), "c": (k - 120) ** 2 / 1e4}) for k in (0, 30, 60, 90, 160, 200)]
    history = told(space, results, constraints={"c": bound}).history
    encoding = Encoding.of(history.space)
    rng = np.random.default_rng(0)
    seen = observe(history, encoding)
    (feasibility,) = feasibility_terms(encoding, seen, rng)
    unseen = [{"x": k} for k in range(201) if k not in {0, 30, 60, 90, 160, 200}]
    best = unseen[int(np.argmax(feasibility(encoding.encode(encoding.fill(history.space.to_unit(unseen))))))]
    assert BayesSampler().suggest(history, np.random.default_rng(0)).params == best


def test_the_acquisition_is_improvement_times_feasibility_times_prior() -> None:
    history = told({"x": Float(0, 1)}, LINE, constraints={"c": "<= 0.42"}).history
    encoding, rng = Encoding.of(history.space), np.random.default_rng(0)
    seen, prior = observe(history, encoding), Prior.of(encoding, {"x": {"center": 0.2, "spread": 0.1}})
    model, acquisition = model_and_acquisition(encoding, seen, [], PriorTerm(prior, 3), rng)
    (feasibility,) = feasibility_terms(encoding, seen, rng)
    z = rng.random((20, 1))
    expected = model.acquisition(z) + feasibility(z) + 10.0 / 3.0 * prior.log_density(z)
    np.testing.assert_allclose(acquisition(z), expected)


def test_without_known_violations_the_acquisition_is_the_improvement() -> None:
    history = told({"x": Float(0, 1)}, LINE, constraints={"c": "<= 0.42"}).history
    encoding, rng = Encoding.of(history.space), np.random.default_rng(0)
    seen = observe(history, encoding)
    silent = attrs.evolve(seen, excess=np.full_like(seen.excess, np.nan), violation=np.full_like(seen.y, np.nan))
    _, acquisition = model_and_acquisition(encoding, silent, [], None, rng)
    assert np.isfinite(acquisition(encoding.encode(np.array([[0.33], [0.77]])))).all()


def test_the_unit_of_a_metric_does_not_matter_and_what_is_not_known_of_it_is_left_out() -> None:
    history = told({"x": Float(0, 1)}, LINE, constraints={"c": "<= 0.42"}).history
    encoding, rng = Encoding.of(history.space), np.random.default_rng(0)
    seen, z = observe(history, encoding), rng.random((20, 1))
    known = np.arange(len(seen.y)) != 3
    fewer = attrs.evolve(seen, rows=seen.rows[known], excess=seen.excess[known])
    partly = attrs.evolve(seen, excess=np.where(known[:, None], 1e6 * seen.excess, np.nan))
    one, other = (feasibility_terms(encoding, given, rng)[0](z) for given in (fewer, partly))
    np.testing.assert_allclose(other, one, rtol=1e-3)


def test_of_many_results_those_nearest_to_the_bound_stay_in_the_subsample() -> None:
    history = told({"x": Float(0, 1)}, LINE, constraints={"c": "<= 0.42"}).history
    encoding, rng = Encoding.of(history.space), np.random.default_rng(0)
    x = rng.random((800, 1))
    seen = attrs.evolve(observe(history, encoding), rows=x, excess=x - 0.42)
    with _one_blas_thread():  # as in the sampler; on a busy machine, several threads take ten times as long
        (term,) = feasibility_terms(encoding, seen, rng)
    assert isinstance(term, Feasibility)
    kept = term.gp.scaled / term.gp.root_w
    nearest = x[np.argsort(np.abs(x[:, 0] - 0.42))[:64]]
    assert len(kept) == 600
    assert np.isclose(nearest, kept.T, rtol=0, atol=1e-12).any(axis=1).all()


def feasible(trial: Trial) -> bool:
    return trial.metrics["c"] <= 0.5


def test_constraints_lead_to_the_feasible_optimum_with_fewer_infeasible_trials() -> None:
    allowed: dict[bool, int] = {True: 0, False: 0}
    for seed in range(3):
        for constraints in ({"c": "<= 0.5"}, None):
            made = study(constraints=constraints, seed=seed)
            made.run(gardner, trials=30)
            allowed[bool(constraints)] += sum(map(feasible, made.trials))
            if constraints:
                assert made.best is not None
                assert made.best.value == pytest.approx(-2.0, abs=0.01)
    assert allowed[True] > allowed[False]


def test_constraints_categories_and_failures_work_together() -> None:
    def train(params: Params) -> dict[str, float]:
        if params["kind"] == "c":
            raise ValueError("no such kind")
        return {"loss": (params["x"] - 0.8) ** 2, "ms": 100 * params["x"], "mb": 9.0 if params["kind"] == "a" else 1.0}

    space = {"x": Float(0, 1), "kind": Categorical("a", "b", "c")}
    made = Study(
        space,
        objective={"loss": "minimize"},
        constraints={"ms": "<= 50", "mb": "<= 5", "loss": ">= 0"},
        sampler=BayesSampler(),
        seed=0,
        max_failures=99,
    )
    made.run(train, trials=25)
    assert made.best is not None
    assert made.best.params["kind"] == "b"
    assert made.best.params["x"] == pytest.approx(0.5, abs=0.01)


def test_every_suggestion_is_recomputed_from_the_log() -> None:
    made = study(stop=[])
    made.run(gardner, trials=12)
    result = verify(made.store, made.name, Plugins(), sampler=BayesSampler(), rules=[])
    assert (result.checked, result.differences) == (12, [])
