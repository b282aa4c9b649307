"""Mistakes are found before the first trial and reported all at once, each with its path and a remedy."""

# ruff: noqa: E501 - a row per case reads best

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hpt_core import NothingSucceededError, Space, Study, UsageError
from hpt_core.study.sources import digests
from hpt_evaluator_torch import checks
from hpt_evaluator_torch.evaluator import TorchEvaluator


def data() -> Any:
    train = (torch.ones(4, 3), torch.ones(4).long())
    return {"train": train, "valid": train, "classes": 2}


def make_model(hidden: int, dropout: float = 0.0) -> Any:
    return torch.nn.Linear(3, hidden)


def make_from_data(classes: int) -> Any:
    return torch.nn.Linear(3, classes)


def make_from_params(params: Any) -> Any:
    return torch.nn.Linear(3, params["anything"])


def optimizer_of_model(model: Any, lr: float) -> Any:
    return torch.optim.SGD(model.parameters(), lr)


def scaled_ratio(outputs: Any, targets: Any, k: int = 1) -> float:
    return k * len(outputs) / len(targets)


class NeedsClasses:
    def __init__(self, classes: int) -> None:
        self.classes = classes


def make_with_kwargs(classes: int, **rest: Any) -> Any:
    return torch.nn.Linear(3, classes)


def mistakes(space: dict[str, Any], objectives: dict[str, str] | None = None, **options: Any) -> list[str]:
    try:
        evaluator = TorchEvaluator(**({"model": make_model, "data": data} | options))
        evaluator.check(Space(space), objectives or {"accuracy": "maximize"})
    except UsageError as err:
        return [str(mistake) for mistake in err.mistakes]
    return []


HIDDEN: dict[str, Any] = {"hidden": [2, 4]}
LR: dict[str, Any] = {"lr": {"low": 1e-4, "high": 1e-1, "log": True}}


@pytest.mark.parametrize(
    ("space", "options"),
    [
        (HIDDEN | LR, {}),
        (HIDDEN | LR | {"optimizer": ["adam", "sgd"], "momentum": {"low": 0.0, "high": 0.9, "when": {"optimizer": "sgd"}}}, {}),
        (HIDDEN | {"batch_size": [8, 16], "epochs": {"low": 1, "high": 10}, "clip_norm": [0.5, 1.0], "amp": [True, False]}, {}),
        (HIDDEN | {"clip_norm": [None, 1.0]}, {}),
        (HIDDEN | {"optimizer": ["adam", "sgd"], "epochs": {"low": 2, "high": 5, "when": {"optimizer": "sgd"}}}, {}),
        (HIDDEN, {"metrics": {"val_accuracy": "accuracy", "rmse": "val_rmse"}}),
        (HIDDEN | {"scheduler": ["none", "cosine"], "label_smoothing": [0.0, 0.1]}, {"loss": "cross_entropy"}),
        (HIDDEN | {"optimizer__eps": [1e-8, 1e-6], "scheduler__gamma": [0.5, 0.9]}, {"scheduler": "exponential"}),
        ({"model__hidden": [2, 3], "dropout": 0.5}, {}),
        (LR, {"model": make_from_data}),
        ({"anything": [1, 2]}, {"model": make_from_params}),
        ({"whatever": [1, 2]}, {"model": make_with_kwargs}),
        ({}, {"model": {"use": make_model, "hidden": 3}}),
        (HIDDEN | {"optimizer": ["adam", "adamw"]}, {"optimizer": {"use": "adam", "lr": 0.1}}),
    ],
)  # fmt: skip
def test_studies_without_mistakes_pass(space: dict[str, Any], options: dict[str, Any]) -> None:
    assert mistakes(space or {"hidden": 3}, **options) == []


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        (HIDDEN | {"hiden": 3}, {}, "space.hiden: No part of the training has this parameter. Did you mean 'hidden'?"),
        (LR, {}, "evaluator.model: make_model needs 'hidden', which is neither a parameter of the space nor an entry"),
        (HIDDEN | {"momentum": [0.5, 0.9]}, {}, "space.momentum: No part of the training has this parameter. The training has amp, "),
        (HIDDEN | {"gamma": [0.5, 0.9]}, {}, "space.gamma: No part of the training has"),
        (HIDDEN | {"scheduler__gamma": [0.5]}, {}, "space.scheduler__gamma: The training has no scheduler here."),
        (HIDDEN | {"optimizer__lrr": [0.5]}, {}, "space.optimizer__lrr: Adam has no argument 'lrr'. Did you mean 'lr'?"),
        (HIDDEN | {"model__width": [5]}, {}, "space.model__width: make_model has no parameter 'width'."),
        (HIDDEN, {"scheduler": "exponential"}, "evaluator.scheduler: ExponentialLR needs the argument 'gamma'"),
        (HIDDEN, {"optimizer": "adamm"}, "evaluator.optimizer: There is no 'adamm'. Did you mean 'adam'? Known: adadelta"),
        (HIDDEN, {"optimizer": {"use": "sgd", "momentun": 0.9}}, "evaluator.optimizer.momentun: SGD has no argument"),
        (HIDDEN | {"optimizer": ["adam", "sdg"]}, {}, "space.optimizer: There is no 'sdg'. Did you mean 'sgd'?"),
        (HIDDEN, {"loss": "torch.nn:MSELos"}, "evaluator.loss: Cannot import 'torch.nn:MSELos'"),
        (HIDDEN, {"model": "nowhere:make"}, "evaluator.model: Cannot import 'nowhere:make': there is no module 'nowhere'."),
        (HIDDEN, {"data": "nowhere:load"}, "evaluator.data: Cannot import 'nowhere:load'"),
        (HIDDEN, {"model": 3}, "evaluator.model: Must be a function, a class or its import path. Got 3."),
        (HIDDEN, {"model": {"hidden": 3}}, 'evaluator.model: The table needs `use = "module:name"`.'),
        (LR, {"model": torch.nn.Linear(2, 2)}, "evaluator.model: Must be a function or class that makes a new model for each trial."),
        (HIDDEN, {"device": "gpu"}, "evaluator.device: Must be 'auto', 'cpu', 'mps', 'cuda' or 'cuda:1'. Got 'gpu'."),
        (HIDDEN | {"epochs": {"low": 1, "high": 30}}, {}, "space.epochs: Goes up to 30; the `epochs` option says how long"),
        (HIDDEN | {"epochs": [2, 9]}, {}, "space.epochs: Goes up to 9; the `epochs` option says how long a trial can be: 10. Make them equal"),
        (HIDDEN | {"batch_size": [0, 8]}, {}, "space.batch_size: The `batch_size` option of TorchEvaluator must be an int >= 1"),
        (HIDDEN | {"clip_norm": {"low": 0.0, "high": 1.0}}, {}, "space.clip_norm: The `clip_norm` option of TorchEvaluator must be a number > 0"),
        (HIDDEN, {"metrics": [functools.partial(max)]}, "evaluator.metrics[0]: This has no name: write `metrics` as"),
        (HIDDEN, {"metrics": {"acc": "accuracy"}}, "evaluator.metrics.acc: 'accuracy' keeps its name: write `accuracy` for the key"),
        (HIDDEN, {"metrics": ["f1"]}, "evaluator.metrics[0]: There is no metric 'f1'."),
        (HIDDEN, {"metrics": {"f1": {"use": scaled_ratio, "kk": 3}}}, "evaluator.metrics.f1.kk: scaled_ratio has no argument 'kk'."),
        (HIDDEN, {"metrics": {"f1": {"use": NeedsClasses}}}, "evaluator.metrics.f1: NeedsClasses cannot be made: TypeError: "),
        (HIDDEN, {"optimizer": optimizer_of_model}, "evaluator.optimizer: It is called as f(params, ...): make `params` the first"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_its_path(space: dict[str, Any], options: dict[str, Any], message: str) -> None:
    found = mistakes(space, **options)
    assert len(found) == 1
    assert found[0].startswith(message)


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ({"acuracy": "maximize"}, "objective.acuracy: No metric has this name. Did you mean 'accuracy'?"),
        ({"accuracy": "minimize"}, "objective.accuracy: accuracy is better when it is large: minimize?"),
        ({"value": "maximize"}, "objective: Say which metric is meant"),
    ],
)
def test_objectives_must_be_measured(objectives: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "may_be_in_use", lambda: False)
    found = mistakes(HIDDEN, objectives)
    assert len(found) == 1
    assert found[0].startswith(message)
    assert mistakes(HIDDEN, {"value": "minimize"}) == mistakes(HIDDEN, {"val_accuracy": "maximize"}) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "model: Give either `model`, which hpt trains, or `train`"),
        ({"model": make_model, "train": make_model}, "model: Give either `model`"),
        ({"model": make_model}, "data: A model needs data to train on"),
        ({"train": make_model, "keep": "best"}, "keep: A `train` function keeps its weights itself"),
        ({"model": make_model, "data": data, "epochs": 0}, "The `epochs` option of TorchEvaluator must be an int >= 1. Got 0."),
        ({"model": make_model, "data": data, "clip_norm": 0.0}, "The `clip_norm` option of TorchEvaluator must be a number > 0"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TorchEvaluator(**options)
    assert str(caught.value).startswith(message)


def test_a_data_function_that_fails_is_reported_with_its_error() -> None:
    def load() -> Any:
        raise FileNotFoundError("no folder x")

    assert mistakes(LR, model=make_from_data, data=load) == [
        "evaluator.data: load failed: FileNotFoundError: no folder x"
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"valid": (torch.ones(2, 2),)}, "gives no 'train' part. Got valid."),
        ((torch.ones(4, 2), torch.ones(3)), "gives arrays of 4 and 3 rows that belong together"),
        ((torch.ones(4, 2), torch.ones(3, 2)), r"without targets\? Then give \(\(train,\), \(valid,\)\)"),
        ((torch.ones(4, 2), torch.ones(3, 2), torch.ones(4), torch.ones(3)), r"validation: \(\(X, y\), \(V, w\)\)\."),
        (3, "must give datasets, loaders or tuples of arrays"),
        (
            (np.ones((4, 2)), np.array(["a", "b"] * 2)),
            "gives an array of <U1, which torch cannot hold: encode it as numbers",
        ),
        (np.array([[1, None]], dtype=object), "gives an array of object, which torch cannot hold"),
    ],
)
def test_data_in_no_accepted_form_is_refused(given: Any, message: str) -> None:
    evaluator = TorchEvaluator(model=make_model, data=lambda: given)
    with pytest.raises(UsageError, match=message):
        _ = evaluator.loaded


@pytest.mark.parametrize(
    ("options", "message", "detail"),
    [
        ({"data": lambda: {"train": data()["train"]}}, "objective.accuracy: There is no validation data", ""),
        ({"data": lambda: 1 / 0}, "evaluator.data: <lambda> failed: ZeroDivisionError", "lambda: 1 / 0"),
        ({"data": lambda: np.array(["a"])}, "evaluator.data: <lambda> gives an array of <U1", ""),
        ({"metrics": {"hits": lambda outputs, _: outputs}}, "The metric 'hits' must be one number.", ""),
    ],
)
def test_a_mistake_of_the_user_fails_the_trial_without_our_traceback(
    options: dict[str, Any], message: str, detail: str
) -> None:
    evaluator = TorchEvaluator(**{"model": make_model, "data": data, **options})
    study = Study({"hidden": [2, 3, 4]}, objective={"accuracy": "maximize"}, evaluator=evaluator)
    with pytest.raises(NothingSucceededError):
        study.run(trials=3)
    failure = study.trials[0].failure
    assert failure is not None
    assert failure.message.startswith(message)
    assert detail in failure.detail
    assert bool(failure.detail) == bool(detail)
    assert not re.search(r"hpt_(core|evaluator_torch)[\\/]", failure.detail)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "mine:net"},
        {"data": {"use": "mine:load", "rows": 3}},
        {"train": "mine:train", "model": None},
        {"optimizer": {"use": "mine:optimizer"}},
        {"scheduler": "mine:scheduler"},
        {"loss": "mine:loss"},
        {"metrics": ["accuracy", "mine:f1"]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_the_files_of_the_user_are_those_that_the_options_name(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study that is resumed reports which of them have changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine.py").touch()
    installed = {"model": "torch.nn:Linear", "data": "torch.utils.data:TensorDataset"}
    assert list(digests(TorchEvaluator(**(installed | options)))) == ["mine.py"]
