"""What the optimisers are compared on: problems by family, each to be minimised.

A problem says its space in hpt's terms and, where it is known, its optimum. None of them was used to choose a default
of any sampler of ours; `python benchmarks/optimisers/run.py --list` names them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from hpt_core import Categorical, Float, Int, Params

__all__ = ["FAMILIES", "Problem", "problems"]

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "yahpo"


@attrs.frozen
class Problem:
    """One problem.

    Attributes:
        family: Which family it belongs to.
        name: Its name.
        space: Parameters by name.
        function: Configuration -> value, smaller is better.
        optimum: The lowest value there is, None where nobody knows.
    """

    family: str
    name: str
    space: dict[str, Any]
    function: Callable[[Params], float]
    optimum: float | None = None


# --- analytic functions --------------------------------------------------------------------------------


def branin(params: Params) -> float:
    """Branin on its usual domain; minimum 0.397887."""
    x, y = params["x"], params["y"]
    a = y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6
    return float(a**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


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


def hartmann6(params: Params) -> float:
    """Hartmann in six dimensions; minimum -3.32237."""
    x = np.array([params[f"x{i}"] for i in range(6)])
    return float(-np.array([1, 1.2, 3, 3.2]) @ np.exp(-np.sum(_H6_A * (x - _H6_P) ** 2, axis=1)))


def ackley(x: np.ndarray[Any, Any]) -> float:
    """Ackley's function; minimum 0 at the origin."""
    root = -20 * math.exp(-0.2 * math.sqrt(float(np.mean(x**2))))
    return float(root - math.exp(float(np.mean(np.cos(2 * math.pi * x)))) + 20 + math.e)


def _rosenbrock(params: Params) -> float:
    x = np.array([params[f"x{i}"] for i in range(4)])
    return math.log1p(float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)))


def _ackley8(params: Params) -> float:
    return ackley(np.array([params[f"x{i}"] - 1.7 for i in range(8)]))


def _mixed_ackley(params: Params) -> float:
    levels = {"left": -1.0, "middle": 0.0, "right": 1.0, "far": 2.0}
    numbers = [params["x"], params["y"], params["k"] / 3 - 1, levels[params["c"]], levels[params["d"]]]
    return ackley(np.array(numbers))


def _branches(params: Params) -> float:
    """Four models, each with settings of its own; the best is the third."""
    model = params["model"]
    if model == "linear":
        return 0.5 + abs(math.log10(params["l2"]) + 2) / 10
    if model == "tree":
        return float(0.4 + (params["depth"] - 7) ** 2 / 100 + abs(params["leaf"] - 0.1))
    if model == "net":
        off = (math.log10(params["lr"]) + 2.5) ** 2 / 5 + (math.log2(params["units"]) - 6) ** 2 / 30
        return float(0.1 + off)
    return 0.3 + abs(math.log10(params["width"])) / 3


def _noisy_quadratic(params: Params) -> float:
    # The noise is a function of the point, so that every optimiser meets the same problem.
    x = np.array([params[f"x{i}"] for i in range(5)])
    digest = hashlib.blake2b(x.tobytes(), digest_size=8).digest()
    noise = np.random.default_rng(int.from_bytes(digest)).normal()
    return float(np.sum((x - 0.3) ** 2) + 0.02 * noise)


def _analytic() -> Iterator[Problem]:
    def box(count: int, low: float, high: float) -> dict[str, Any]:
        return {f"x{i}": Float(low, high) for i in range(count)}

    yield Problem("analytic", "branin", {"x": Float(-5.0, 10.0), "y": Float(0.0, 15.0)}, branin, 0.397887)
    yield Problem("analytic", "hartmann6", box(6, 0.0, 1.0), hartmann6, -3.32237)
    yield Problem("analytic", "ackley8", box(8, -10.0, 14.0), _ackley8, 0.0)
    yield Problem("analytic", "rosenbrock4", box(4, -3.0, 4.0), _rosenbrock, 0.0)
    yield Problem("analytic", "noisy-quadratic", box(5, -1.0, 1.0), _noisy_quadratic)


def _mixed() -> Iterator[Problem]:
    choices = ("left", "middle", "right", "far")
    space = {
        "x": Float(-3.0, 5.0),
        "y": Float(-3.0, 5.0),
        "k": Int(0, 12),
        "c": Categorical(*choices),
        "d": Categorical(*choices),
    }
    yield Problem("mixed", "mixed-ackley", space, _mixed_ackley, 0.0)
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


# --- real models on scikit-learn's data ----------------------------------------------------------------


@cache
def _dataset(name: str) -> tuple[Any, Any]:
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    keep = np.random.default_rng(0).permutation(len(X))[:500]
    return X[keep], y[keep]


def _error(make: Callable[[Params], Any], data: str, params: Params) -> float:
    from sklearn.model_selection import cross_val_score

    X, y = _dataset(data)
    return float(1 - cross_val_score(make(params), X, y, cv=3).mean())


def _svc(params: Params) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return make_pipeline(StandardScaler(), SVC(C=params["C"], gamma=params["gamma"], kernel=params["kernel"]))


def _forest(params: Params) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(
        n_estimators=20,
        max_depth=params["depth"],
        max_features=params["features"],
        min_samples_leaf=params["leaf"],
        criterion=params["criterion"],
        random_state=0,
    )


def _either(params: Params) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    if params["model"] == "knn":
        return KNeighborsClassifier(params["k"], weights=params["weights"], p=params["p"])
    if params["model"] == "tree":
        return DecisionTreeClassifier(max_depth=params["depth"], ccp_alpha=params["alpha"], random_state=0)
    return LogisticRegression(C=params["C"], max_iter=100)


def _models() -> Iterator[Problem]:
    svc = {
        "C": Float(1e-3, 1e4, log=True),
        "gamma": Float(1e-6, 1e1, log=True),
        "kernel": Categorical("rbf", "sigmoid", "poly"),
    }
    forest = {
        "depth": Int(1, 20),
        "features": Float(0.05, 1.0),
        "leaf": Int(1, 40, log=True),
        "criterion": Categorical("gini", "entropy"),
    }
    either = {
        "model": Categorical("knn", "tree", "logistic"),
        "k": Int(1, 40, log=True, when={"model": "knn"}),
        "weights": Categorical("uniform", "distance", when={"model": "knn"}),
        "p": Float(1.0, 4.0, when={"model": "knn"}),
        "depth": Int(1, 25, when={"model": "tree"}),
        "alpha": Float(1e-5, 1e-1, log=True, when={"model": "tree"}),
        "C": Float(1e-4, 1e3, log=True, when={"model": "logistic"}),
    }
    for data in ("digits", "breast_cancer"):
        for name, space, make in (("svc", svc, _svc), ("forest", forest, _forest), ("either", either, _either)):
            yield Problem("models", f"{name}-{data}", space, partial(_error, make, data))


# --- bbob ------------------------------------------------------------------------------------------------


def _bbob() -> Iterator[Problem]:
    """Functions of the COCO suite in five dimensions (package ``coco-experiment``); none where it is not installed."""
    try:
        import cocoex  # type: ignore[import-untyped,import-not-found,unused-ignore] # optional
    except ImportError:
        return
    suite = cocoex.Suite("bbob", "", "dimensions: 5 instance_indices: 3")
    for number in (3, 6, 8, 12, 15, 17, 20, 22):
        function = suite.get_problem(f"bbob_f{number:03d}_i03_d05")
        space = {f"x{i}": Float(-5.0, 5.0) for i in range(5)}

        def value(params: Params, function: Any = function) -> float:
            return float(function([params[f"x{i}"] for i in range(5)]))

        yield Problem("bbob", f"f{number}", space, value)


# --- surrogates of real tuning runs ---------------------------------------------------------------------

_LCBENCH = ("3945", "7593", "34539", "126025", "126029", "146212", "167104", "168331")


class _LCBench:
    """YAHPO Gym's surrogate of LCBench: validation accuracy of a network after 52 epochs."""

    def __init__(self, instance: str) -> None:
        self._instance = instance

    def __call__(self, params: Params) -> float:
        session, encoding, names = _surrogate("lcbench")
        row = {**params, "OpenML_task_id": self._instance, "epoch": 52}
        codes = [[encoding["OpenML_task_id"][self._instance]]]
        numbers = [[float(row[name]) for name in names]]
        outputs = session.run(None, {"x_cat": np.array(codes, np.int32), "x_cont": np.array(numbers, np.float32)})
        return -float(outputs[0][0][1]) / 100


@cache
def _surrogate(name: str) -> tuple[Any, dict[str, Any], list[str]]:
    import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore] # optional

    folder = _DATA / name
    encoding = json.loads((folder / "encoding.json").read_text())
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    declared = json.loads((folder / "config_space.json").read_text())["hyperparameters"]
    numeric = sorted(item["name"] for item in declared if item["name"] not in encoding)
    return session, encoding, numeric


def _surrogates() -> Iterator[Problem]:
    """Eight data sets of LCBench; none where the data or onnxruntime is missing."""
    try:
        import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: F401 - is it there?
    except ImportError:
        return
    if not (_DATA / "lcbench" / "model.onnx").exists():
        return
    space = {
        "batch_size": Int(16, 512, log=True),
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "momentum": Float(0.1, 0.99),
        "weight_decay": Float(1e-5, 1e-1),
        "num_layers": Int(1, 5),
        "max_units": Int(64, 1024, log=True),
        "max_dropout": Float(0.0, 1.0),
    }
    for instance in _LCBENCH:
        yield Problem("surrogates", f"lcbench-{instance}", space, _LCBench(instance))


FAMILIES = {"analytic": _analytic, "mixed": _mixed, "models": _models, "bbob": _bbob, "surrogates": _surrogates}


def problems(families: list[str]) -> list[Problem]:
    """The problems of the named families, in order; a family whose package or data is missing has none."""
    return [problem for family in families for problem in FAMILIES[family]()]
