"""It beats random search: runs paired by seed, judged by a sign test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest

from hpt_core import Categorical, Failure, Float, Int, Params, Space
from hpt_core.testing import make_history
from hpt_sampler_bayes.sampler import BayesSampler

SEEDS = 20  # more than needed, so that another rounding on another machine does not decide
TRIALS = 22


def branin(params: Params) -> float:
    x, y = params["x"], params["y"]
    bowl = (y - 5.1 / (4 * np.pi**2) * x * x + 5 / np.pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10)


def branches(params: Params) -> float:
    if params["model"] == "svm":
        value = 0.2 + (np.log10(params["C"]) - 1) ** 2 / 4 + (params["kernel"] != "rbf") * 0.3
    else:
        value = 0.1 + ((params["depth"] - 11) / 6) ** 2 + (params["share"] - 0.7) ** 2 * 2
    return float(value)


def crashing(params: Params) -> float | Failure:
    if params["x"] + params["y"] > 1.2:
        return Failure("out-of-memory", "too big")
    return float((params["x"] - 0.8) ** 2 + (params["y"] - 0.3) ** 2)


PROBLEMS: dict[str, tuple[Space, Callable[[Params], float | Failure]]] = {
    "branin": (Space({"x": Float(-5, 10), "y": Float(0, 15)}), branin),
    "branches": (
        Space(
            {
                "model": Categorical("svm", "forest"),
                "C": Float(1e-4, 1e4, log=True, when={"model": "svm"}),
                "kernel": Categorical("rbf", "poly", "linear", when={"model": "svm"}),
                "depth": Int(1, 30, when={"model": "forest"}),
                "share": Float(0.05, 1.0, when={"model": "forest"}),
            }
        ),
        branches,
    ),
    "crashing": (Space({"x": Float(0, 1), "y": Float(0, 1)}), crashing),
}


def best(outcomes: list[tuple[Params, float | Failure]]) -> float:
    return min((value for _, value in outcomes if not isinstance(value, Failure)), default=np.inf)


def tuned(space: Space, function: Callable[[Params], float | Failure], seed: int) -> float:
    sampler = BayesSampler()
    trials: list[tuple[Params, float | Failure]] = []
    for number in range(TRIALS):
        history = make_history(space, trials, seed=seed)
        params = sampler.suggest(history, np.random.default_rng([seed, number])).params
        trials.append((params, function(params)))
    return best(trials)


def by_chance(space: Space, function: Callable[[Params], float | Failure], seed: int) -> float:
    rng = np.random.default_rng(seed)
    points = [space.sample(rng) for _ in range(TRIALS)]
    return best([(params, function(params)) for params in points])


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_beats_random_search(name: str) -> None:
    space, function = PROBLEMS[name]
    wins = sum(tuned(space, function, seed) < by_chance(space, function, seed) for seed in range(SEEDS))
    assert binomtest(wins, SEEDS, alternative="greater").pvalue < 0.05
