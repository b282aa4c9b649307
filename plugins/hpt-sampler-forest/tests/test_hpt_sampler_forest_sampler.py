"""The sampler: valid, new and reproducible on any space; learns; beats random search."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from hpt_core import Categorical, Failure, Float, Int, Params, Space, Study, UsageError
from hpt_core.testing import make_history
from hpt_core.testing.strategies import spaces
from hpt_sampler_forest.sampler import ForestSampler, _exchanged


@settings(max_examples=15, deadline=None)
@given(spaces(max_size=5), st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_suggestions_are_valid_new_and_reproducible(space: Space, seed: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    trials: list[tuple[Params, object]] = []
    taken: set[object] = set()
    for number in range(n):
        ended = number - number // 3
        history = make_history(space, trials[:ended], running=[params for params, _ in trials[ended:]])
        ask = [ForestSampler(n_initial=3, trees=4) for _ in range(2)]
        first, second = (sampler.suggest(history, np.random.default_rng([seed, number])) for sampler in ask)
        assert first == second
        assert space.contains(first.params)
        assert (space.key(first.params) in taken) == (len(taken) == space.size)
        assert json.loads(json.dumps(first.info)) == first.info
        taken.add(space.key(first.params))
        trials.append((first.params, Failure("error", "no") if generator.random() < 0.2 else generator.normal()))


def test_the_first_points_are_the_default_and_a_sobol_sequence() -> None:
    """Any eight successive points of a Sobol sequence have one coordinate in each eighth."""
    space, running = Space({"x": Float(0, 1, default=0.125), "y": Float(0, 1)}), list[Params]()
    for index in range(8):
        found = ForestSampler(n_initial=8).suggest(make_history(space, running=running), np.random.default_rng(0))
        assert found.info == {"model": "initial", "index": index}
        running.append(found.params)
    assert running[0] == {"x": 0.125, "y": 0.5}
    for name in ("x", "y"):
        assert len({int(8 * params[name]) for params in running[1:]}) == 7


def test_if_all_initial_points_failed_the_next_one_is_random_and_new() -> None:
    trials: list[tuple[Params, object]] = []
    for index in (0, 1, 2, None):
        history = make_history(Space({"x": Float(0, 1)}), trials)
        found = ForestSampler(n_initial=3).suggest(history, np.random.default_rng(0))
        assert found.info == {"model": "initial", "index": index}
        assert found.params not in [params for params, _ in trials]
        trials.append((found.params, Failure("error", "no")))


def test_suggestions_concentrate_where_losses_are_low_and_avoid_crashes() -> None:
    space = Space({"x": Float(0, 1), "c": Categorical(*"abcdef")})
    rng = np.random.default_rng(0)
    trials: list[Any] = []
    for _ in range(60):
        params = space.sample(rng)
        value = abs(params["x"] - 0.7) + (params["c"] != "d")
        trials.append((params, Failure("error", "no") if params["x"] > 0.8 else value))
    history = make_history(space, trials)
    found = [ForestSampler(random=0.0).suggest(history, np.random.default_rng(i)).params for i in range(5)]
    assert all(params["c"] == "d" for params in found)
    assert all(0.55 < params["x"] < 0.85 for params in found)


@pytest.mark.parametrize(("choices", "count"), [(400, 400), (9000, 500)])
def test_very_many_neighbours_are_subsampled(choices: int, count: int) -> None:
    space = Space({"word": Categorical(*range(choices)), "flag": Categorical("on", "off")})
    start = space.default()
    found = _exchanged(space, start, np.random.default_rng(0))
    assert len({space.key(one) for one in found}) == len(found) == count
    assert all(sum(one[name] != start[name] for name in start) == 1 for one in found)


def test_a_small_space_is_exhausted() -> None:
    study = Study({"k": Int(0, 4), "c": Categorical("a", "b")}, sampler=ForestSampler(trees=5), seed=1)
    study.run(lambda params: float(params["k"]))
    assert len(study.trials) == 10
    assert "exhausted" in study.stop_reason


@pytest.mark.parametrize("options", [{"n_initial": 0}, {"trees": 1}, {"trees": 2.5}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be"):
        ForestSampler(**options)


def test_it_beats_random_search() -> None:
    space = Space({**{f"c{i}": Categorical(*"abcd") for i in range(4)}, "k": Int(0, 20), "v": Float(0, 1)})

    def function(params: Params) -> float:
        wrong = sum((i + 1) * (params[f"c{i}"] != "bdca"[i]) for i in range(4))
        return float(wrong + abs(params["k"] - 14) / 5 + (params["v"] > 0.3))

    wins = 0
    for seed in range(20):
        study = Study(space, sampler=ForestSampler(trees=15), seed=seed)
        study.run(function, trials=35)
        assert study.best is not None
        assert study.best.value is not None
        rng = np.random.default_rng(seed)
        wins += study.best.value < min(function(space.sample(rng)) for _ in range(35))
    assert binomtest(wins, 20, alternative="greater").pvalue < 0.01
