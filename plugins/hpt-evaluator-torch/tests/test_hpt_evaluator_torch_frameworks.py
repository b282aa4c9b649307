"""Lightning modules and skorch nets report epoch by epoch what they would have logged by themselves."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from hpt_core import EvaluationError, Report, TrialContext
from hpt_evaluator_torch.evaluator import TorchEvaluator

pytestmark = pytest.mark.filterwarnings("ignore")


def data() -> Any:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(60, 4, generator=generator)
    y = (X[:, 0] > 0).long()
    return (X[:40], y[:40]), (X[40:], y[40:])


def reports(model: Any, params: dict[str, Any], objective: str, resume_step: int = 0) -> list[Report]:
    evaluator = TorchEvaluator(model=model, data=data, epochs=3, device="cpu", batch_size=16)
    trial = TrialContext(params=params, seed=3, objectives=(objective,), resume_step=resume_step)
    return list(evaluator.evaluate(trial))


def lightning_model() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base: Any = pytest.importorskip("lightning.pytorch").LightningModule

    class Module(base):
        def __init__(self, lr: float) -> None:
            super().__init__()
            self.layer, self.lr = torch.nn.Linear(4, 2), lr

        def training_step(self, batch: Any, _: int) -> Any:
            return torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

        def validation_step(self, batch: Any, _: int) -> None:
            outputs = self.layer(batch[0])
            self.log("val_loss", torch.nn.functional.cross_entropy(outputs, batch[1]))
            self.log("val_hits", (outputs.argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    return Module


def test_a_lightning_module_trains_as_its_own_trainer_would() -> None:
    module = lightning_model()
    found = reports(module, {"lr": 0.1}, "val_hits")
    (X, y), (V, w) = data()
    torch.manual_seed(3)
    net = torch.nn.Linear(4, 2)
    steps = torch.optim.SGD(net.parameters(), lr=0.1)
    order = torch.Generator().manual_seed(3)
    dataset = torch.utils.data.TensorDataset(X, y)
    for epoch in range(3):
        for inputs, targets in torch.utils.data.DataLoader(dataset, 16, shuffle=True, generator=order):
            steps.zero_grad()
            torch.nn.functional.cross_entropy(net(inputs), targets).backward()
            steps.step()
        with torch.no_grad():
            outputs = net(V)
        assert found[epoch].step == epoch + 1
        assert found[epoch].metrics["val_loss"] == pytest.approx(torch.nn.functional.cross_entropy(outputs, w).item())
        assert found[epoch].value == pytest.approx((outputs.argmax(1) == w).float().mean().item())
    assert reports(module, {"lr": 0.1}, "val_hits", resume_step=1) == found[1:]


def test_a_lightning_trial_can_be_stopped_and_its_errors_are_told() -> None:
    module = lightning_model()
    evaluator = TorchEvaluator(model=module, data=data, epochs=50, device="cpu")
    generator = evaluator.evaluate(TrialContext(params={"lr": 0.1}, objectives=("val_loss",)))
    assert next(generator).step == 1
    generator.close()

    class Broken(module):  # type: ignore[misc,valid-type]  # made above
        def training_step(self, batch: Any, _: int) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        reports(Broken, {"lr": 0.1}, "val_loss")
    keeping = TorchEvaluator(model=module, data=data, keep="best", device="cpu")
    with pytest.raises(EvaluationError, match=r"A LightningModule configures its own training: leave out .* `keep`"):
        next(keeping.evaluate(TrialContext(params={"lr": 0.1}, objectives=("val_loss",))))
    with pytest.raises(EvaluationError, match="the parameter 'weight_decay' must be one of the model function's"):
        reports(module, {"lr": 0.1, "weight_decay": 0.1}, "val_loss")


def test_a_skorch_net_trains_as_it_would_by_itself() -> None:
    skorch = pytest.importorskip("skorch")
    helper = pytest.importorskip("skorch.helper")

    def classifier(hidden: int) -> Any:
        class Net(torch.nn.Sequential):
            def __init__(self) -> None:
                super().__init__(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 2))

        return skorch.NeuralNetClassifier(Net, criterion=torch.nn.CrossEntropyLoss, verbose=0)

    params = {"hidden": 5, "lr": 0.2, "batch_size": 8}
    found = reports(classifier, params, "accuracy")
    train, valid = (torch.utils.data.TensorDataset(*part) for part in data())
    torch.manual_seed(3)
    alone = classifier(5)
    alone.set_params(lr=0.2, batch_size=8, max_epochs=3, train_split=helper.predefined_split(valid))
    alone.fit(train, None)
    assert [r.value for r in found] == alone.history[:, "valid_acc"]
    assert [r.metrics["valid_loss"] for r in found] == alone.history[:, "valid_loss"]
    assert reports(classifier, params, "accuracy", resume_step=2) == found[2:]
    with pytest.raises(EvaluationError, match="the parameter 'clip_norm' must be one of the model function's"):
        reports(classifier, params | {"clip_norm": 1.0}, "accuracy")
