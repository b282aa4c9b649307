"""Properties on spaces of every shape: suggestions are valid and reproducible, and finite spaces are exhausted."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import Categorical, Failure, Int, Params, Space, Study
from hpt_core.testing.strategies import spaces
from hpt_sampler_cmaes.encoding import Encoding
from hpt_sampler_cmaes.sampler import CmaesSampler


@given(spaces(max_size=6), st.integers(0, 2**32 - 1))
def test_encoding_round_trips(space: Space, seed: int) -> None:
    encoding, rng = Encoding.of(space), np.random.default_rng(seed)
    for _ in range(10):
        params = space.sample(rng)
        assert encoding.decode(*encoding.encode(params)) == params


def test_the_encoding_of_a_space_is_built_once() -> None:
    space = Space({"n": Int(1, 1000, log=True)})
    assert Encoding.of(Space.from_json(space.to_json())) is Encoding.of(space)


@settings(max_examples=20, deadline=None)
@given(spaces(max_size=5), st.integers(0, 2**32 - 1))
def test_studies_of_any_space_run_and_repeat(space: Space, seed: int) -> None:
    def function(params: Params) -> float:
        unit = np.nan_to_num(space.to_unit(params), nan=0.0)
        if unit.sum() > 2.0:
            raise ValueError
        return float(((unit - 0.3) ** 2).sum())

    runs = []
    for _ in range(2):
        study = Study(space, sampler=CmaesSampler(population=4), seed=seed % 2**31, max_failures=1000)
        study.run(function, trials=22)
        assert all(space.contains(trial.params) for trial in study.trials)
        runs.append([(trial.params, json.dumps(trial.info)) for trial in study.trials])
    assert runs[0] == runs[1]


def test_a_small_space_is_exhausted() -> None:
    study = Study({"k": Int(0, 4), "c": Categorical("a", "b")}, sampler=CmaesSampler(), seed=1)
    study.run(lambda params: float(params["k"]))
    assert len(study.trials) == 10


def test_four_workers_converge_like_one() -> None:
    """Four trials run at any time, and they end in random order."""
    space = Space({"x": Int(0, 1000), "y": Int(0, 1000)})
    study, rng = Study(space, sampler=CmaesSampler(), seed=0), np.random.default_rng(0)
    running = [study.ask() for _ in range(4)]
    for number in range(160):
        trial = running.pop(int(rng.integers(4)))
        if number % 11 == 0:
            study.tell(trial, Failure("error", "no"))
        else:
            study.tell(trial, float((trial.params["x"] - 310) ** 2 + (trial.params["y"] - 640) ** 2))
        running.append(study.ask())
    assert study.best is not None
    assert study.best.value is not None
    assert study.best.value < 30**2
