"""Optimisers for problems with several outcomes: each runs a whole search with its defaults.

All begin with the space's default point. The peers are optional and imported lazily.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import adapters
import attrs
from outcome_problems import OutcomeProblem

import hpt_core as hpt

__all__ = ["Entry", "Values", "optimisers"]

Values = list[tuple[float, ...]]
"""The outcomes of each trial: objectives, then excesses over the constraints."""


@attrs.frozen
class Entry:
    """An optimiser.

    Attributes:
        run: (problem, seed, trials) -> the outcomes of the trials in order.
        version: The version of its package.
        kinds: Which problems it supports: ``objectives``, ``constraints``.
    """

    run: Callable[[OutcomeProblem, int, int], Values]
    version: str
    kinds: tuple[str, ...] = ("objectives", "constraints")


def _names(problem: OutcomeProblem) -> tuple[list[str], list[str]]:
    return [f"f{i}" for i in range(problem.objectives)], [f"c{i}" for i in range(problem.constraints)]


def run_hpt(sampler: str, problem: OutcomeProblem, seed: int, trials: int) -> Values:
    """Run one of hpt's samplers."""
    (objectives, constraints), found = _names(problem), []

    def function(params: hpt.Params) -> dict[str, float]:
        found.append(problem.function(params))
        return dict(zip([*objectives, *constraints], found[-1], strict=True))

    study = hpt.Study(
        problem.space,
        objective=dict.fromkeys(objectives, "minimize"),
        constraints=dict.fromkeys(constraints, "<= 0"),
        sampler=sampler,
        seed=seed,
    )
    study.run(function, trials=trials)
    return found


def run_optuna(sampler: str, problem: OutcomeProblem, seed: int, trials: int) -> Values:
    """Run one of Optuna's samplers."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    space, found = hpt.Space(problem.space), []
    study = optuna.create_study(
        directions=["minimize"] * problem.objectives, sampler=getattr(optuna.samplers, sampler)(seed=seed)
    )
    study.enqueue_trial(space.default())

    def objective(trial: Any) -> tuple[float, ...]:
        found.append(problem.function(adapters.suggest(trial, space)))
        for name, excess in zip(_names(problem)[1], found[-1][problem.objectives :], strict=True):
            trial.set_constraint(name, excess)
        return found[-1][: problem.objectives]

    study.optimize(objective, n_trials=trials)
    return found


def run_ax(problem: OutcomeProblem, seed: int, trials: int) -> Values:
    """Run Ax with its default generation strategy; it gets the flat space."""
    from ax.api.client import Client  # type: ignore[import-not-found,unused-ignore] # optional

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    space, (objectives, constraints), found = hpt.Space(problem.space), _names(problem), []
    client = Client(random_seed=seed)
    client.configure_experiment([adapters.ax_parameter(name, p) for name, p in space.parameters.items()])
    client.configure_optimization(
        ", ".join(f"-{name}" for name in objectives), outcome_constraints=[f"{name} <= 0" for name in constraints]
    )
    for number in range(trials):
        if number:
            ((index, params),) = client.get_next_trials(1).items()
        else:
            params = {name: parameter.start() for name, parameter in space.parameters.items()}
            index = client.attach_trial(params)
        found.append(problem.function({name: params[name] for name in space.active(params)}))
        client.complete_trial(index, dict(zip([*objectives, *constraints], found[-1], strict=True)))
    return found


def optimisers() -> dict[str, Entry]:
    """Every installed optimiser, by name."""
    found = {"random": Entry(partial(run_hpt, "random"), version("hpt-core"))}
    for sampler in ("auto", "bayes", "forest", "tpe"):
        found[f"hpt-{sampler}"] = Entry(partial(run_hpt, sampler), version("hpt-core"))
    if importlib.util.find_spec("optuna"):
        release = version("optuna")
        found["optuna-tpe"] = Entry(partial(run_optuna, "TPESampler"), release)
        found["optuna-nsga2"] = Entry(partial(run_optuna, "NSGAIISampler"), release, ("objectives",))
        if importlib.util.find_spec("torch"):
            found["optuna-gp"] = Entry(partial(run_optuna, "GPSampler"), release)
    if importlib.util.find_spec("ax"):
        found["ax"] = Entry(run_ax, version("ax-platform"))
    return found
