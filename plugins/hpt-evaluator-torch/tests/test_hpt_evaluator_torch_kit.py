"""The evaluator passes the conformance kit with a model, a `train` function, a Lightning module and a skorch net."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any, ClassVar

import pytest

pytest.importorskip("torch")

import torch

from hpt_core import Space
from hpt_core.testing import EvaluatorKit
from hpt_evaluator_torch.evaluator import TorchEvaluator


def data() -> Any:
    generator = torch.Generator().manual_seed(3)
    X = torch.randn(60, 4, generator=generator)
    y = (X[:, 0] > 0).long()
    return (X[:40], y[:40]), (X[40:], y[40:])


def make_model(hidden: int) -> Any:
    return torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.Dropout(0.2), torch.nn.Linear(hidden, 2))


def train(lr: float, hidden: int, data: Any) -> Iterator[float]:
    (X, y), _ = data.train.tensors, data.valid
    model = make_model(hidden)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(model(X), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


class OnTorch(EvaluatorKit):
    """A space of the size of a model and its learning rate."""

    @pytest.fixture
    def space(self) -> Space:
        return Space({"lr": {"low": 1e-3, "high": 1e-1, "log": True}, "hidden": {"low": 2, "high": 8}})


class TestModel(OnTorch):
    objectives: ClassVar = {"loss": "minimize"}

    @pytest.fixture
    def make_evaluator(self) -> Callable[[], TorchEvaluator]:
        return partial(TorchEvaluator, model=make_model, data=data, epochs=3, batch_size=16, device="cpu", threads=1)


class TestTrainFunction(OnTorch):
    @pytest.fixture
    def make_evaluator(self) -> Callable[[], TorchEvaluator]:
        return partial(TorchEvaluator, train=train, data=data, device="cpu", threads=1)


def lightning_module(lr: float, hidden: int) -> Any:
    lightning: Any = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = make_model(hidden)

        def training_step(self, batch: Any, _: int) -> Any:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("val_loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=lr)

    return Module()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(find_spec("lightning") is None, reason="Lightning is not installed")
class TestLightning(OnTorch):
    objectives: ClassVar = {"val_loss": "minimize"}

    @pytest.fixture
    def make_evaluator(self) -> Callable[[], TorchEvaluator]:
        return partial(TorchEvaluator, model=lightning_module, data=data, epochs=3, device="cpu", threads=1)


def skorch_net(hidden: int) -> Any:
    skorch: Any = pytest.importorskip("skorch")
    criterion = torch.nn.CrossEntropyLoss
    return skorch.NeuralNetClassifier(make_model, module__hidden=hidden, criterion=criterion, verbose=0)


@pytest.mark.skipif(find_spec("skorch") is None, reason="skorch is not installed")
class TestSkorch(OnTorch):
    objectives: ClassVar = {"valid_loss": "minimize"}

    @pytest.fixture
    def make_evaluator(self) -> Callable[[], TorchEvaluator]:
        return partial(TorchEvaluator, model=skorch_net, data=data, epochs=3, device="cpu", threads=1)
