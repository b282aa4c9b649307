"""The sampler: valid, new and reproducible on any space; learns; beats random search."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from hpt_core import Categorical, Constant, Failure, Float, Int, Params, Space, Study, UsageError
from hpt_core.testing import make_history
from hpt_core.testing.strategies import spaces
from hpt_sampler_forest.model import Encoder, Forest, log_expected_improvement
from hpt_sampler_forest.observations import observe
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
    elsewhere = make_history(space, running=running[:1], seed=1)
    assert ForestSampler(n_initial=8).suggest(elsewhere, np.random.default_rng(0)).params != running[1]


@pytest.mark.parametrize(
    ("n_initial", "results", "running", "expected"),
    [(5, 2, 3, "forest"), (5, 2, 2, "initial"), (5, 1, 9, "initial"), (8, 4, 4, "forest"), (8, 3, 9, "initial")],
)
def test_running_trials_count_for_half_of_the_initial_design(
    n_initial: int, results: int, running: int, expected: str
) -> None:
    points = [{"x": (i + 1) / 20} for i in range(results + running)]
    history = make_history({"x": Float(0, 1)}, [(p, p["x"]) for p in points[:results]], running=points[results:])
    sampler = ForestSampler(n_initial=n_initial, trees=2, random=0.0)
    assert sampler.suggest(history, np.random.default_rng(0)).info["model"] == expected


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


def test_the_option_random_is_the_fraction_of_random_suggestions() -> None:
    history = make_history(Space({"x": Float(0, 1)}), [({"x": i / 9}, float(i)) for i in range(10)])
    found = [ForestSampler(trees=2, random=0.9).suggest(history, np.random.default_rng(i)).info for i in range(100)]
    assert binomtest([info["model"] for info in found].count("random"), 100, 0.9).pvalue > 0.01


def scores(space: Space, asked: list[Params], seed: int, running: list[Params]) -> Any:
    rng = np.random.default_rng(seed)
    points = [space.sample(rng) for _ in range(14)]
    trials = [(params, (params["x"] - 0.4) ** 2 + (params["y"] - 0.6) ** 2) for params in points]
    history = make_history(space, trials, running=running)
    return ForestSampler()._score(history, observe(history, rng), rng)(asked)


def test_the_score_is_the_log_expected_improvement_below_the_best_result() -> None:
    space, rng = Space({"x": Float(0, 1), "y": Float(0, 1)}), np.random.default_rng(0)
    trials: list[Any] = [(space.sample(rng), value) for value in (3.0, 1.0, Failure("error", "no"), 2.0, 7.0)]
    history, asked = make_history(space, trials), [space.sample(rng) for _ in range(9)]
    seen = observe(history, rng)
    found = ForestSampler(trees=7)._score(history, seen, np.random.default_rng(1))(asked)
    encoder = Encoder.of(space)
    forest = Forest.fit(encoder.encode(history.unit[seen.numbers]), seen.y, 7, np.random.default_rng(1))
    mean, variance = forest.predict(encoder.encode(space.to_unit(asked)))
    np.testing.assert_allclose(found, log_expected_improvement(seen.y.min(), mean, variance))


def test_a_configuration_is_worth_less_while_it_is_evaluated() -> None:
    space, spot = Space({"x": Float(0, 1), "y": Float(0, 1)}), {"x": 0.45, "y": 0.65}
    for seed in range(5):
        assert scores(space, [spot], seed, [spot] * 4)[0] < scores(space, [spot], seed, [])[0] - 1.0


def test_what_breaks_a_requirement_is_worth_less_than_anything_else() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1, requires="x < y")})
    asked = [{"x": x, "y": y} for x in np.linspace(0, 1, 20).tolist() for y in np.linspace(0, 1, 20).tolist()]
    found, allowed = scores(space, asked, 0, []), np.array([one["x"] < one["y"] for one in asked])
    assert found[~allowed].max() < found[allowed].min()


@pytest.mark.parametrize(("choices", "count"), [(400, 400), (9000, 500)])
def test_very_many_neighbours_are_subsampled(choices: int, count: int) -> None:
    space = Space({"word": Categorical(*range(choices)), "flag": Categorical("on", "off")})
    start = space.default()
    found = _exchanged(space, start, np.random.default_rng(0))
    assert len({space.key(one) for one in found}) == len(found) == count
    assert all(sum(one[name] != start[name] for name in start) == 1 for one in found)


def test_the_only_configuration_of_a_space_is_suggested_again() -> None:
    history = make_history({"a": Constant(1)}, [({"a": 1}, float(i)) for i in range(8)])
    assert ForestSampler().suggest(history, np.random.default_rng(0)).params == {"a": 1}


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
