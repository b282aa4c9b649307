"""Priors of the user: densities, decay, draws, and mistakes in the option."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, truncnorm

from hpt_core import Categorical, Float, Int, Ordinal, Params, Space, Study, UsageError
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.priors import Prior, PriorTerm
from hpt_sampler_bayes.sampler import BayesSampler

SPACE = Space(
    {
        "model": Categorical("svm", "forest"),
        "lr": Float(1e-5, 1e-1, log=True),
        "depth": Int(1, 8, when={"model": "forest"}),
        "C": Float(0, 1, when={"model": "svm"}),
        "size": Ordinal("s", "m", "l"),
        "width": Categorical(16, 32, True),
    }
)
ENCODING = Encoding.of(SPACE)
GIVEN: dict[str, Any] = {
    "lr": {"center": 1e-3, "spread": 0.2},
    "model": {"forest": 3},
    "depth": {"center": 4, "spread": 0.3},
    "C": {"center": 0.9, "spread": 0.1},
    "size": {"center": "m", "spread": 0.5},
    "width": {"16": 4.0, "true": 2},
}
PRIOR = Prior.of(ENCODING, GIVEN)


def one(space: dict[str, Any], priors: dict[str, Any]) -> Prior:
    return Prior.of(Encoding.of(Space(space)), priors)


def encoded(points: list[Params]) -> Any:
    return ENCODING.encode(ENCODING.fill(SPACE.to_unit(points)))


@pytest.mark.parametrize("spread", [0.2, 2.0])
def test_a_continuous_density_is_a_truncated_normal_mixed_with_a_tenth_of_uniform(spread: float) -> None:
    prior = one({"lr": Float(1e-5, 1e-1, log=True)}, {"lr": {"center": 1e-2, "spread": spread}})
    u = np.linspace(0, 1, 11)
    exact = truncnorm((0 - 0.75) / spread, (1 - 0.75) / spread, loc=0.75, scale=spread)
    assert np.exp(prior.log_density(u[:, None])) == pytest.approx(0.9 * exact.pdf(u) + 0.1, rel=2e-3)
    assert quad(lambda v: float(np.exp(prior.log_density(np.array([[v]])))[0]), 0, 1)[0] == pytest.approx(1.0, rel=2e-3)


def test_finite_densities_are_one_on_average() -> None:
    for space, priors in (
        ({"a": Int(1, 9)}, {"a": {"center": 3, "spread": 0.2}}),
        ({"a": Ordinal("s", "m", "l")}, {"a": {"center": "l", "spread": 0.2}}),
        ({"a": Categorical("p", "q", "r")}, {"a": {"q": 5.0, "r": 0.5}}),
    ):
        prior = one(space, priors)
        rows = prior.encoding.snap((np.arange(900)[:, None] + 0.5) / 900)
        assert np.exp(prior.log_density(prior.encoding.encode(rows))).mean() == pytest.approx(1.0)


def test_weights_are_densities_and_default_to_one() -> None:
    a, b = PRIOR.log_density(
        encoded([{"model": "forest", "lr": 1e-3, "depth": 4, "size": "m", "width": w} for w in (16, 32)])
    )
    assert np.exp(a - b) == pytest.approx(4.0)


def test_the_prior_of_inactive_parameters_is_uniform() -> None:
    rest = {"lr": 1e-3, "size": "m", "width": 16}
    (svm,) = PRIOR.log_density(encoded([{"model": "svm", "C": 0.9, **rest}]))
    alone = one({"C": Float(0, 1)}, {"C": GIVEN["C"]}).log_density(np.array([[0.9]]))[0]
    without = Prior.of(ENCODING, {k: v for k, v in GIVEN.items() if k not in ("C", "depth")})
    assert svm == pytest.approx(without.log_density(encoded([{"model": "svm", "C": 0.9, **rest}]))[0] + alone)


def test_the_gradient_equals_finite_differences() -> None:
    term, step = PriorTerm(PRIOR, 4), 1e-6
    rows = ENCODING.snap(np.random.default_rng(0).random((40, len(ENCODING.columns))))
    z = ENCODING.encode(rows)
    columns = np.flatnonzero(ENCODING.continuous[ENCODING.group])
    _, gradient = term.with_gradient(z, columns)
    for place, column in enumerate(columns):
        off = np.zeros(z.shape[1])
        off[column] = step
        assert gradient[:, place] == pytest.approx((term(z + off) - term(z - off)) / (2 * step), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("t", [1, 2, 10, 500])
def test_the_prior_is_raised_to_beta_over_t(t: int) -> None:
    """The exponent multiplies log pi. NePS adds it, so that the prior keeps its weight until it is cut off."""
    z = encoded([SPACE.default(), {**SPACE.default(), "lr": 0.1}])
    pi = np.exp(PRIOR.log_density(z))
    assert np.exp(PriorTerm(PRIOR, t)(z)) == pytest.approx(pi ** (10.0 / t))


def test_the_weight_of_the_prior_decays() -> None:
    z = encoded([SPACE.default(), {**SPACE.default(), "lr": 0.1}])
    differences = [abs(float(np.diff(PriorTerm(PRIOR, t)(z))[0])) for t in (1, 2, 10, 100, 1000)]
    assert differences == sorted(differences, reverse=True)
    assert differences[-1] == pytest.approx(differences[0] / 1000)


def test_draws_are_distributed_like_the_prior() -> None:
    rows = PRIOR.draw(4000, np.random.default_rng(0))
    exact = truncnorm((0 - 0.5) / 0.2, (1 - 0.5) / 0.2, loc=0.5, scale=0.2)
    mixed = kstest(rows[:, ENCODING.columns.index("lr")], lambda u: 0.9 * exact.cdf(u) + 0.1 * u)
    assert mixed.pvalue > 0.01
    points = [ENCODING.params(row) for row in rows]
    assert np.mean([p["model"] == "forest" for p in points]) == pytest.approx(0.75, abs=0.03)
    assert np.mean([p["width"] == 16 for p in points]) == pytest.approx(4 / 7, abs=0.03)
    depths = np.array([p["depth"] for p in points if p["model"] == "forest"])
    bell = np.exp(
        -0.5 * ((np.array([SPACE["depth"].to_unit(k) for k in range(1, 9)]) - SPACE["depth"].to_unit(4)) / 0.3) ** 2
    )
    shares = 0.9 * bell / bell.sum() + 0.1 / 8
    assert [np.mean(depths == k) for k in range(1, 9)] == pytest.approx(shares, abs=0.03)


def test_the_first_trial_is_the_mode_of_the_prior_and_the_next_are_drawn_from_it() -> None:
    priors = {**GIVEN, "model": {"forest": 1e6}}
    study = Study(SPACE, sampler=BayesSampler(priors=priors, n_initial=6), seed=0)
    points = [study.ask().params for _ in range(6)]
    assert points[0] == {"model": "forest", "lr": 1e-3, "depth": 4, "size": "m", "width": 16}
    assert len({SPACE.key(point) for point in points}) == 6
    assert {point["model"] for point in points} == {"forest"}


@pytest.mark.parametrize(
    ("priors", "paths"),
    [
        ({"rl": {"center": 1, "spread": 1}}, ["sampler.priors.rl"]),
        ({"lr": 1e-3}, ["sampler.priors.lr"]),
        ({"lr": {"center": 1e-3}}, ["sampler.priors.lr"]),
        ({"lr": {"center": 7.0, "spread": 0}}, ["sampler.priors.lr.center", "sampler.priors.lr.spread"]),
        ({"lr": {"center": 1e-3, "spread": True}}, ["sampler.priors.lr.spread"]),
        ({"lr": {"center": 1e-3, "spread": "wide"}}, ["sampler.priors.lr.spread"]),
        ({"depth": {"center": 2.5, "spread": 0.1}}, ["sampler.priors.depth.center"]),
        ({"model": {"svn": 2, "svm": 0}}, ["sampler.priors.model.svn", "sampler.priors.model.svm"]),
        ({"model": 3}, ["sampler.priors.model"]),
        ({"model": {}, "size": {"center": "xl", "spread": 1}}, ["sampler.priors.model", "sampler.priors.size.center"]),
    ],
)
def test_mistakes_are_reported_at_their_key_paths(priors: dict[str, Any], paths: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        BayesSampler(priors=priors).check(SPACE, {"value": "minimize"})
    assert [mistake.path for mistake in caught.value.mistakes] == paths


def test_a_misspelt_name_gets_a_hint() -> None:
    with pytest.raises(UsageError, match="Did you mean 'depth'"):
        Prior.of(ENCODING, {"dept": {"center": 1, "spread": 1}})


def bowl(params: Params) -> float:
    return float(sum((value - 0.25) ** 2 for value in params.values()))


def test_a_good_prior_helps_and_a_wrong_one_is_overcome() -> None:
    space = {f"x{i}": Float(0, 1) for i in range(4)}

    def best(center: float | None, trials: int) -> float:
        priors = {} if center is None else {name: {"center": center, "spread": 0.1} for name in space}
        found = []
        for seed in range(3):
            study = Study(space, sampler=BayesSampler(priors=priors), seed=seed)
            study.run(bowl, trials=trials)
            found.append(min(bowl(trial.params) for trial in study.trials))
        return float(np.mean(found))

    assert best(0.3, 8) < best(None, 8)
    assert best(0.9, 8) > best(None, 8)
    assert best(0.9, 40) < 5e-3


@pytest.mark.parametrize("spread", [1e-200, 1e-9, 1e-5])
def test_a_spread_below_a_thousandth_counts_as_a_thousandth(spread: float) -> None:
    prior = one({"x": {"low": 0.0, "high": 1.0}}, {"x": {"center": 0.30014, "spread": spread}})
    total, _ = quad(
        lambda x: float(np.exp(prior.log_density(np.array([[x]]))[0])), 0, 1, points=[0.299, 0.30014, 0.301]
    )
    assert total == pytest.approx(1.0, abs=1e-3)
    drawn = prior.draw(200, np.random.default_rng(0))
    assert np.mean(np.abs(drawn - 0.30014) < 0.004) > 0.8


def test_extreme_weights_give_a_finite_prior() -> None:
    prior = one({"c": ["a", "b"], "x": {"low": 0.0, "high": 1.0}}, {"c": {"a": 1e-300, "b": 1e300}})
    density = prior.log_density(prior.encoding.encode(np.array([[0.25, 0.5], [0.75, 0.5]])))
    assert np.isfinite(density).all()
    assert density[1] == pytest.approx(np.log(2.0))
