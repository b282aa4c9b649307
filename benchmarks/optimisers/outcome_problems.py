"""Problems with several outcomes: several objectives, or one objective and constraints.

Formulas from the literature, one on a conditional space, and surrogates of real tuning runs, where the second
objective is the time or the size of a model. The surrogates are left out where `surrogates.py` leaves out its problems.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import numpy as np
import surrogates
from problems import branin, hartmann6

import hpt_core as hpt
from hpt_core import Categorical, Float, Int, Params

__all__ = ["OutcomeProblem", "constrained", "several_objectives"]

Array = np.ndarray[Any, Any]


@attrs.frozen
class OutcomeProblem:
    """One problem.

    Attributes:
        name: Its name.
        space: Parameters by name.
        function: Configuration -> objectives, then excesses over the constraints. Smaller is better; a constraint is
            met at 0 and below.
        objectives: Number of objectives.
        constraints: Number of constraints.
    """

    name: str
    space: dict[str, Any]
    function: Callable[[Params], tuple[float, ...]]
    objectives: int
    constraints: int = 0


def _cube(count: int) -> dict[str, Any]:
    return {f"x{i}": Float(0.0, 1.0) for i in range(count)}


def _on_cube(function: Callable[[Array], tuple[float, ...]]) -> Callable[[Params], tuple[float, ...]]:
    return lambda params: function(np.array(list(params.values())))


# --- several objectives ----------------------------------------------------------------------------------


def several_objectives() -> Iterator[OutcomeProblem]:
    """Problems with two or three objectives."""
    yield OutcomeProblem("branin-currin", _cube(2), _on_cube(_branin_currin), 2)
    for kind in (1, 2, 3):
        yield OutcomeProblem(f"zdt{kind}", _cube(6), _on_cube(partial(_zdt, kind=kind)), 2)
    yield OutcomeProblem("dtlz2", _cube(5), _on_cube(partial(_dtlz2, objectives=2)), 2)
    yield OutcomeProblem("kursawe", _cube(3), _on_cube(_kursawe), 2)
    yield OutcomeProblem("model-choice", MODELS, _error_and_cost, 2)
    for instance in ("3945", "126026", "167152", "168910"):
        yield from _surrogate("lcbench", instance, ("-val_accuracy", "time"))
    for instance in ("1040", "40979"):
        yield from _surrogate("rpart", instance, ("-acc", "timetrain"))
    yield OutcomeProblem("dtlz2-3", _cube(6), _on_cube(partial(_dtlz2, objectives=3)), 3)
    yield OutcomeProblem("vehicle-safety", _cube(5), _on_cube(_vehicle_safety), 3)
    yield from _surrogate("lcbench", "168908", ("-val_balanced_accuracy", "time", "val_cross_entropy"))


def _zdt(x: Array, kind: int) -> tuple[float, ...]:
    """Zitzler, Deb & Thiele, Evolutionary Computation 2000, T1 to T3."""
    first, rest = float(x[0]), float(1 + 9 * x[1:].mean())
    ratio = first / rest
    shapes = {
        1: 1 - math.sqrt(ratio),
        2: 1 - ratio**2,
        3: 1 - math.sqrt(ratio) - ratio * math.sin(10 * math.pi * first),
    }
    return first, rest * shapes[kind]


def _dtlz2(x: Array, objectives: int) -> tuple[float, ...]:
    """Deb et al., Scalable multi-objective optimization test problems, CEC 2002."""
    angles, rest = x[: objectives - 1] * math.pi / 2, x[objectives - 1 :]
    radius = 1 + float(((rest - 0.5) ** 2).sum())
    values = []
    for i in range(objectives):
        value = radius * float(np.cos(angles[: objectives - 1 - i]).prod())
        values.append(value * math.sin(angles[objectives - 1 - i]) if i else value)
    return tuple(values)


def _branin_currin(x: Array) -> tuple[float, ...]:
    """Belakaria, Deshwal & Doppa, NeurIPS 2019."""
    a, b = float(x[0]), float(x[1])
    damped = 1 - math.exp(-1 / (2 * b)) if b > 0 else 1.0
    currin = damped * (2300 * a**3 + 1900 * a**2 + 2092 * a + 60) / (100 * a**3 + 500 * a**2 + 4 * a + 20)
    return branin(15 * a - 5, 15 * b), currin


def _kursawe(x: Array) -> tuple[float, ...]:
    """Kursawe, PPSN 1990."""
    x = 10 * x - 5
    first = sum(-10 * math.exp(-0.2 * math.hypot(x[i], x[i + 1])) for i in range(2))
    return float(first), float((np.abs(x) ** 0.8 + 5 * np.sin(x**3)).sum())


def _vehicle_safety(x: Array) -> tuple[float, ...]:
    """Mass, acceleration and intrusion in a crash: Tanabe & Ishibuchi, Applied Soft Computing 2020, RE3-5-4."""
    a, b, c, d, e = 1 + 2 * x
    mass = 1640.2823 + 2.3573285 * a + 2.3220035 * b + 4.5688768 * c + 7.7213633 * d + 4.4559504 * e
    acceleration = (6.5856 + 1.15 * a - 1.0427 * b + 0.9738 * c + 0.8364 * d - 0.3695 * a * d + 0.0861 * a * e) + (
        0.3628 * b * d - 0.1106 * a**2 - 0.3437 * c**2 + 0.1764 * d**2
    )
    intrusion = (-0.0551 + 0.0181 * a + 0.1024 * b + 0.0421 * c - 0.0073 * a * b + 0.024 * b * c) + (
        -0.0118 * b * d - 0.0204 * c * d - 0.008 * c * e - 0.0241 * b**2 + 0.0109 * d**2
    )
    return float(mass), float(acceleration), float(intrusion)


MODELS = {
    "model": Categorical("linear", "trees", "net"),
    "C": Float(1e-3, 1e3, log=True, when={"model": "linear"}),
    "n": Int(5, 500, log=True, when={"model": "trees"}),
    "depth": Int(2, 14, when={"model": "trees"}),
    "eta": Float(1e-3, 1, log=True, when={"model": "trees"}),
    "lr": Float(1e-5, 1e-1, log=True, when={"model": "net"}),
    "units": Int(8, 512, log=True, when={"model": "net"}),
    "layers": Int(1, 6, when={"model": "net"}),
}


def _error_and_cost(params: Params) -> tuple[float, ...]:
    """A formula for the error of three kinds of model and for the logarithm of their cost."""
    if params["model"] == "net":
        error = 0.08 + 0.02 * (math.log10(params["lr"]) + 2.7) ** 2 + 0.35 / math.sqrt(params["units"])
        return error + 0.01 * (params["layers"] - 3) ** 2, math.log(params["layers"] * params["units"] ** 1.3 / 200)
    if params["model"] == "trees":
        error = 0.10 + 0.3 / params["n"] ** 0.7 + 0.004 * (params["depth"] - 7) ** 2
        return error + 0.1 * (math.log10(params["eta"]) + 1) ** 2, math.log(0.01 * params["n"] * params["depth"] ** 0.5)
    return 0.22 + 0.02 * (math.log10(params["C"]) - 0.5) ** 2, math.log(0.05 + 0.02 * params["C"] ** 0.3)


def _surrogate(scenario: str, instance: str, targets: tuple[str, ...]) -> Iterator[OutcomeProblem]:
    for space, function in surrogates.outcomes(scenario, instance, targets):
        yield OutcomeProblem(f"{scenario}-{instance}", space, function, len(targets))


# --- constraints -----------------------------------------------------------------------------------------


def constrained() -> Iterator[OutcomeProblem]:
    """Problems with one objective and one to five constraints."""
    yield OutcomeProblem("gardner-1", _cube(2), _on_cube(_gardner_1), 1, 1)
    yield OutcomeProblem("gardner-2", _cube(2), _on_cube(_gardner_2), 1, 1)
    yield OutcomeProblem("gramacy", _cube(2), _on_cube(_gramacy), 1, 2)
    yield OutcomeProblem("hartmann6-norm", _cube(6), _on_cube(lambda x: (hartmann6(x), float(x.sum() - 1.5))), 1, 1)
    yield OutcomeProblem("pressure-vessel", VESSEL, _pressure_vessel, 1, 3)
    yield OutcomeProblem("welded-beam", BEAM, _welded_beam, 1, 5)
    yield OutcomeProblem("model-choice", MODELS, _error_at_low_cost, 1, 1)
    for instance in ("3945", "126026", "167152"):
        for space, function in surrogates.outcomes("lcbench", instance, ("-val_accuracy", "time")):
            yield OutcomeProblem(f"lcbench-{instance}", space, _in_time(space, function), 1, 1)


def _gardner_1(x: Array) -> tuple[float, ...]:
    """Gardner et al., Bayesian Optimization with Inequality Constraints, ICML 2014, simulation 1."""
    a, b = 6 * x
    return math.cos(2 * a) * math.cos(b) + math.sin(a), math.cos(a) * math.cos(b) - math.sin(a) * math.sin(b) - 0.5


def _gardner_2(x: Array) -> tuple[float, ...]:
    """The same, simulation 2: a small feasible region."""
    a, b = 6 * x
    return math.sin(a) + float(b), math.sin(a) * math.sin(b) + 0.95


def _gramacy(x: Array) -> tuple[float, ...]:
    """Gramacy et al., Technometrics 2016."""
    a, b = map(float, x)
    wave = 0.5 * math.sin(2 * math.pi * (a**2 - 2 * b))
    return a + b, 1.5 - a - 2 * b - wave, a**2 + b**2 - 1.5


VESSEL = {"shell": Int(1, 99), "head": Int(1, 99), "radius": Float(10, 200), "length": Float(10, 200)}


def _pressure_vessel(params: Params) -> tuple[float, ...]:
    """Cost of a vessel of given volume: Coello Coello & Mezura Montes, Advanced Engineering Informatics 2002."""
    shell, head, r, length = params["shell"] / 16, params["head"] / 16, params["radius"], params["length"]
    cost = 0.6224 * shell * r * length + 1.7781 * head * r**2 + 3.1661 * shell**2 * length + 19.84 * shell**2 * r
    missing = 1_296_000 - math.pi * r**2 * length - 4 / 3 * math.pi * r**3
    return cost, 0.0193 * r - shell, 0.00954 * r - head, missing / 1e5


BEAM = {"h": Float(0.125, 10), "l": Float(0.1, 15), "t": Float(0.1, 10), "b": Float(0.1, 10)}


def _welded_beam(params: Params) -> tuple[float, ...]:
    """Cost of a beam that does not break: the same source."""
    h, weld, t, b = (params[name] for name in "hltb")
    load, arm, elastic, shear = 6000.0, 14.0, 30e6, 12e6
    radius = math.sqrt(weld**2 / 4 + ((h + t) / 2) ** 2)
    inertia = 2 * math.sqrt(2) * h * weld * (weld**2 / 12 + ((h + t) / 2) ** 2)
    primary, torsion = load / (math.sqrt(2) * h * weld), load * (arm + weld / 2) * radius / inertia
    stress = math.sqrt(primary**2 + primary * torsion * weld / radius + torsion**2)
    slender = 1 - t / (2 * arm) * math.sqrt(elastic / (4 * shear))
    buckling = 4.013 * elastic * math.sqrt(t**2 * b**6 / 36) / arm**2 * slender
    return (
        1.10471 * h**2 * weld + 0.04811 * t * b * (14 + weld),
        (stress - 13_600) / 1e4,
        (6 * load * arm / (b * t**2) - 30_000) / 1e4,
        h - b,
        4 * load * arm**3 / (elastic * t**3 * b) - 0.25,
        (load - buckling) / 1e4,
    )


def _error_at_low_cost(params: Params) -> tuple[float, ...]:
    error, cost = _error_and_cost(params)
    return error, cost - 1.0


def _in_time(
    space: dict[str, Any], function: Callable[[Params], tuple[float, ...]]
) -> Callable[[Params], tuple[float, ...]]:
    """Limit the second outcome to what 15 % of 400 random points keep."""
    rng = np.random.default_rng(0)
    drawn = [function(hpt.Space(space).sample(rng))[1] for _ in range(400)]
    limit = float(np.quantile(drawn, 0.15))

    def value(params: Params) -> tuple[float, ...]:
        loss, seconds = function(params)
        return loss, seconds - limit

    return value
