"""A suggestion that is interrupted leaves nothing behind in the sampler."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from hpt_core import Float, Params, Study


class Interrupted(optuna.samplers.NSGAIISampler):
    """Is interrupted once, at a trial of this number."""

    number = -1

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().sample_relative(study, trial, search_space)
        if trial.number == Interrupted.number:
            Interrupted.number = -1
            raise KeyboardInterrupt
        return found


def sampled(count: int) -> list[Params]:
    study = Study(
        {"x": Float(0, 1), "y": Float(0, 1)},
        sampler={"use": "optuna", "sampler": Interrupted, "options": {"population_size": 5}},
        seed=0,
    )
    while len(study.trials) < count:
        try:
            study.run(lambda params: (params["x"] - 0.3) ** 2 + params["y"], trials=count)
        except KeyboardInterrupt:
            assert Interrupted.number == -1
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("number", [2, 5])
def test_a_study_that_goes_on_after_ctrl_c_equals_one_that_was_not_interrupted(number: int) -> None:
    plain = sampled(20)
    Interrupted.number = number
    assert sampled(20) == plain
    assert Interrupted.number == -1
