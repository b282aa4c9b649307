"""Metrics agree with scikit-learn's on the whole validation set, however it is cut into batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error

pytest.importorskip("torch")

import torch

from hpt_core import EvaluationError, Report, TrialContext
from hpt_evaluator_torch.evaluator import TorchEvaluator

RNG = np.random.default_rng(0)
X = RNG.normal(size=(53, 4)).astype(np.float32)


class Fixed(torch.nn.Module):
    """Gives the first columns of its inputs back."""

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


def test_classification() -> None:
    y = RNG.integers(0, 3, size=53)
    report = last(y, Fixed(3), ("accuracy", "val_loss", "perplexity", "bits"), metrics=["error"])
    odds = np.exp(X[:, :3].astype(float))
    expected = log_loss(y, odds / odds.sum(1, keepdims=True))
    assert report.value == pytest.approx(accuracy_score(y, X[:, :3].argmax(1)), abs=1e-15)
    assert report.metrics["val_loss"] == pytest.approx(expected, rel=1e-6)
    assert report.metrics["perplexity"] == pytest.approx(math.exp(expected), rel=1e-6)
    assert report.metrics["bits"] == pytest.approx(expected / math.log(2), rel=1e-6)
    assert report.metrics["error"] == pytest.approx(1 - report.value)


def test_regression() -> None:
    y = RNG.normal(size=53)
    report = last(y, Fixed(1, squeeze=True), ("rmse", "mae", "mse"))
    assert report.value == pytest.approx(math.sqrt(mean_squared_error(y, X[:, 0])), rel=1e-6)
    assert report.metrics["mae"] == pytest.approx(mean_absolute_error(y, X[:, 0]), rel=1e-6)
    assert report.metrics["mse"] == pytest.approx(mean_squared_error(y, X[:, 0]), rel=1e-6)


def test_binary_classification_by_one_logit() -> None:
    y = (RNG.random(53) < 0.4).astype(np.float32)
    report = last(y, Fixed(1, squeeze=True), ("accuracy", "loss"), loss="bce")
    assert report.value == pytest.approx(accuracy_score(y, X[:, 0] > 0))
    assert report.metrics["loss"] == pytest.approx(log_loss(y, 1 / (1 + np.exp(-X[:, 0].astype(float)))), rel=1e-5)


def test_a_function_of_the_user_sees_the_whole_set_at_once() -> None:
    seen: list[Any] = []

    def spread(outputs: Any, targets: Any, inputs: Any, model: Any) -> Any:
        seen.append((len(outputs), len(targets), inputs[0].shape, model.training))
        return (outputs[:, 0] - targets).abs().max()

    y = RNG.normal(size=(53, 1)).astype(np.float32)
    report = last(y, Fixed(1), ("spread",), metrics={"spread": spread})
    assert seen == [(53, 53, (53, 4), False)]
    assert report.value == pytest.approx(np.abs(X[:, :1] - y.T).max())


def test_outputs_that_would_broadcast_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"outputs of shape \[32, 1\] for targets of shape \[32\]"):
        last(RNG.normal(size=53), Fixed(1), ("loss",))


def test_the_training_loss_can_be_the_objective_where_there_is_no_validation_data() -> None:
    evaluator = TorchEvaluator(
        model=lambda: Fixed(3), data=lambda: {"train": (X, RNG.integers(0, 3, size=53))}, epochs=1, device="cpu"
    )
    (report,) = evaluator.evaluate(TrialContext(params={}, objectives=("train_loss",)))
    assert report.value > 0
    with pytest.raises(EvaluationError, match=r"Nothing measures the objective 'accuracy'\. Measured: train_loss"):
        list(evaluator.evaluate(TrialContext(params={}, objectives=("accuracy",))))


@pytest.mark.parametrize(
    "empty", [(X[:0], np.zeros(0, np.int64)), torch.utils.data.DataLoader([])], ids=["arrays", "loader"]
)
def test_validation_data_without_rows_gives_no_result(empty: Any) -> None:
    data = {"train": (X, RNG.integers(0, 3, size=53)), "valid": empty}
    evaluator = TorchEvaluator(model=lambda: Fixed(3), data=data, epochs=1, device="cpu")
    with pytest.raises(EvaluationError, match="validation data has no rows"):
        list(evaluator.evaluate(TrialContext(params={}, objectives=("accuracy",))))


@pytest.mark.parametrize(
    ("rows", "options"), [(0, {}), (53, {"batch_size": 100, "drop_last": True})], ids=["empty", "batch dropped"]
)
def test_an_epoch_without_a_batch_gives_no_result(rows: int, options: dict[str, Any]) -> None:
    y = RNG.integers(0, 3, size=53)
    data = {"train": (X[:rows], y[:rows]), "valid": (X, y)}
    evaluator = TorchEvaluator(model=lambda: Fixed(3), data=data, epochs=1, device="cpu", **options)
    with pytest.raises(EvaluationError, match="An epoch has no batch"):
        list(evaluator.evaluate(TrialContext(params={}, objectives=("accuracy",))))


@pytest.mark.parametrize("model", [None, torch.nn.Linear], ids=["nothing", "class"])
def test_a_model_function_that_gives_no_model_is_told_what_would_be_right(model: Any) -> None:
    with pytest.raises(EvaluationError, match=r"must return a torch\.nn\.Module"):
        last(RNG.integers(0, 3, size=53), model, ("loss",))


def test_metrics_of_a_model_that_gives_a_tuple_say_what_would_be_right() -> None:
    class Pair(Fixed):
        def forward(self, inputs: Any) -> Any:
            return super().forward(inputs), inputs

    def loss(outputs: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(outputs[0], targets)

    y = RNG.integers(0, 3, size=53)
    assert last(y, Pair(3), ("loss",), loss=loss).value > 0
    with pytest.raises(EvaluationError, match="gives a tuple, and metrics other than the loss need one tensor"):
        last(y, Pair(3), ("accuracy",), loss=loss)


def test_weights_of_classes_may_be_a_list_as_in_a_study_file() -> None:
    y = RNG.integers(0, 3, size=53)
    loss = {"use": "cross_entropy", "weight": [1, 2.0, 3.0], "reduction": "sum"}
    report = last(y, Fixed(3), ("train_loss",), loss=loss, batch_size=53)
    assert report.value == pytest.approx(sum((1 + y) * -np.log(softmax(X[:, :3], axis=1)[range(53), y])), rel=1e-5)
