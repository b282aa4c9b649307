"""Surrogates of real tuning runs: the models of YAHPO Gym (Pfisterer et al. 2022).

Their files are not part of this repository. The folder ``shared/data/yahpo/`` next to it holds ``lcbench/`` and
``rbv2_rpart/`` as distributed by YAHPO Gym, each with ``model.onnx`` and ``encoding.json``. Missing ones are left out.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from problems import Problem, left_out

from hpt_core import Categorical, Float, Int, Params

__all__ = ["lcbench", "outcomes", "rpart"]

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "yahpo"


@attrs.frozen
class _Scenario:
    """The inputs and targets of a surrogate in YAHPO Gym's order, and the index of the target that is tuned."""

    name: str
    categorical: tuple[str, ...]
    continuous: tuple[str, ...]
    fixed: dict[str, Any]
    targets: tuple[str, ...]
    target: int
    space: dict[str, Any]


_LCBENCH = _Scenario(
    "lcbench",
    ("OpenML_task_id",),
    (
        *("epoch", "batch_size", "learning_rate", "momentum"),
        *("weight_decay", "num_layers", "max_units", "max_dropout"),
    ),
    {"epoch": 52},
    (
        *("time", "val_accuracy", "val_cross_entropy", "val_balanced_accuracy"),
        *("test_cross_entropy", "test_balanced_accuracy"),
    ),
    1,  # val_accuracy, in percent
    {
        "batch_size": Int(16, 512, log=True),
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "momentum": Float(0.1, 0.99),
        "weight_decay": Float(1e-5, 1e-1),
        "num_layers": Int(1, 5),
        "max_units": Int(64, 1024, log=True),
        "max_dropout": Float(0.0, 1.0),
    },
)
_RPART = _Scenario(
    "rbv2_rpart",
    ("task_id", "num.impute.selected.cpo"),
    ("cp", "maxdepth", "minbucket", "minsplit", "trainsize", "repl"),
    {"trainsize": 1.0, "repl": 10},
    ("acc", "bac", "auc", "brier", "f1", "logloss", "timetrain", "timepredict", "memory"),
    0,  # acc
    {
        "cp": Float(0.0009118819655545162, 1.0, log=True),
        "maxdepth": Int(1, 30),
        "minbucket": Int(1, 100),
        "minsplit": Int(1, 100),
        "num.impute.selected.cpo": Categorical("impute.mean", "impute.median", "impute.hist"),
    },
)


@cache
def _model(name: str) -> tuple[Any, dict[str, dict[str, int]]]:
    import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore] # optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    folder = _DATA / name
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    return session, json.loads((folder / "encoding.json").read_text())


def _predict(scenario: _Scenario, instance: str, params: Params) -> Any:
    """All targets of one instance."""
    session, encoding = _model(scenario.name)
    row = {**params, **scenario.fixed, scenario.categorical[0]: instance}
    codes = [[encoding[name][row[name]] for name in scenario.categorical]]
    numbers = [[row[name] for name in scenario.continuous]]
    return session.run(None, {"x_cat": np.array(codes, np.int32), "x_cont": np.array(numbers, np.float32)})[0][0]


@attrs.frozen
class _Surrogate:
    """The negated target of one instance."""

    scenario: _Scenario
    instance: str

    def __call__(self, params: Params) -> float:
        return -float(_predict(self.scenario, self.instance, params)[self.scenario.target])


def outcomes(
    name: str, instance: str, targets: tuple[str, ...]
) -> Iterator[tuple[dict[str, Any], Callable[[Params], tuple[float, ...]]]]:
    """The space of ``lcbench`` or ``rpart``, and a function with several targets, those with a minus negated.

    Nothing if the surrogates are missing.
    """
    scenario = {"lcbench": _LCBENCH, "rpart": _RPART}[name]
    if not _there(scenario):
        return
    wanted = [(-1 if t[0] == "-" else 1, scenario.targets.index(t.removeprefix("-"))) for t in targets]

    def function(params: Params) -> tuple[float, ...]:
        found = _predict(scenario, instance, params)
        return tuple(sign * float(found[index]) for sign, index in wanted)

    yield scenario.space, function


def _there(scenario: _Scenario) -> bool:
    missing = ""
    if not importlib.util.find_spec("onnxruntime"):
        missing = "onnxruntime is not installed"
    elif not (_DATA / scenario.name / "model.onnx").exists():
        missing = f"shared/data/yahpo/{scenario.name}/model.onnx is missing"
    if missing:
        left_out(scenario.name, missing)
    return not missing


def lcbench() -> Iterator[Problem]:
    """A network on tabular data, 52 epochs: validation accuracy (Zimmer et al. 2021)."""
    if _there(_LCBENCH):
        for instance in ("3945", "7593", "34539", "126025", "126029", "146212", "167104", "168331"):
            yield Problem("lcbench", f"lcbench-{instance}", _LCBENCH.space, _Surrogate(_LCBENCH, instance))


def rpart() -> Iterator[Problem]:
    """A decision tree of R's rpart: accuracy (Binder et al. 2020)."""
    if _there(_RPART):
        for instance in ("41163", "40981", "1063", "1468"):
            yield Problem("rpart", f"rpart-{instance}", _RPART.space, _Surrogate(_RPART, instance))
