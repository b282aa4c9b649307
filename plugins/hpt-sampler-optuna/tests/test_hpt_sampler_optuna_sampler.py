"""Optuna's samplers in hpt: the same suggestions as in Optuna, purity, conditions, states, stored data, errors."""

from __future__ import annotations

import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import optuna
import pytest
from numpy.random import default_rng
from optuna.trial import TrialState

from hpt_core import (
    Categorical,
    Constant,
    Failure,
    Float,
    Int,
    Ordinal,
    Params,
    PluginError,
    Space,
    SpaceExhausted,
    Stop,
    Study,
    UsageError,
)
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_sampler_optuna.convert import axes
from hpt_sampler_optuna.sampler import OptunaSampler

SPACE = Space({"x": Float(0, 1), "lr": Float(1e-4, 1, log=True), "k": Int(1, 9), "c": Categorical("a", "b", "c")})
CONDITIONAL = Space(
    {
        "model": Categorical("svm", "forest"),
        "C": Float(1e-2, 1e2, log=True, when={"model": "svm"}),
        "depth": Int(2, 9, when={"model": "forest"}),
        "size": Ordinal("s", "m", "l"),
        "hidden": Categorical([8], [16, 8], when={"model": "forest"}),
        "step": Float(0.1, 0.95, step=0.1),
        "jobs": Constant(1),
        "one": Int(3, 3),
    }
)
SAMPLERS: list[tuple[str, dict[str, Any]]] = [
    ("RandomSampler", {}),
    ("TPESampler", {"n_startup_trials": 4}),
    ("TPESampler", {"n_startup_trials": 4, "multivariate": True, "group": True}),
    ("NSGAIISampler", {"population_size": 4}),
    ("NSGAIIISampler", {"population_size": 4}),
    ("CmaEsSampler", {"warn_independent_sampling": False}),
    ("QMCSampler", {"warn_independent_sampling": False, "warn_asynchronous_seeding": False}),
]
every_sampler = pytest.mark.parametrize(("name", "options"), SAMPLERS, ids=lambda item: str(item)[:40])


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def value_of(params: Params) -> float:
    k = params["k"] if "k" in params else params.get("depth") or 5
    return float(
        (params.get("x", 0.5) - 0.3) ** 2 + k / 9 + (params.get("c", "a") == "b") + float(params.get("C", 1)) / 100
    )


def study(sampler: Any, space: Space = SPACE, **settings: Any) -> Study:
    return Study(space, sampler=sampler, seed=settings.pop("seed", 0), **settings)


def go_on(found: Study, count: int, value: Callable[[Params], Any] = value_of) -> Study:
    for _ in range(count):
        trial = found.ask()
        found.tell(trial, value(trial.params))
    return found


def points(found: Study) -> list[Params]:
    return [trial.params for trial in found.trials]


def seed_for(number: int) -> int:
    return int(default_rng([0, number]).integers(2**31 - 1))


def objective(trial: optuna.Trial) -> float:
    params = {
        "x": trial.suggest_float("x", 0, 1),
        "lr": trial.suggest_float("lr", 1e-4, 1, log=True),
        "k": trial.suggest_int("k", 1, 9),
        "c": trial.suggest_categorical("c", ["a", "b", "c"]),
    }
    return value_of(params)


@every_sampler
def test_suggestions_equal_optunas_with_the_same_seeds(name: str, options: dict[str, Any]) -> None:
    found = go_on(study({"use": "optuna", "sampler": name, "options": options}, duplicates="allow"), 20)
    plain = optuna.create_study()
    for number in range(20):
        given = {**options, "seed": seed_for(number)}
        if name == "QMCSampler":
            given |= {"seed": 0, "independent_sampler": optuna.samplers.RandomSampler(seed=seed_for(number))}
        plain.sampler = getattr(optuna.samplers, name)(**given)
        plain.optimize(objective, n_trials=1)
    assert points(found) == [trial.params for trial in plain.trials]
    assert {trial.source for trial in found.trials} == {"sampler"}


def test_qmc_draws_conditional_parameters_anew_for_each_trial() -> None:
    space = Space({"m": Categorical("a", "b"), "g": Float(0, 1, when={"m": "a"})})
    found = go_on(
        study({"use": "optuna", "sampler": "QMCSampler", "options": SAMPLERS[-1][1]}, space, duplicates="allow"), 16
    )
    drawn = [params["g"] for params in points(found) if "g" in params]
    assert len(drawn) > 1
    assert len(set(drawn)) == len(drawn)


@every_sampler
def test_the_cache_does_not_change_the_suggestion(name: str, options: dict[str, Any]) -> None:
    spec = OptunaSampler(sampler=name, options=options)
    kept = go_on(study(spec, CONDITIONAL), 16)
    fresh = study(spec, CONDITIONAL)
    for _ in range(16):
        fresh.decisions.sampler = pickle.loads(pickle.dumps(spec))
        go_on(fresh, 1)
    assert [(t.params, t.info) for t in kept.trials] == [(t.params, t.info) for t in fresh.trials]
    assert all(CONDITIONAL.contains(params) for params in points(kept))
    assert {len(params) for params in points(kept)} == {6, 7}


SEEN: list[list[Any]] = []


class Watching(optuna.samplers.RandomSampler):
    """Keeps the parameters of all trials that it sees, in their order."""

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        SEEN.append([list(earlier.params.items()) for earlier in study.get_trials(states=(TrialState.COMPLETE,))])
        return super().sample_relative(study, trial, search_space)  # type: ignore[no-any-return]


def test_the_cache_has_the_same_values_as_the_log_to_the_last_digit_and_in_the_same_order() -> None:
    """Three steps of 0.1 are 0.30000000000000004 in Optuna and 0.3 here."""
    space = Space(
        {
            "x": Float(0, 1, when={"use": True}),  # declared before its parent
            "use": Categorical(True, False),
            "share": Float(0, 1, step=0.1),
            "y": Float(0, 1),
        }
    )
    found = go_on(study(OptunaSampler(sampler=Watching), space), 20)
    kept = SEEN.pop()
    rebuilt = study(OptunaSampler(sampler=Watching), space)
    for trial in found.trials[:-1]:
        rebuilt.add_trial(trial.params, value_of(trial.params))
    rebuilt.ask()
    assert SEEN.pop() == kept
    assert {0.3, 0.6, 0.7} & {dict(values)["share"] for values in kept}


@every_sampler
def test_a_study_can_be_audited(name: str, options: dict[str, Any]) -> None:
    found = go_on(study({"use": "optuna", "sampler": name, "options": options}), 6)
    audit = verify(found.store, found.name, default_plugins())
    assert (audit.checked, audit.differences) == (6, [])


@every_sampler
def test_pending_results_in_any_order_given_and_failed_trials(name: str, options: dict[str, Any]) -> None:
    """As with parallel workers: the continued replica must equal one built from scratch."""
    spec = OptunaSampler(sampler=name, options=options)
    found = study(spec, duplicates="allow")
    found.enqueue({"x": 0.5, "lr": 0.1, "k": 2, "c": "b"})
    open_trials = [found.ask() for _ in range(3)]
    for i in range(12):
        done = open_trials.pop(0 if i % 2 else 1)
        found.tell(done, Failure("error", "no") if i % 5 == 4 else value_of(done.params))
        if i == 6:
            found.invalidate(done.number, "wrong")
        number = found.history.next_number
        rebuilt = OptunaSampler(sampler=name, options=options).suggest(found.history, default_rng([0, number]))
        open_trials.append(found.ask())
        assert open_trials[-1].params == rebuilt.params
        assert open_trials[-1].info == rebuilt.info


def study_of_optuna(found: Study, sampler: Any) -> optuna.Study:
    made = OptunaSampler(sampler=sampler)
    made.suggest(found.history, default_rng(0))
    inner: optuna.Study = made._replica._study
    return inner


def test_optuna_sees_every_state() -> None:
    found = study("random", SPACE, objective={"score": "maximize"})
    found.add_trial({"x": 0.5, "lr": 0.1, "k": 1, "c": "a"}, 3.5)
    stopped = found.add_trial({"x": 0.25, "lr": 0.1, "k": 1, "c": "b"})
    found.report(stopped, 2, 1.5)
    found.report(stopped, 4, 2.5)
    found.tell(stopped, Stop("enough"))
    found.add_trial({"x": 0.75, "lr": 0.1, "k": 1, "c": "a"}, Failure("error", "no"))
    found.add_trial({"x": 1.0, "lr": 0.1, "k": 1, "c": "a"}, 9.0)
    found.invalidate(3, "wrong")
    found.add_trial({"x": 0.125, "lr": 0.1, "k": 1, "c": "a"})
    found.enqueue({"x": 0.0, "lr": 0.5, "k": 1, "c": "c"})
    seen = study_of_optuna(found, "RandomSampler")
    states = [trial.state for trial in seen.trials[:6]]
    running, fail = TrialState.RUNNING, TrialState.FAIL
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, fail, fail, running, running]
    assert [trial.params for trial in seen.trials[:6]] == points(found)
    assert seen.direction.name == "MAXIMIZE"
    assert seen.best_trial.number == 0
    assert seen.trials[1].intermediate_values == {2: 1.5, 4: 2.5}


def test_folds_are_not_reported_and_several_objectives_are_not_pruned() -> None:
    folds = Study(SPACE, sampler="random", seed=0, evaluator={"use": "function", "call": max, "evidence": "folds"})
    trial = folds.add_trial({"x": 0.25, "lr": 0.1, "k": 1, "c": "b"})
    folds.report(trial, 1, 1.0)
    folds.report(trial, 2, 2.0)
    folds.tell(trial, Stop("enough"))
    assert study_of_optuna(folds, "TPESampler").trials[0].intermediate_values == {2: 1.5}
    several = study("random", objective={"a": "minimize", "b": "maximize"})
    trial = several.add_trial({"x": 0.25, "lr": 0.1, "k": 1, "c": "b"})
    several.report(trial, 1, 1.0, b=2.0)
    several.tell(trial, Stop("enough"))
    assert study_of_optuna(several, "NSGAIISampler").trials[0].state is TrialState.FAIL


@pytest.mark.parametrize("name", ["TPESampler", "NSGAIISampler", "NSGAIIISampler"])
def test_several_objectives_as_in_optuna(name: str) -> None:
    def two(params: Params) -> tuple[float, float]:
        return value_of(params), params["x"]

    directions = {"a": "minimize", "b": "maximize"}
    options = {"n_startup_trials": 4} if name == "TPESampler" else {"population_size": 4}
    spec = {"use": "optuna", "sampler": name, "options": options}
    found = go_on(study(spec, objective=directions, duplicates="allow"), 14, two)
    plain = optuna.create_study(directions=list(directions.values()))
    for number in range(14):
        plain.sampler = getattr(optuna.samplers, name)(**options, seed=seed_for(number))
        plain.optimize(lambda trial: (objective(trial), float(trial.params["x"])), n_trials=1)
    assert points(found) == [trial.params for trial in plain.trials]


def test_constraints_reach_the_sampler() -> None:
    seen: list[dict[str, Any]] = []

    def constrained(seed: int) -> optuna.samplers.BaseSampler:
        def constraints(trial: optuna.trial.FrozenTrial) -> list[float]:
            seen.append(trial.params)
            return [trial.params["x"] - 0.5]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.samplers.TPESampler(seed=seed, constraints_func=constraints, n_startup_trials=2)

    found = go_on(study(OptunaSampler(sampler=constrained)), 5)
    assert seen == points(found)[:4]


def test_ordinals_lists_and_steps_are_indexed_and_round_trip() -> None:
    known = axes(CONDITIONAL)
    assert list(known) == ["model", "C", "depth", "size", "hidden", "step"]
    for name, axis in known.items():
        parameter: Any = CONDITIONAL[name]
        for u in (0.0, 0.3, 0.77, 1.0):
            value = parameter.from_unit(u)
            assert axis.decode(axis.encode(value)) == value
            assert type(axis.decode(axis.encode(value))) is type(value)
            assert axis.accepts(axis.encode(value))
    assert known["step"].decode(0.30000000000000004) == 0.3
    assert not known["step"].accepts(0.35)
    assert not known["C"].accepts(1e3)
    assert not known["model"].accepts("tree")
    assert not known["depth"].accepts("3")


def test_grid_and_brute_force_end_the_study() -> None:
    grid = {"use": "optuna", "sampler": "GridSampler", "options": {"search_space": {"k": [1, 2], "x": [0.25, 0.5]}}}
    found = study(grid, Space({"x": Float(0, 1), "k": Int(1, 9)}))
    found.run(value_of, trials=20)
    assert sorted((p["k"], p["x"]) for p in points(found)) == [(1, 0.25), (1, 0.5), (2, 0.25), (2, 0.5)]
    assert "the Optuna sampler has stopped the search" in found.stop_reason
    brute = study(
        {"use": "optuna", "sampler": "BruteForceSampler"}, Space({"k": Int(1, 4), "c": Categorical("a", "b")})
    )
    with pytest.raises(SpaceExhausted):
        go_on(brute, 20)
    assert len({brute.space.key(params) for params in points(brute)}) == 8


def test_a_replaced_suggestion_is_what_optuna_sees() -> None:
    fixed = OptunaSampler(sampler="RandomSampler", options={"seed": 4})  # always suggests the same point
    found = go_on(study(fixed), 3)
    assert [trial.source for trial in found.trials] == ["sampler", "fill", "fill"]
    assert [t.params for t in study_of_optuna(found, "RandomSampler").trials[:3]] == points(found)


class Pickling(optuna.samplers.RandomSampler):
    """Stores a pickle with each trial, and counts the earlier ones."""

    def sample_relative(self, study: optuna.Study, trial: Any, search_space: Any) -> dict[str, Any]:
        notes = [t.system_attrs["state"] for t in study.get_trials(deepcopy=False) if "state" in t.system_attrs]
        study._storage.set_trial_system_attr(trial._trial_id, "state", pickle.dumps({"notes": notes}).hex())
        return {"k": 1 + len(notes)}

    def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> dict[str, Any]:
        return {"k": optuna.distributions.IntDistribution(1, 9)}


class Needing(optuna.samplers.RandomSampler):
    """Imports a package that is not installed when it is first used, as `GPSampler` imports torch."""

    def sample_independent(self, *args: Any, **kwargs: Any) -> Any:
        import_module("no_such_package")


def test_pickles_are_not_stored_but_can_be_recreated() -> None:
    with pytest.raises(PluginError, match="replay = true"):
        study(OptunaSampler(sampler=Pickling)).ask()
    found = study(OptunaSampler(sampler=Pickling, replay=True))
    found.enqueue({"x": 0.5, "lr": 0.1, "k": 9, "c": "b"})
    go_on(found, 4)
    found.decisions.sampler = OptunaSampler(sampler=Pickling, replay=True)
    go_on(found, 2)
    assert [params["k"] for params in points(found)] == [9, 1, 2, 3, 4, 5]
    assert all(trial.info in ({}, {"optuna": {}}) for trial in found.trials)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "TPESampeler"}, "Did you mean 'TPESampler'"),
        ({"sampler": "no.such.module:Sampler"}, "sampler.sampler: Cannot import"),
        ({"sampler": "RandomSampler", "options": {"sed": 1}}, "sampler.options: RandomSampler does not accept them"),
        ({"sampler": optuna.samplers.RandomSampler(seed=1)}, "as each trial needs a new one"),
        ({"sampler": lambda seed: 3}, "must create an Optuna sampler. Got 3"),
    ],
)
def test_a_wrong_sampler_is_reported_before_the_first_trial(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        study({"use": "optuna", **options}).run(value_of, trials=1)


def test_a_package_that_the_sampler_needs_is_named() -> None:
    found = study({"use": "optuna", "sampler": Needing})
    with pytest.raises(PluginError, match="needs the package 'no_such_package', which is not installed"):
        found.run(value_of, trials=1)


class NeedingLater(optuna.samplers.TPESampler):
    """Needs the package once it has ten results, as `GPSampler` does."""

    def sample_relative(self, study: optuna.Study, trial: Any, search_space: Any) -> Any:
        if len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) >= 10:
            import_module("no_such_package")
        return super().sample_relative(study, trial, search_space)


def test_a_package_that_is_needed_later_is_missed_before_the_first_trial() -> None:
    found = study({"use": "optuna", "sampler": NeedingLater})
    with pytest.raises(PluginError, match="needs the package 'no_such_package', which is not installed"):
        found.run(value_of, trials=1)
    assert not found.trials


@pytest.mark.parametrize(
    ("sampler", "objective", "message"),
    [
        ("BruteForceSampler", "minimize", "sampler.sampler: BruteForceSampler does not support this study: .*step"),
        ("CmaEsSampler", {"a": "minimize", "b": "maximize"}, "CmaEsSampler does not support this study: .*multi"),
    ],
)
def test_a_study_that_the_sampler_does_not_support_is_refused(sampler: str, objective: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Study({"x": Float(0, 1)}, objective=objective, sampler={"use": "optuna", "sampler": sampler}).run(value_of)


class Failing(optuna.samplers.RandomSampler):
    def sample_independent(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("a fault of this sampler")


def test_the_author_of_a_sampler_that_fails_sees_its_traceback() -> None:
    with pytest.raises(PluginError) as failed:
        study({"use": "optuna", "sampler": Failing}).run(value_of, trials=1)
    assert "a fault of this sampler" in str(failed.value)
    assert failed.value.__cause__ is not None
    assert "sample_independent" in [frame.name for frame in traceback.extract_tb(failed.value.__cause__.__traceback__)]


def test_one_sampler_can_be_used_by_two_studies() -> None:
    sampler = OptunaSampler(sampler="QMCSampler", options={"warn_independent_sampling": False})
    one, other = study(sampler), study(sampler, seed=5)
    for _ in range(6):
        go_on(one, 1)
        go_on(other, 1)
    alone = go_on(study(OptunaSampler(sampler="QMCSampler", options={"warn_independent_sampling": False}), seed=5), 6)
    assert points(other) == points(alone)
    assert points(one) != points(other)


def test_a_replay_repeats_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """CMA-ES draws the categorical `c` at random and warns of it, once for each trial but the first."""
    continued = OptunaSampler(sampler="CmaEsSampler", options={"n_startup_trials": 1})
    optuna.logging.enable_propagation()
    try:
        history = go_on(study(continued), 4).history
        for sampler in (continued, pickle.loads(pickle.dumps(continued))):  # the copy replays the four trials
            caplog.clear()
            sampler.suggest(history, default_rng([0, 4]))
            assert caplog.messages
            assert all("Trial#4" in message for message in caplog.messages)
    finally:
        optuna.logging.disable_propagation()
