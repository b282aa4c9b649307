"""What becomes of suggestions of Optuna's samplers that break requirements or were tried, of which they do not know."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import optuna
import pytest

from hpt_core import Categorical, Float, Int, Params, Space, Study
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_sampler_optuna.sampler import OptunaSampler

QUIET = {"warn_independent_sampling": False}


def sequence(plain: optuna.Study) -> list[tuple[Any, ...]]:
    """The points after the first one, which is drawn independently."""
    return list(dict.fromkeys(tuple(trial.params.values()) for trial in plain.trials[1:]))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def below(limit: float) -> Space:
    return Space({"x": Float(0, 1), "y": Float(0, 1, requires=f"x + y <= {limit}"), "c": Categorical("a", "b")})


def study(sampler: Any, space: Space) -> Study:
    return Study(space, sampler=sampler, seed=0)


def value_of(params: Params) -> float:
    return float((params["x"] - 0.3) ** 2 + params["y"])


def go_on(found: Study, count: int) -> Study:
    for _ in range(count):
        trial = found.ask()
        found.tell(trial, value_of(trial.params))
    return found


def test_a_sequence_skips_points_that_break_a_requirement() -> None:
    """The points are those of the sequence in Optuna, without those that are not allowed."""
    space = Space({"x": Float(0, 1), "y": Float(0, 1, requires="x + y <= 1")})
    found = go_on(study({"use": "optuna", "sampler": "QMCSampler", "options": QUIET}, space), 20)
    assert {trial.source for trial in found.trials} == {"sampler"}
    plain = optuna.create_study(sampler=optuna.samplers.QMCSampler(seed=0, **QUIET))
    plain.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=60)
    allowed = [(x, y) for x, y in sequence(plain) if x + y <= 1]
    assert [tuple(trial.params.values()) for trial in found.trials][1:] == allowed[:19]


def test_a_sequence_skips_points_that_were_tried() -> None:
    space = Space({"x": Int(1, 6), "y": Int(1, 6)})
    found = go_on(study({"use": "optuna", "sampler": "QMCSampler", "options": QUIET}, space), 20)
    assert {trial.source for trial in found.trials} == {"sampler"}
    plain = optuna.create_study(sampler=optuna.samplers.QMCSampler(seed=0, **QUIET))
    plain.optimize(lambda trial: trial.suggest_int("x", 1, 6) + trial.suggest_int("y", 1, 6), n_trials=80)
    first, *rest = [tuple(trial.params.values()) for trial in found.trials]
    assert rest == [point for point in sequence(plain) if point != first][:19]


def test_a_random_configuration_replaces_suggestions_of_which_none_is_allowed_and_a_sequence_goes_on() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1, requires="x + y > 1.98")})
    found = go_on(study({"use": "optuna", "sampler": "QMCSampler", "options": QUIET}, space), 6)
    assert [trial.source for trial in found.trials] == ["fill"] * 6
    assert all(space.contains(trial.params) for trial in found.trials)
    places = [place for trial in found.trials[1:] for place in trial.info["optuna"]["study"].values()]
    assert [after - before for before, after in pairwise(places)] == [10] * 4


@pytest.mark.parametrize("limit", [1.0, 0.3])
@pytest.mark.parametrize("name", ["CmaEsSampler", "NSGAIISampler", "QMCSampler", "TPESampler"])
def test_the_cache_does_not_change_the_suggestion_and_a_study_can_be_audited(name: str, limit: float) -> None:
    options = QUIET if name in ("CmaEsSampler", "QMCSampler") else {}
    spec = OptunaSampler(sampler=name, options=options)
    kept = go_on(study(spec, below(limit)), 14)
    fresh = study(spec, below(limit))
    for _ in range(14):
        fresh.decisions.sampler = pickle.loads(pickle.dumps(spec))
        go_on(fresh, 1)
    assert [(t.params, t.info) for t in kept.trials] == [(t.params, t.info) for t in fresh.trials]
    assert all(kept.space.contains(trial.params) for trial in kept.trials)
    recorded = go_on(study({"use": "optuna", "sampler": name, "options": options}, below(limit)), 6)
    audit = verify(recorded.store, recorded.name, default_plugins())
    assert (audit.checked, audit.differences) == (6, [])
