"""The loss may be any of torch's or a function, and is that of the whole validation set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error

pytest.importorskip("torch")

import torch

from hpt_core import Report, TrialContext
from hpt_evaluator_torch.evaluator import TorchEvaluator
from hpt_evaluator_torch.losses import make_loss
from hpt_evaluator_torch.training_parts import find_part

RNG = np.random.default_rng(0)
X = RNG.normal(size=(53, 4)).astype(np.float32)


class FirstColumns(torch.nn.Module):
    """Returns the first columns of its inputs."""

    def __init__(self, columns: int, *, squeeze: bool = False) -> None:
        super().__init__()
        self.columns, self.squeeze = columns, squeeze
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Any) -> Any:
        found = inputs[:, : self.columns] + 0 * self.weight
        return found[:, 0] if self.squeeze else found


def last(y: Any, model: Any, objectives: tuple[str, ...], **options: Any) -> Report:
    evaluator = TorchEvaluator(
        model=lambda: model, data=lambda: ((X, y), (X, y)), epochs=1, device="cpu", eval_batch_size=10, **options
    )
    return list(evaluator.evaluate(TrialContext(params={}, objectives=objectives)))[-1]


def test_class_weights_may_be_a_list() -> None:
    y = RNG.integers(0, 3, size=53)
    loss = {"use": "cross_entropy", "weight": [1, 2.0, 3.0], "reduction": "sum"}
    report = last(y, FirstColumns(3), ("train_loss",), loss=loss, batch_size=53)
    assert report.value == pytest.approx(sum((1 + y) * -np.log(softmax(X[:, :3], axis=1)[range(53), y])), rel=1e-5)


@pytest.mark.parametrize(
    ("use", "options"),
    [
        ("CrossEntropyLoss", {"weight": [1.0, 5.0, 25.0]}),
        ("CrossEntropyLoss", {"ignore_index": 1}),
        ("CrossEntropyLoss", {"ignore_index": 2, "weight": [1.0, 5.0, 25.0], "label_smoothing": 0.2}),
        ("NLLLoss", {"weight": [1.0, 5.0, 25.0], "ignore_index": 0}),
    ],
)
def test_the_loss_of_classes_is_that_of_the_whole_validation_set(use: str, options: dict[str, Any]) -> None:
    """Torch divides by the weights of the classes in a batch, and a batch may have nothing but ignored targets."""
    y = np.sort(RNG.integers(0, 3, size=53))  # the batches differ as much as they can
    report = last(y, FirstColumns(3), ("loss",), loss={"use": f"torch.nn:{use}", **options})
    whole = {**options, "weight": torch.tensor(options["weight"])} if "weight" in options else options
    expected = getattr(torch.nn, use)(**whole)(torch.from_numpy(X[:, :3]), torch.from_numpy(y))
    assert report.value == pytest.approx(float(expected), rel=1e-6)


class Padded(FirstColumns):
    """Scores of two classes at each position of a row."""

    def forward(self, inputs: Any) -> Any:
        return torch.stack([inputs, -inputs], 1) + 0 * self.weight  # rows, classes, positions


def on_batches(batches: list[Any], model: Any, objective: str, loss: Any) -> float:
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    made = TorchEvaluator(model=lambda: model, data=lambda: (loader, loader), loss=loss, epochs=1, device="cpu")
    (report,) = made.evaluate(TrialContext(params={"lr": 0.0}, objectives=(objective,)))
    return float(report.value)


PARTS = [torch.from_numpy(part) for part in (X[:3, :1], X[3:13, :2], X[13:17])]


@pytest.mark.parametrize(("loss", "metric"), [("mse", "mse"), ("l1", "mae")])
def test_the_loss_of_batches_of_different_lengths_is_that_of_all_their_entries(loss: str, metric: str) -> None:
    model, batches = FirstColumns(4), [(part, torch.ones_like(part)) for part in PARTS]
    flat = np.concatenate([part.numpy().ravel() for part in PARTS])
    expected = {"mse": mean_squared_error, "l1": mean_absolute_error}[loss](np.ones_like(flat), flat)
    assert on_batches(batches, model, "loss", loss) == pytest.approx(expected, rel=1e-6)
    assert on_batches(batches, model, metric, loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("padding", [-100, 0])
def test_targets_that_the_loss_ignores_count_for_no_metric(padding: int) -> None:
    labels = [torch.from_numpy(RNG.integers(0, 2, size=part.shape)) for part in PARTS]
    labels[0][:] = padding  # a batch of which nothing counts
    labels[1][:, 1] = padding
    counted = [y != padding for y in labels]
    truth, scores = (np.concatenate([t[c].numpy() for t, c in zip(ts, counted, strict=True)]) for ts in (labels, PARTS))
    batches = list(zip(PARTS, labels, strict=True))
    loss = {"use": "cross_entropy", "ignore_index": padding}
    assert on_batches(batches, Padded(2), "accuracy", loss) == pytest.approx(accuracy_score(truth, scores < 0))
    expected = log_loss(truth, 1 / (1 + np.exp(2 * scores.astype(float))), labels=[0, 1])
    assert on_batches(batches, Padded(2), "loss", loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [bool, "int8", "int64"])
@pytest.mark.parametrize("loss", ["bce", "mse", "l1", "huber"])
def test_targets_of_an_elementwise_loss_may_be_integers(loss: str, kind: Any) -> None:
    y = RNG.integers(0, 2, size=53)
    floats, integers = y.astype(np.float32), y.astype(kind)
    model, objectives = FirstColumns(1, squeeze=True), ("loss", "accuracy", "mae")
    assert last(integers, model, objectives, loss=loss) == last(floats, model, objectives, loss=loss)


def test_labels_may_be_booleans() -> None:
    y = RNG.integers(0, 2, size=53)
    assert last(y.astype(bool), FirstColumns(2), ("loss", "accuracy")) == last(y, FirstColumns(2), ("loss", "accuracy"))


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint16"])
def test_class_labels_may_be_integers_of_any_size(kind: str) -> None:
    y = RNG.integers(0, 3, size=53)
    assert last(y.astype(kind), FirstColumns(3), ("loss", "accuracy")) == last(y, FirstColumns(3), ("loss", "accuracy"))


def test_the_tensors_of_a_loss_are_on_the_device_of_the_model() -> None:
    for spec in ({"use": "bce", "pos_weight": [3.0]}, torch.nn.BCEWithLogitsLoss(pos_weight=torch.ones(1))):
        part = find_part("loss", spec, "evaluator.loss")
        assert part is not None
        nowhere = torch.device("meta")
        outputs = torch.ones(4, device=nowhere)
        assert make_loss(part, nowhere)(outputs, outputs).device == nowhere
