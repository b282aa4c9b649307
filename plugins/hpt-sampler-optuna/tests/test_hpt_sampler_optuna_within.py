"""hpt's samplers in Optuna: Optuna's own test kit, the same trials as an hpt study, conditions, states, processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import TrialState

from hpt_core import Categorical, Float, Int, Params, Study, UsageError
from hpt_sampler_optuna import HptSampler

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

SPACE = {
    "x": Float(0, 1),
    "k": Int(1, 9),
    "c": Categorical("a", "b"),
    "lr": Float(1e-3, 1, log=True, when={"c": "a"}),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


class TestByTheKitOfOptuna(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: HptSampler("random", seed=0)


def value_of(params: Params) -> float:
    return float((params["x"] - 0.3) ** 2 + params["k"] / 9 + params.get("lr", 0.5))


def objective(trial: optuna.Trial) -> float:
    params: Params = {
        "x": trial.suggest_float("x", 0, 1),
        "k": trial.suggest_int("k", 1, 9),
        "c": trial.suggest_categorical("c", ["a", "b"]),
    }
    if params["c"] == "a":
        params["lr"] = trial.suggest_float("lr", 1e-3, 1, log=True)
    return value_of(params)


def points(study: optuna.Study) -> list[Params]:
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize(
    "sampler", ["bayes", [{"use": "defaults"}, {"use": "random", "method": "sobol", "trials": 5}, {"use": "random"}]]
)
def test_the_trials_equal_those_of_an_hpt_study(sampler: Any) -> None:
    study = optuna.create_study(sampler=HptSampler(sampler, space=SPACE, seed=3))
    study.optimize(objective, n_trials=12)
    own = Study(SPACE, sampler=sampler, seed=3)
    own.run(value_of, trials=12)
    assert points(study) == [trial.params for trial in own.trials]


def test_a_resumed_study_equals_an_uninterrupted_one() -> None:
    straight = optuna.create_study(sampler=HptSampler("bayes", space=SPACE, seed=1))
    straight.optimize(objective, n_trials=10)
    halves = optuna.create_study(sampler=HptSampler("bayes", space=SPACE, seed=1))
    halves.optimize(objective, n_trials=6)
    halves.sampler = pickle.loads(pickle.dumps(HptSampler("bayes", space=SPACE, seed=1)))
    halves.optimize(objective, n_trials=4)
    assert points(halves) == points(straight)


def test_without_a_space_it_suggests_what_all_trials_have() -> None:
    study = optuna.create_study(sampler=HptSampler("bayes", seed=0))
    study.optimize(objective, n_trials=25)
    noted = [trial.system_attrs.get("hpt:params") for trial in study.trials]
    assert noted[0] is None
    assert all(note is not None for note in noted[1:])
    assert min(value_of(params) for params in points(study)[10:]) < min(
        value_of(params) for params in points(study)[:4]
    )


def test_every_state_reaches_the_sampler() -> None:
    seen: list[list[tuple[str, Any]]] = []

    class Looking:
        def suggest(self, history: Any, rng: Any) -> Params:
            seen.append([(str(trial.state), trial.value) for trial in history.trials])
            params: Params = history.space.sample(rng)
            return params

    study = optuna.create_study(sampler=HptSampler(Looking(), space={"x": Float(0, 1)}, seed=0), direction="maximize")
    for end in ("complete", "fail", "prune", "prune without a report", "running", "last"):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        if end == "complete":
            study.tell(trial, 2.5)
        elif end == "fail":
            study.tell(trial, state=TrialState.FAIL)
        elif end == "prune":
            trial.report(1.5, 0)
            trial.report(0.5, 3)
            study.tell(trial, state=TrialState.PRUNED)
        elif end == "prune without a report":
            study.tell(trial, state=TrialState.PRUNED)
    assert seen[-1] == [
        ("complete", 2.5),
        ("failed", None),
        ("stopped", 0.5),
        ("stopped", None),
        ("running", None),
    ]


def test_concurrent_trials_have_different_points() -> None:
    study = optuna.create_study(sampler=HptSampler("random", space={"k": Int(1, 12)}, seed=0))
    study.optimize(lambda trial: trial.suggest_int("k", 1, 12), n_trials=12, n_jobs=3)
    assert sorted(trial.params["k"] for trial in study.trials) == list(range(1, 13))


def test_an_exhausted_space_does_not_raise() -> None:
    study = optuna.create_study(sampler=HptSampler("grid", space={"k": Int(1, 3)}, seed=0))
    study.optimize(lambda trial: trial.suggest_int("k", 1, 3), n_trials=6)
    assert sorted(trial.params["k"] for trial in study.trials[:3]) == [1, 2, 3]


def test_several_objectives() -> None:
    study = optuna.create_study(
        sampler=HptSampler("random", space={"x": Float(0, 1)}, seed=0), directions=["minimize", "maximize"]
    )
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=4)
    assert len({trial.params["x"] for trial in study.trials}) == 4


def test_points_outside_the_space_are_left_out() -> None:
    study = optuna.create_study(sampler=HptSampler("bayes", space={"x": Float(0, 1)}, seed=0))
    wide = optuna.distributions.FloatDistribution(0, 9)
    study.add_trial(optuna.trial.create_trial(params={"x": 5.0}, distributions={"x": wide}, value=1.0))
    study.add_trial(optuna.trial.create_trial(params={}, distributions={}, value=1.0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert all(0 <= trial.params["x"] <= 1 for trial in study.trials[2:])


@pytest.mark.parametrize(
    ("arguments", "message"), [(("no",), "no sampler 'no'"), (({"use": "grid", "n": 1},), "such option")]
)
def test_a_wrong_sampler_is_rejected_at_once(arguments: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        HptSampler(*arguments)


def test_the_cache_does_not_change_the_suggestion() -> None:
    """Trials that end in another order than they began, and one that is added manually."""

    def go(*, fresh: bool) -> list[Params]:
        study = optuna.create_study(sampler=HptSampler("bayes", space={"x": Float(0, 1), "k": Int(1, 9)}, seed=2))
        running: list[optuna.Trial] = []
        for i in range(14):
            if fresh:
                study.sampler = HptSampler("bayes", space={"x": Float(0, 1), "k": Int(1, 9)}, seed=2)
            if i == 5:
                study.add_trial(study.trials[0])
            running.append(study.ask())
            running[-1].suggest_float("x", 0, 1)
            running[-1].suggest_int("k", 1, 9)
            if len(running) == 3:
                ended = running.pop(i % 3)
                if i % 7 == 6:
                    study.tell(ended, state=TrialState.FAIL)
                else:
                    study.tell(ended, value_of(ended.params))
        return points(study)

    assert go(fresh=False) == go(fresh=True)


def test_one_sampler_can_be_used_by_two_studies() -> None:
    sampler = HptSampler("random", space={"k": Int(1, 5)}, seed=0)
    studies = [optuna.create_study(sampler=sampler) for _ in range(2)]
    for _ in range(5):
        for study in studies:
            study.optimize(lambda trial: trial.suggest_int("k", 1, 5), n_trials=1)
    assert points(studies[0]) == points(studies[1])
    assert len({trial.params["k"] for trial in studies[0].trials}) == 5


@pytest.mark.parametrize(
    ("suggest", "message"),
    [
        (lambda trial: trial.suggest_float("y", 0, 1), "'y' of the objective is not in the `space`"),
        (lambda trial: trial.suggest_float("x", 0.9, 1), "'x' of the objective has another range or condition in"),
    ],
)
def test_a_space_that_differs_from_the_objective_is_reported(suggest: Callable[[Any], float], message: str) -> None:
    """It was a random search, without a word."""
    study = optuna.create_study(sampler=HptSampler("random", space={"x": Float(0, 1)}, seed=0))
    with pytest.warns(UserWarning, match=message):
        study.optimize(suggest, n_trials=5)


@pytest.mark.filterwarnings("error")
def test_other_values_that_the_sampler_did_not_suggest_are_not_reported() -> None:
    """Those of enqueued trials, and all values once a finite space is used up."""
    study = optuna.create_study(sampler=HptSampler("random", space=SPACE, seed=0))
    for choice in ("a", "b") * 4:
        study.enqueue_trial({"c": choice})
    study.optimize(objective, n_trials=10)
    small = optuna.create_study(sampler=HptSampler("grid", space={"k": Int(1, 3)}, seed=0))
    small.optimize(lambda trial: trial.suggest_int("k", 1, 3), n_trials=5)
