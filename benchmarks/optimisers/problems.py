"""The class of all problems, and the problems given by formulas: analytic, mixed and conditional ones, COCO's bbob."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from hpt_core import Categorical, Float, Int, Params

__all__ = ["Problem", "analytic", "bbob", "left_out", "mixed"]


@attrs.frozen
class Problem:
    """One problem.

    Attributes:
        family: The family that it belongs to.
        name: Its name.
        space: Parameters by name.
        function: Configuration -> value, smaller is better.
        optimum: The lowest possible value, None if unknown.
    """

    family: str
    name: str
    space: dict[str, Any]
    function: Callable[[Params], float]
    optimum: float | None = None


def left_out(family: str, missing: str) -> None:
    """Say on stderr that a family is left out, and what is missing."""
    print(f"Left out: {family}, as {missing}.", file=sys.stderr)


# --- analytic functions --------------------------------------------------------------------------------


def branin(x: float, y: float) -> float:
    """Branin on its usual domain; minimum 0.397887."""
    a = y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6
    return a**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


_H6_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_H6_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(x: np.ndarray[Any, Any]) -> float:
    """Hartmann in six dimensions on the unit cube; minimum -3.32237."""
    return float(-np.array([1, 1.2, 3, 3.2]) @ np.exp(-np.sum(_H6_A * (x - _H6_P) ** 2, axis=1)))


def ackley(x: np.ndarray[Any, Any]) -> float:
    """Ackley's function; minimum 0 at the origin."""
    root = -20 * math.exp(-0.2 * math.sqrt(float(np.mean(x**2))))
    return float(root - math.exp(float(np.mean(np.cos(2 * math.pi * x)))) + 20 + math.e)


def _vector(params: Params, count: int) -> np.ndarray[Any, Any]:
    return np.array([params[f"x{i}"] for i in range(count)], dtype=float)


def _rosenbrock(params: Params) -> float:
    x = _vector(params, 4)
    return math.log1p(float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)))


def _noisy_quadratic(params: Params) -> float:
    # The noise is a function of the point, so that all optimisers have the same problem.
    x = _vector(params, 5)
    digest = hashlib.blake2b(x.tobytes(), digest_size=8).digest()
    noise = np.random.default_rng(int.from_bytes(digest)).normal()
    return float(np.sum((x - 0.3) ** 2) + 0.02 * noise)


def _box(count: int, low: float, high: float) -> dict[str, Any]:
    return {f"x{i}": Float(low, high) for i in range(count)}


def analytic() -> Iterator[Problem]:
    """Smooth and multimodal functions of floats."""
    plane = {"x": Float(-5.0, 10.0), "y": Float(0.0, 15.0)}
    yield Problem("analytic", "branin", plane, lambda params: branin(**params), 0.397887)
    yield Problem("analytic", "hartmann6", _box(6, 0.0, 1.0), lambda params: hartmann6(_vector(params, 6)), -3.32237)
    yield Problem("analytic", "ackley8", _box(8, -10.0, 14.0), lambda params: ackley(_vector(params, 8) + 3.1), 0.0)
    yield Problem("analytic", "rosenbrock4", _box(4, -3.0, 4.0), _rosenbrock, 0.0)
    yield Problem("analytic", "noisy-quadratic", _box(5, -1.0, 1.0), _noisy_quadratic)


# --- mixed and conditional variants --------------------------------------------------------------------


def _mixed_ackley(params: Params) -> float:
    levels = {"left": -1.0, "middle": 0.0, "right": 1.0, "far": 2.0}
    numbers = [params["x"], params["y"], params["k"] / 3 - 1, levels[params["c"]], levels[params["d"]]]
    return ackley(np.array(numbers))


def _mixed_hartmann6(params: Params) -> float:
    x = _vector(params, 4)
    level = {"a": 0.9, "b": 0.3, "c": 0.6, "d": 0.1}[params["level"]]
    return hartmann6(np.array([*x, params["k"] / 9, level]))


def _conditional_branin(params: Params) -> float:
    """Three branches: Branin shifted by 0.4, a parabola on a log scale, and a misleading line."""
    if params["form"] == "branin":
        return 0.4 + branin(params["x"], params["y"])
    if params["form"] == "parabola":
        return 0.3 + 4 * (math.log10(params["z"]) + 3.3) ** 2
    return float(2.0 + abs(params["t"] - 40) / 20)


def _branches(params: Params) -> float:
    """Four models, each with its own parameters; the third is the best."""
    model = params["model"]
    if model == "linear":
        return 0.5 + abs(math.log10(params["l2"]) + 2) / 10
    if model == "tree":
        return float(0.4 + (params["depth"] - 7) ** 2 / 100 + abs(params["leaf"] - 0.1))
    if model == "net":
        off = (math.log10(params["lr"]) + 2.5) ** 2 / 5 + (math.log2(params["units"]) - 6) ** 2 / 30
        return float(0.1 + off)
    return 0.3 + abs(math.log10(params["width"])) / 3


def mixed() -> Iterator[Problem]:
    """Variants of the functions with integers, categories and conditions."""
    choices = ("left", "middle", "right", "far")
    yield Problem(
        "mixed",
        "mixed-ackley",
        {
            "x": Float(-3.0, 5.0),
            "y": Float(-3.0, 5.0),
            "k": Int(0, 12),
            "c": Categorical(*choices),
            "d": Categorical(*choices),
        },
        _mixed_ackley,
        0.0,
    )
    hartmann = {**_box(4, 0.0, 1.0), "k": Int(0, 9), "level": Categorical("a", "b", "c", "d")}
    yield Problem("mixed", "mixed-hartmann6", hartmann, _mixed_hartmann6)
    forms = {
        "form": Categorical("line", "branin", "parabola"),
        "t": Int(0, 100, when={"form": "line"}),
        "x": Float(-5.0, 10.0, when={"form": "branin"}),
        "y": Float(0.0, 15.0, when={"form": "branin"}),
        "z": Float(1e-6, 1e2, log=True, when={"form": "parabola"}),
    }
    yield Problem("mixed", "conditional-branin", forms, _conditional_branin, 0.3)
    branches = {
        "model": Categorical("linear", "tree", "net", "kernel"),
        "l2": Float(1e-6, 1e2, log=True, when={"model": "linear"}),
        "depth": Int(1, 20, when={"model": "tree"}),
        "leaf": Float(0.0, 0.5, when={"model": "tree"}),
        "lr": Float(1e-5, 1.0, log=True, when={"model": "net"}),
        "units": Int(4, 512, log=True, when={"model": "net"}),
        "width": Float(1e-3, 1e3, log=True, when={"model": "kernel"}),
    }
    yield Problem("mixed", "branches", branches, _branches, 0.1)


# --- bbob ------------------------------------------------------------------------------------------------


def bbob() -> Iterator[Problem]:
    """Functions of the COCO suite in five dimensions; none if the package ``coco-experiment`` is not installed."""
    try:
        import cocoex  # type: ignore[import-untyped,import-not-found,unused-ignore] # optional
    except ImportError:
        left_out("bbob", "coco-experiment is not installed")
        return
    suite = cocoex.Suite("bbob", "", "dimensions: 5 instance_indices: 3")
    for number in (3, 6, 8, 12, 15, 17, 20, 22):
        function = suite.get_problem(f"bbob_f{number:03d}_i03_d05")

        def value(params: Params, function: Any = function) -> float:
            return float(function(_vector(params, 5)))

        yield Problem("bbob", f"bbob-f{number}", _box(5, -5.0, 5.0), value)
