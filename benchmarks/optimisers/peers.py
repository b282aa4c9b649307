"""The optimisers that are compared: hpt's samplers and the peers that are installed here.

Every one of them is asked and told in turn, one trial at a time, and is given no first point but its own.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from problems import Problem

import hpt_core as hpt

__all__ = ["Run", "optimisers"]

Run = Callable[[Problem, int, int], tuple[list[float], float]]
"""(problem, trials, seed) -> the values in order, and the seconds that the optimiser itself took."""

HPT = ("bayes", "tpe", "forest", "cmaes", "auto", "random")


def run_hpt(sampler: str, problem: Problem, trials: int, seed: int) -> tuple[list[float], float]:
    """One of hpt's samplers, by name."""
    study = hpt.Study(problem.space, sampler=sampler, seed=seed)
    values, spent = [], 0.0
    for _ in range(trials):
        start = time.perf_counter()
        trial = study.ask()
        spent += time.perf_counter() - start
        value = problem.function(trial.params)
        values.append(value)
        start = time.perf_counter()
        study.tell(trial, value)
        spent += time.perf_counter() - start
    return values, spent


def run_optuna(make: Callable[[int], Any], problem: Problem, trials: int, seed: int) -> tuple[list[float], float]:
    """An Optuna sampler; conditions are met by not suggesting what is inactive, as its users do."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(sampler=make(seed))
    space = hpt.Space(problem.space)
    values, spent = [], 0.0
    for _ in range(trials):
        start = time.perf_counter()
        trial = study.ask()
        params: hpt.Params = {}
        for name in space.order:
            parameter = space[name]
            if all(params.get(parent) in allowed for parent, allowed in parameter.when.items()):
                params[name] = suggest(trial, name, parameter)
        spent += time.perf_counter() - start
        value = problem.function(params)
        values.append(value)
        start = time.perf_counter()
        study.tell(trial, value)
        spent += time.perf_counter() - start
    return values, spent


def suggest(trial: Any, name: str, parameter: Any) -> Any:
    """One parameter in Optuna's terms."""
    if isinstance(parameter, hpt.Float):
        return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, hpt.Int):
        return trial.suggest_int(name, parameter.low, parameter.high, log=parameter.log)
    return trial.suggest_categorical(name, list(parameter.choices))


def run_bayes_opt(problem: Problem, trials: int, seed: int) -> tuple[list[float], float]:
    """The package bayes_opt; numeric flat spaces only."""
    from bayes_opt import BayesianOptimization  # type: ignore[import-not-found,unused-ignore] # optional

    space = hpt.Space(problem.space)
    optimiser = BayesianOptimization(None, dict.fromkeys(space.columns, (0.0, 1.0)), random_state=seed, verbose=0)
    values, spent = [], 0.0
    for _ in range(trials):
        start = time.perf_counter()
        point = optimiser.suggest()
        spent += time.perf_counter() - start
        value = problem.function(space.from_unit([point[name] for name in space.columns]))
        values.append(value)
        start = time.perf_counter()
        optimiser.register(point, -value)
        spent += time.perf_counter() - start
    return values, spent


def optimisers() -> dict[str, Run]:
    """Every optimiser that can be run here, by name."""
    found: dict[str, Run] = {}
    known = hpt.Study({"x": [0, 1]}, sampler="random").plugins.names("sampler")
    for name in HPT:
        if name in known:
            found[name if name == "random" else f"hpt-{name}"] = partial(run_hpt, name)
    if importlib.util.find_spec("optuna"):
        found["optuna-tpe"] = partial(run_optuna, _tpe)
        if importlib.util.find_spec("torch"):
            found["optuna-gp"] = partial(run_optuna, _gp)
    if importlib.util.find_spec("bayes_opt"):
        found["bayes_opt"] = run_bayes_opt
    return found


def _tpe(seed: int) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def _gp(seed: int) -> Any:
    import optuna

    return optuna.samplers.GPSampler(seed=seed)
