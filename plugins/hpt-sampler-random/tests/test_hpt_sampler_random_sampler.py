"""The random sampler against scipy: uniform marginals, sequences point by point, replays."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from scipy.stats import chisquare, kstest, qmc

import hpt_sampler_random
from hpt_core import Categorical, Constant, Failure, Float, History, Int, Params, Space, Suggestion, UsageError
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_sampler_random.sampler import RandomSampler

Method = Literal["sobol", "halton", "latin-hypercube"]
METHODS: tuple[Method, ...] = ("sobol", "halton", "latin-hypercube")
CUBE = Space({"x": Float(0, 1), "y": Float(0, 1), "z": Float(0, 1)})
MIXED = Space(
    {
        "model": Categorical("svm", "forest"),
        "C": Float(1e-3, 1e3, log=True, when={"model": "svm"}),
        "depth": Int(2, 30, when={"model": "forest"}),
        "jobs": Constant(1),
    }
)


def step(sampler: RandomSampler, history: History) -> Params:
    """One suggestion, recorded as the core would."""
    number = history.next_number
    proposed = sampler.suggest(history, default_rng([history.seed, number]))
    suggestion = proposed if isinstance(proposed, Suggestion) else Suggestion(proposed)
    history.apply(events.started(0.0, number, suggestion.params, "w", 1, history.position, "sampler", suggestion.info))
    return suggestion.params


def give(history: History, params: Params) -> None:
    history.apply(events.enqueued(0.0, history.next_number, params))


# --- uniform --------------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
def test_uniform_equals_space_sample(seed: int) -> None:
    history = make_history(MIXED)
    assert RandomSampler().suggest(history, default_rng(seed)) == MIXED.sample(default_rng(seed))


def test_uniform_is_uniform_on_each_scale() -> None:
    history, rng = make_history(MIXED), default_rng(1)
    found = [RandomSampler().suggest(history, rng) for _ in range(4000)]
    assert all(isinstance(p, dict) and MIXED.contains(p) for p in found)
    values = [p["C"] for p in found if isinstance(p, dict) and "C" in p]
    assert kstest(np.log10(values), "uniform", (-3, 6)).pvalue > 1e-3
    counts = np.bincount([p["depth"] for p in found if isinstance(p, dict) and "depth" in p])[2:]
    assert chisquare(counts).pvalue > 1e-3
    assert len(counts) == 29


# --- sequences ------------------------------------------------------------------------------------


def of_scipy(method: Method, n: int, d: int, seed: int, block: int = 16) -> Any:
    """The first n points, straight from scipy."""
    if method == "sobol":
        return qmc.Sobol(d, rng=seed).random_base2(int(np.log2(n)))
    if method == "halton":
        return qmc.Halton(d, rng=seed).random(n)
    blocks = [qmc.LatinHypercube(d, rng=default_rng([seed, b])).random(block) for b in range(-(-n // block))]
    return np.concatenate(blocks)[:n]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 7])
def test_a_sequence_equals_scipys(method: Method, seed: int) -> None:
    history, sampler = make_history(CUBE, seed=seed), RandomSampler(method=method)
    found = [step(sampler, history) for _ in range(32)]
    expected = of_scipy(method, 32, 3, seed)
    np.testing.assert_allclose([[p["x"], p["y"], p["z"]] for p in found], expected, rtol=0, atol=2**-40)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20)
@given(st.lists(st.sampled_from(["suggest", "enqueue", "forget", "travel"]), max_size=40))
def test_neither_restarts_nor_enqueued_points_change_a_sequence(method: Method, actions: list[str]) -> None:
    history, sampler = make_history(CUBE, seed=3), RandomSampler(method=method, block=5)
    expected = iter(of_scipy(method, 64, 3, 3, block=5))
    for i, action in enumerate(actions):
        if action == "suggest":
            point = list(step(sampler, history).values())
            np.testing.assert_allclose(point, next(expected), rtol=0, atol=2**-40)
        elif action == "enqueue":
            give(history, {"x": 0.5, "y": 0.5, "z": i / 64})
        elif action == "forget":
            sampler = RandomSampler(method=method, block=5)
        else:
            sampler = copy.deepcopy(pickle.loads(pickle.dumps(sampler)))


@pytest.mark.parametrize("method", METHODS)
def test_a_failed_trial_that_is_retried_does_not_change_a_sequence(method: Method) -> None:
    """`hpt run --retry-failed` queues its configuration with what the sampler noted."""
    history, sampler = make_history(CUBE, seed=3), RandomSampler(method=method)
    found = [step(sampler, history) for _ in range(4)]
    failed = history.trials[1]
    history.apply(events.failed(0.0, 1, 1, Failure("error", "no")))
    history.apply(events.invalidated(0.0, 1, "failed, and was retried"))
    history.apply(events.enqueued(0.0, 4, failed.params, failed.source, failed.info))
    found += [step(sampler, history) for _ in range(4)]
    expected = of_scipy(method, 8, 3, 3)
    np.testing.assert_allclose([list(params.values()) for params in found], expected, rtol=0, atol=2**-40)


@pytest.mark.parametrize("method", METHODS)
def test_alternating_studies_do_not_disturb_each_other(method: Method) -> None:
    sampler = RandomSampler(method=method)
    histories = [make_history(CUBE, seed=1), make_history(CUBE, seed=2), make_history(MIXED, seed=1)]
    for _ in range(10):
        for history in histories:
            step(sampler, history)
    for history in histories:
        alone = make_history(history.space, seed=history.seed)
        assert [step(RandomSampler(method=method), alone) for _ in range(10)] == [t.params for t in history.trials]


@pytest.mark.parametrize("method", METHODS)
def test_the_view_of_a_reproducible_study_continues_the_sequence(method: Method) -> None:
    """Trials whose results are not visible yet still count as taken from the sequence."""
    history, sampler = make_history(CUBE, seed=3), RandomSampler(method=method)
    for expected in of_scipy(method, 16, 3, 3):
        number = history.next_number
        proposed = sampler.suggest(history.as_seen_by(number, 4), default_rng([3, number]))
        assert isinstance(proposed, Suggestion)
        np.testing.assert_allclose(list(proposed.params.values()), expected, rtol=0, atol=2**-40)
        history.apply(events.started(0.0, number, proposed.params, "w", 1, 0, "sampler", proposed.info))


@pytest.mark.parametrize("method", METHODS)
def test_a_sequence_fills_the_space_more_evenly_than_independent_points(method: Method) -> None:
    history, sampler = make_history(CUBE), RandomSampler(method=method, block=64)
    for _ in range(64):
        step(sampler, history)
    chance = [qmc.discrepancy(default_rng(i).random((64, 3))) for i in range(20)]
    assert qmc.discrepancy(history.unit) < min(chance)


def test_a_latin_hypercube_has_one_point_in_each_stratum() -> None:
    history, sampler = make_history(CUBE), RandomSampler(method="latin-hypercube", block=10)
    for _ in range(30):
        step(sampler, history)
    for b in range(3):
        stripes = np.floor(history.unit[10 * b : 10 * b + 10] * 10)
        assert (np.sort(stripes, axis=0) == np.arange(10)[:, None]).all()


@pytest.mark.parametrize("method", METHODS)
def test_conditions_are_resolved(method: Method) -> None:
    history, sampler = make_history(MIXED), RandomSampler(method=method)
    for _ in range(32):
        assert MIXED.contains(step(sampler, history))
    assert {t.params["model"] for t in history.trials} == {"svm", "forest"}


@pytest.mark.parametrize("method", METHODS)
def test_a_repeated_point_is_replaced_by_an_independent_draw(method: Method) -> None:
    space = Space({"a": Int(1, 6)})
    history = make_history(space, seed=5)
    first = RandomSampler(method=method).suggest(history, default_rng(0))
    assert isinstance(first, Suggestion)
    give(history, first.params)
    for seed in range(5):
        again = RandomSampler(method=method).suggest(history, default_rng(seed))
        assert isinstance(again, Suggestion)
        assert again.params == space.sample(default_rng(seed))
        assert again.info == {method: 0}  # recorded, so that the sequence continues after it


@pytest.mark.parametrize("method", METHODS)
def test_a_space_of_constants_has_one_point(method: Method) -> None:
    history = make_history(Space({"a": Constant(3)}))
    assert RandomSampler(method=method).suggest(history, default_rng(0)) == {"a": 3}


def test_scipy_is_not_imported_for_uniform_points() -> None:
    import subprocess
    import sys

    code = """
import sys
from numpy.random import default_rng
from hpt_core import Float, Space
from hpt_core.testing import make_history
from hpt_sampler_random.sampler import RandomSampler
RandomSampler().suggest(make_history(Space({"x": Float(0, 1)})), default_rng(0))
print("scipy" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "False\n"


@pytest.mark.parametrize(
    "options",
    [{"method": "sobol", "block": 1}, {"block": True}, {"distributions": [1]}, {"distributions": {"x": 3}}],
)
def test_bad_options_are_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        RandomSampler(**options)


def test_it_offers_itself_as_the_default_sampler_and_nothing_else() -> None:
    assert hpt_sampler_random.hpt_default("sampler") == "random"
    assert hpt_sampler_random.hpt_default("store") is None


@pytest.mark.parametrize("method", METHODS)
def test_a_sequence_gives_way_to_random_points_where_a_space_allows_hardly_any(method: Method) -> None:
    names = [f"m{i}" for i in range(8)]
    space = Space({**dict.fromkeys(names, Float(0, 1)), "m7": Float(0, 1, requires=f"{' + '.join(names)} <= 1")})
    suggestion = RandomSampler(method=method).suggest(make_history(space, []), default_rng(0))
    assert isinstance(suggestion, Suggestion)
    assert space.contains(suggestion.params)
    assert suggestion.info == {method: 999}  # it has skipped 1,000 points
    assert suggestion.params == space.sample(default_rng(0))


def test_draws_from_distributions_satisfy_the_requirements() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1, requires="x < y")})
    sampler = RandomSampler(distributions={"x": {"name": "beta", "args": [5, 1]}})
    rng, history = default_rng(0), make_history(space, [])
    found = [sampler.suggest(history, rng) for _ in range(50)]
    assert all(isinstance(params, dict) and space.contains(params) for params in found)
