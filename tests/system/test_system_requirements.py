"""Requirements of a space with every sampler: what they suggest is allowed, and they search up to the border."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from hpt_core import Params, Study

SPACE: dict[str, Any] = {
    "x": {"low": 0.0, "high": 1.0},
    "y": {"low": 0.0, "high": 1.0, "requires": "x + y <= 1"},
    "kind": ["plain", "deep", "wide"],
    "layers": {"low": 1, "high": 30, "log": True, "requires": "layers <= 8 or kind == 'deep'"},
    "size": {"low": 1, "high": 64, "when": {"kind": ["deep", "wide"]}, "requires": "size * layers <= 128"},
}


def loss(params: Params) -> float:
    """Smallest, 0.18, on the border, at x = y = 0.5; without the requirement 0 at x = y = 0.8."""
    assert params["x"] + params["y"] <= 1
    assert params["layers"] <= 8 or params["kind"] == "deep"
    assert params.get("size", 0) * params["layers"] <= 128
    worse = 0.0 if params["kind"] == "plain" else 0.1
    return float((params["x"] - 0.8) ** 2 + (params["y"] - 0.8) ** 2 + worse)


SAMPLERS: dict[str, dict[str, Any]] = {
    **{name: {"use": name} for name in ("auto", "bayes", "cmaes", "forest", "tpe", "random")},
    "sobol": {"use": "random", "method": "sobol"},
    "latin-hypercube": {"use": "random", "method": "latin-hypercube"},
    "distributions": {"use": "random", "distributions": {"x": {"name": "uniform", "args": [0, 1]}}},
    "grid": {"use": "grid", "points": 3},
}


@cache  # the tests compare the same runs
def run(sampler: str, seed: int) -> Study:
    study = Study(SPACE, sampler=SAMPLERS[sampler], seed=seed)
    study.run(loss, trials=40)
    assert len(study.history.complete) == 40
    return study


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_suggests_only_what_is_allowed(sampler: str) -> None:
    study = run(sampler, seed=2)
    assert "fill" not in {trial.source for trial in study.trials}, "the core had to replace a suggestion"


@pytest.mark.parametrize("sampler", ["auto", "bayes", "forest", "tpe"])
def test_samplers_with_a_model_get_closer_to_a_best_point_on_the_border_than_random_search(sampler: str) -> None:
    ours, at_random = (
        np.mean([run(name, seed).history.losses.min() for seed in range(3)]) for name in (sampler, "random")
    )
    assert ours - 0.18 < 0.3 * (at_random - 0.18)
