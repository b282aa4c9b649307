"""The optimisers that are compared (hpt's samplers and the installed peers), and the loop that drives them.

All optimisers run in the same ask-and-tell loop, and the CPU time of their calls is measured. A peer that does not
support conditions gets the flat space: it proposes all parameters, and the inactive ones are ignored.
"""

from __future__ import annotations

import heapq
import importlib.util
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

import adapters
import attrs
import numpy as np

import hpt_core as hpt

if TYPE_CHECKING:
    from problems import Problem

__all__ = ["Entry", "Optimiser", "drive", "optimisers"]


class Optimiser(Protocol):
    """The interface of an optimiser; a token is any object that it wants returned with the value."""

    def ask(self) -> tuple[Any, hpt.Params]:
        """The next point: its token and its parameters, with or without inactive ones."""

    def add_point(self, params: hpt.Params) -> Any:
        """Add a point that the optimiser did not choose, and return its token. ``params`` includes inactive ones."""

    def tell(self, token: Any, value: float) -> None:
        """Record the value of a point, smaller is better."""


@attrs.frozen
class Entry:
    """An optimiser that can be run.

    Attributes:
        make: (space, seed, trials) -> a new optimiser.
        version: The version of its package.
        parallel: Whether several points may be pending at the same time.
    """

    make: Callable[[hpt.Space, int, int], Optimiser]
    version: str
    parallel: bool = False


class HptOptimiser:
    """One of hpt's samplers, by name."""

    def __init__(self, sampler: str, space: hpt.Space, seed: int, trials: int) -> None:  # noqa: ARG002 - common signature
        self._study = hpt.Study(space, sampler=sampler, seed=seed)

    def ask(self) -> tuple[Any, hpt.Params]:
        """See `Optimiser`."""
        trial = self._study.ask()
        return trial, trial.params

    def add_point(self, params: hpt.Params) -> Any:
        """See `Optimiser`."""
        self._study.enqueue({name: params[name] for name in self._study.space.active(params)})
        return self._study.ask()

    def tell(self, token: Any, value: float) -> None:
        """See `Optimiser`."""
        self._study.tell(token, value)


def drive(
    entry: Entry, problem: Problem, *, trials: int, seed: int, first: str = "default", workers: int = 1
) -> tuple[list[float], float]:
    """Run one optimiser on one problem.

    Args:
        entry: The optimiser.
        problem: The problem.
        trials: Number of points to evaluate.
        seed: Seed of the optimiser and, with several workers, of the durations.
        first: ``default``: the first point of every optimiser is the middle of the space. ``none``: every optimiser
            chooses its first point; the declared defaults, which hpt's samplers begin with, are random points.
        workers: Number of simultaneous evaluations; their durations are simulated, log-normal with sigma 0.5.

    Returns:
        The values in the order in which they became known, and the CPU seconds of the optimiser itself.
    """
    rng = np.random.default_rng(seed)
    space = hpt.Space(problem.space)
    middle = {name: parameter.start() for name, parameter in space.parameters.items()}
    if first == "none":
        space = _with_random_defaults(space, rng)
    clock = _Clock()
    optimiser = clock(entry.make, space, seed, trials)
    running: list[tuple[float, int, Any, float]] = []
    values, now = [], 0.0
    for number in range(trials):
        if len(running) == workers:
            now, _, token, value = heapq.heappop(running)
            values.append(value)
            clock(optimiser.tell, token, value)
        if number == 0 and first == "default":
            token, params = clock(optimiser.add_point, middle), middle
        else:
            token, params = clock(optimiser.ask)
        params = space.validate({name: params[name] for name in space.active(params)})
        heapq.heappush(running, (now + rng.lognormal(0.0, 0.5), number, token, problem.function(params)))
    values += [value for _, _, _, value in sorted(running, key=lambda item: item[:2])]
    return values, clock.spent


class _Clock:
    """Calls functions and adds up their CPU seconds in this process."""

    spent = 0.0

    def __call__(self, call: Callable[..., Any], *args: Any) -> Any:
        start = time.process_time()
        try:
            return call(*args)
        finally:
            self.spent += time.process_time() - start


def _with_random_defaults(space: hpt.Space, rng: np.random.Generator) -> hpt.Space:
    declared = space.to_json()
    for name, parameter in space.parameters.items():
        declared[name]["default"] = parameter.from_unit(rng.random())
    return hpt.Space(declared)


HPT = ("auto", "bayes", "cmaes", "forest", "random", "tpe")
PEERS = {
    "optuna-tpe": ("optuna", ("optuna",), "optuna_tpe", True),
    "optuna-gp": ("optuna", ("optuna", "torch"), "optuna_gp", True),
    "bayes_opt": ("bayesian-optimization", ("bayes_opt",), "BayesOpt", False),
    "skopt": ("scikit-optimize", ("skopt",), "Skopt", False),
    "smac": ("smac", ("smac",), "Smac", False),
    "hebo": ("HEBO", ("hebo",), "Hebo", False),
    "ax": ("ax-platform", ("ax",), "Ax", False),
}
"""Name -> distribution, required modules, factory in adapters.py, whether it supports several workers."""


def optimisers() -> dict[str, Entry]:
    """Every installed optimiser, by name."""
    found: dict[str, Entry] = {}
    known = hpt.Study({"x": [0, 1]}, sampler="random").plugins.names("sampler")
    for name in HPT:
        if name in known:
            label = name if name == "random" else f"hpt-{name}"
            found[label] = Entry(partial(HptOptimiser, name), version("hpt-core"), parallel=True)
    for name, (distribution, modules, maker, parallel) in PEERS.items():
        if all(map(importlib.util.find_spec, modules)):
            found[name] = Entry(getattr(adapters, maker), version(distribution), parallel=parallel)
    return found
