"""Who is compared: hpt's samplers and the peers that are installed here; and how each of them is driven.

Everyone is asked and told in the same loop, and the CPU time of that is taken. A peer that knows no conditions gets the
flat space: it proposes all parameters, and the inactive ones are not looked at, as its users would do.
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
    """What the loop needs of an optimiser; a token is whatever it wants to get back with the value."""

    def ask(self) -> tuple[Any, hpt.Params]:
        """The next point: its token and its parameters, inactive ones included or not."""

    def given(self, params: hpt.Params) -> Any:
        """Take a point that the optimiser did not choose; its token. ``params`` has inactive ones, too."""

    def tell(self, token: Any, value: float) -> None:
        """The value of a point, smaller is better."""


@attrs.frozen
class Entry:
    """An optimiser that can be run.

    Attributes:
        make: (space, seed, trials) -> a new optimiser.
        version: The version of its package.
        parallel: Whether several points may be asked for before the first of them is told.
    """

    make: Callable[[hpt.Space, int, int], Optimiser]
    version: str
    parallel: bool = False


class HptOptimiser:
    """One of hpt's samplers, by name."""

    def __init__(self, sampler: str, space: hpt.Space, seed: int, trials: int) -> None:  # noqa: ARG002 - as all
        self._study = hpt.Study(space, sampler=sampler, seed=seed)

    def ask(self) -> tuple[Any, hpt.Params]:
        """See `Optimiser`."""
        trial = self._study.ask()
        return trial, trial.params

    def given(self, params: hpt.Params) -> Any:
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
        entry: Who.
        problem: On what.
        trials: How many points are evaluated.
        seed: Of the optimiser, and of the durations where there are several workers.
        first: ``default``: the first point is the middle of the space, for everyone. ``none``: everyone begins as it
            likes; what an optimiser may take for the default, as hpt's samplers do, is a random point.
        workers: How many evaluations run at the same time; their durations are simulated, log-normal with sigma 0.5.

    Returns:
        The values in the order in which they became known, and the CPU seconds that the optimiser itself took.
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
            token, params = clock(optimiser.given, middle), middle
        else:
            token, params = clock(optimiser.ask)
        params = space.validate({name: params[name] for name in space.active(params)})
        heapq.heappush(running, (now + rng.lognormal(0.0, 0.5), number, token, problem.function(params)))
    values += [value for _, _, _, value in sorted(running, key=lambda item: item[:2])]
    return values, clock.spent


class _Clock:
    """Calls, and adds up the CPU seconds of this process that they take."""

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
"""Name -> the distribution, the modules that must be there, its maker in adapters.py, whether it runs in parallel."""


def optimisers() -> dict[str, Entry]:
    """Every optimiser that can be run here, by name."""
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
