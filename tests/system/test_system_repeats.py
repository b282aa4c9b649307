"""What each sampler does in a finite space that was seen to its end, where the study allows repeats and where not."""

from __future__ import annotations

import pytest

from hpt_core import Categorical, Int, Params, Study

SPACE = {"a": Int(1, 3), "b": Categorical("u", "v")}


def value(params: Params) -> float:
    return float(params["a"])


@pytest.mark.parametrize("sampler", ["auto", "bayes", "cmaes", "forest", "random", "tpe"])
def test_repeats_go_on_behind_the_last_new_point(sampler: str) -> None:
    study = Study(SPACE, sampler=sampler, duplicates="allow", seed=0)
    assert study.run(value, trials=14) == "all 14 trials were started"
    assert len(study.trials) == 14
    strict = Study(SPACE, sampler=sampler, seed=0)
    assert strict.run(value, trials=14).startswith("space exhausted")
    assert len(strict.trials) == 6


def test_a_grid_ends_where_its_points_do() -> None:
    study = Study(SPACE, sampler="grid", duplicates="allow", seed=0)
    assert study.run(value, trials=14).startswith("space exhausted")
    assert len(study.trials) == 6
