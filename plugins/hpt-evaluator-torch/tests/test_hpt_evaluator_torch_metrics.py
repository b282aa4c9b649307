"""Losses and metrics equal those of torch and scikit-learn on the whole validation set, whatever the batch size."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error

pytest.importorskip("torch")

import torch

from hpt_core import EvaluationError, Report, TrialContext
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
    # a copy, as the evaluator collects garbage, which takes long, if the model outlives the trial
    evaluator = TorchEvaluator(
        model=lambda: deepcopy(model),
        data=lambda: ((X, y), (X, y)),
        epochs=1,
        device="cpu",
        eval_batch_size=10,
        **options,
    )
    return list(evaluator.evaluate(TrialContext(params={}, objectives=objectives)))[-1]


def test_classification_metrics_equal_those_of_scikit_learn() -> None:
    y = RNG.integers(0, 3, size=53)
    report = last(y, FirstColumns(3), ("accuracy", "val_loss", "perplexity", "bits"), metrics=["error"])
    odds = np.exp(X[:, :3].astype(float))
    expected = log_loss(y, odds / odds.sum(1, keepdims=True))
    assert report.value == pytest.approx(accuracy_score(y, X[:, :3].argmax(1)), abs=1e-15)
    assert report.metrics["val_loss"] == pytest.approx(expected, rel=1e-6)
    assert report.metrics["perplexity"] == pytest.approx(math.exp(expected), rel=1e-6)
    assert report.metrics["bits"] == pytest.approx(expected / math.log(2), rel=1e-6)
    assert report.metrics["error"] == pytest.approx(1 - report.value)


def test_class_probabilities_as_targets_have_the_accuracy_of_their_most_probable_classes() -> None:
    y = RNG.dirichlet([1, 1, 1], size=53).astype(np.float32)
    report = last(y, FirstColumns(3), ("accuracy", "loss", "mae"), loss="cross_entropy")
    assert report.value == pytest.approx(accuracy_score(y.argmax(1), X[:, :3].argmax(1)), abs=1e-15)
    assert report.metrics["loss"] == pytest.approx(-(y * log_softmax(X[:, :3], axis=1)).sum(1).mean(), rel=1e-6)
    assert report.metrics["mae"] == pytest.approx(mean_absolute_error(y, X[:, :3]), rel=1e-6)


def test_regression_metrics_equal_those_of_scikit_learn() -> None:
    y = RNG.normal(size=53)
    report = last(y, FirstColumns(1, squeeze=True), ("rmse", "mae", "mse"))
    assert report.value == pytest.approx(math.sqrt(mean_squared_error(y, X[:, 0])), rel=1e-6)
    assert report.metrics["mae"] == pytest.approx(mean_absolute_error(y, X[:, 0]), rel=1e-6)
    assert report.metrics["mse"] == pytest.approx(mean_squared_error(y, X[:, 0]), rel=1e-6)


def test_binary_classification_with_one_logit_equals_scikit_learn() -> None:
    y = (RNG.random(53) < 0.4).astype(np.float32)
    report = last(y, FirstColumns(1, squeeze=True), ("accuracy", "loss"), loss="bce")
    assert report.value == pytest.approx(accuracy_score(y, X[:, 0] > 0))
    assert report.metrics["loss"] == pytest.approx(log_loss(y, 1 / (1 + np.exp(-X[:, 0].astype(float)))), rel=1e-5)


def test_a_custom_function_receives_the_whole_validation_set_at_once() -> None:
    seen: list[Any] = []

    def spread(outputs: Any, targets: Any, inputs: Any, model: Any) -> Any:
        seen.append((len(outputs), len(targets), inputs[0].shape, model.training))
        return (outputs[:, 0] - targets).abs().max()

    y = RNG.normal(size=(53, 1)).astype(np.float32)
    report = last(y, FirstColumns(1), ("spread",), metrics={"spread": spread})
    assert seen == [(53, 53, (53, 4), False)]
    assert report.value == pytest.approx(np.abs(X[:, :1] - y.T).max())


class SummedPowers(torch.nn.Module):
    """A metric like those of torchmetrics: it accumulates its inputs until it is reset."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power
        self.reset()

    def reset(self) -> None:
        self.outputs: list[Any] = []

    def forward(self, outputs: Any, targets: Any, power: int | None = None) -> Any:
        self.outputs.append(outputs)
        return (torch.cat(self.outputs)[:, 0] ** (power or self.power)).sum() + 0 * targets.sum()


def sum_of_powers(outputs: Any, targets: Any, power: int = 1) -> float:
    return float((outputs[:, 0] ** power).sum() + 0 * targets.sum())


@pytest.mark.parametrize("metric", [SummedPowers, SummedPowers(2), {"use": SummedPowers(9), "power": 2}, sum_of_powers])
def test_a_custom_metric_may_be_a_class_an_object_or_a_function_with_arguments(metric: Any) -> None:
    entry = metric if isinstance(metric, (dict, torch.nn.Module)) else {"use": metric, "power": 2}
    y = RNG.integers(0, 3, size=53)
    made = TorchEvaluator(
        model=lambda: FirstColumns(3), data=lambda: ((X, y), (X, y)), epochs=3, device="cpu", metrics={"square": entry}
    )
    found = list(made.evaluate(TrialContext(params={}, objectives=("square",))))
    assert [report.value for report in found] == pytest.approx([(X[:, 0] ** 2).sum()] * 3)


def test_outputs_that_would_broadcast_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"outputs of shape \[32, 1\] for targets of shape \[32\]"):
        last(RNG.normal(size=53), FirstColumns(1), ("loss",))


@pytest.mark.parametrize("metric", ["mae", "mse", "rmse", "accuracy", "error"])
def test_builtin_metrics_refuse_outputs_that_would_broadcast(metric: str) -> None:
    y = RNG.integers(0, 2, size=53)

    def loss(outputs: Any, targets: Any) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.float())

    with pytest.raises(EvaluationError, match=rf"'{metric}' cannot compare outputs of shape \[10, 1\] with .* \[10\]"):
        last(y, FirstColumns(1), (metric,), loss=loss)
    assert last(y, FirstColumns(1), ("loss",), loss=loss).value > 0


def test_the_accuracy_of_several_classes_per_row_equals_scikit_learn() -> None:
    class Sequence(FirstColumns):
        def forward(self, inputs: Any) -> Any:
            return torch.stack([inputs[:, :2], inputs[:, 2:]], 2) + 0 * self.weight  # rows, classes, positions

    y = RNG.integers(0, 2, size=(53, 2))
    expected = accuracy_score(y.ravel(), np.stack([X[:, :2], X[:, 2:]], 2).argmax(1).ravel())
    assert last(y, Sequence(2), ("accuracy",)).value == pytest.approx(expected)


def test_a_perplexity_of_a_loss_that_is_nan_is_nan() -> None:
    y = RNG.integers(0, 3, size=53)
    ignored = np.full(53, -100)  # a batch in which all targets are ignored has the loss 0 / 0
    made = TorchEvaluator(model=lambda: FirstColumns(3), data=lambda: ((X, y), (X, ignored)), epochs=1, device="cpu")
    (report,) = made.evaluate(TrialContext(params={}, objectives=("perplexity",)))
    assert math.isnan(report.value)


def test_without_validation_data_the_training_loss_can_be_the_objective() -> None:
    evaluator = TorchEvaluator(
        model=lambda: FirstColumns(3), data=lambda: {"train": (X, RNG.integers(0, 3, size=53))}, epochs=1, device="cpu"
    )
    (report,) = evaluator.evaluate(TrialContext(params={}, objectives=("train_loss",)))
    assert report.value > 0
    with pytest.raises(EvaluationError, match=r"Nothing measures the objective 'accuracy'\. Measured: train_loss"):
        list(evaluator.evaluate(TrialContext(params={}, objectives=("accuracy",))))


def test_builtin_metrics_refuse_a_model_that_returns_a_tuple() -> None:
    class Pair(FirstColumns):
        def forward(self, inputs: Any) -> Any:
            return super().forward(inputs), inputs

    def loss(outputs: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(outputs[0], targets)

    y = RNG.integers(0, 3, size=53)
    assert last(y, Pair(3), ("loss",), loss=loss).value > 0
    with pytest.raises(
        EvaluationError, match=r"returns a tuple, but the metric 'accuracy' needs one tensor.*`metrics`"
    ):
        last(y, Pair(3), ("accuracy",), loss=loss)


class TwoTargets(torch.utils.data.Dataset[Any]):
    """Two named targets per row."""

    def __init__(self, y: Any, z: Any) -> None:
        self.y, self.z = y, z

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> Any:
        return X[i], {"class": self.y[i], "amount": self.z[i]}


def test_custom_metrics_receive_all_outputs_and_targets_of_a_multi_task_model() -> None:
    class Heads(FirstColumns):
        def forward(self, inputs: Any) -> Any:
            return {"class": super().forward(inputs), "rest": (inputs[:, 3],)}

    def loss(outputs: Any, targets: Any) -> Any:
        hits = torch.nn.functional.cross_entropy(outputs["class"], targets["class"])
        return hits + torch.nn.functional.mse_loss(outputs["rest"][0], targets["amount"])

    def hits(outputs: Any, targets: Any) -> Any:
        return accuracy_score(targets["class"], outputs["class"].argmax(1))

    def off(outputs: Any, targets: Any) -> Any:
        return mean_squared_error(targets["amount"], outputs["rest"][0])

    y, z = RNG.integers(0, 3, size=53), RNG.normal(size=53).astype(np.float32)
    unset = TorchEvaluator(model=lambda: Heads(3), data=lambda: (TwoTargets(y, z),) * 2, epochs=1, device="cpu")
    with pytest.raises(EvaluationError, match="no default loss for targets in a dict: give `loss`, a function of"):
        list(unset.evaluate(TrialContext(params={}, objectives=("loss",))))
    evaluator = TorchEvaluator(
        model=lambda: Heads(3), data=lambda: (TwoTargets(y, z), TwoTargets(y, z)), epochs=1, device="cpu",
        eval_batch_size=10, batch_size=8, loss=loss, metrics=[hits, off],
    )  # fmt: skip
    (report,) = evaluator.evaluate(TrialContext(params={"lr": 0.0}, objectives=("hits", "off", "loss")))
    assert report.value == pytest.approx(accuracy_score(y, X[:, :3].argmax(1)))
    assert report.metrics["off"] == pytest.approx(mean_squared_error(z, X[:, 3]), rel=1e-6)
    expected = log_loss(y, softmax(X[:, :3].astype(float), axis=1)) + mean_squared_error(z, X[:, 3])
    assert report.metrics["loss"] == pytest.approx(expected, rel=1e-6)
    assert report.metrics["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_inputs_of_different_lengths_are_refused_only_if_a_metric_asks_for_inputs() -> None:
    class Sums(FirstColumns):
        def forward(self, inputs: Any) -> Any:
            return super().forward(torch.stack([inputs.sum(1), inputs.mean(1)], 1))

    y = RNG.integers(0, 2, size=20)
    rows = [(torch.ones(3 + i // 10), int(y[i])) for i in range(20)]
    loader = torch.utils.data.DataLoader(rows, 10)

    def hits(outputs: Any, targets: Any) -> Any:
        return accuracy_score(targets, outputs.argmax(1))

    def longest(outputs: Any, targets: Any, inputs: Any) -> float:
        return float(inputs[0].shape[1])

    evaluator = TorchEvaluator(
        model=lambda: Sums(2), data=lambda: (loader, loader), epochs=1, device="cpu", metrics=[hits]
    )
    trial = TrialContext(params={"lr": 0.0}, objectives=("hits",))
    assert next(evaluator.evaluate(trial)).value == pytest.approx((y == 0).mean())
    evaluator = TorchEvaluator(
        model=lambda: Sums(2), data=lambda: (loader, loader), epochs=1, device="cpu", metrics=[hits, longest]
    )
    with pytest.raises(
        EvaluationError, match=r"the whole validation set at once, but its batches have different shapes"
    ):
        next(evaluator.evaluate(trial))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": {"use": "cross_entropy", "reduction": "none"}}, r"must be one number.* shape \[32\]\."),
        ({"loss": lambda outputs, _: outputs.mean().item()}, r"must be one number, .* Got -?\d\.\d+\."),
        ({"metrics": {"hits": lambda *_: [0.5, 0.7]}}, r"The metric 'hits' must be one number\. Got \[0\.5, 0\.7\]\."),
        ({"metrics": {"hits": lambda outputs, _: outputs}}, r"'hits' must .* Got a tensor of shape \[\d+, 3\]\."),
    ],
)
def test_losses_and_metrics_must_be_numbers(options: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        last(RNG.integers(0, 3, size=53), FirstColumns(3), ("loss",), **options)


def test_a_nan_loss_with_finite_weights_is_not_divergence() -> None:
    y = RNG.integers(0, 3, size=53)
    ignored = np.where(np.arange(53) < 40, -100, y)  # a batch in which all targets are ignored has the loss 0 / 0
    evaluator = TorchEvaluator(
        model=lambda: FirstColumns(3), data=lambda: ((X, ignored), (X, y)), epochs=2, batch_size=4, device="cpu"
    )
    reports = list(evaluator.evaluate(TrialContext(params={"lr": 0.1}, objectives=("accuracy",))))
    assert math.isnan(reports[-1].metrics["train_loss"])
    assert reports[-1].value == pytest.approx(accuracy_score(y, X[:, :3].argmax(1)), abs=1e-7)


def test_the_accuracy_of_outputs_that_are_nan_is_nan() -> None:
    class Broken(FirstColumns):
        def forward(self, inputs: Any) -> Any:
            found = super().forward(inputs)
            return found if self.training else found * math.nan

    assert math.isnan(last(RNG.integers(0, 3, size=53), Broken(3), ("accuracy",)).value)


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
        ("CrossEntropyLoss", {"reduction": "sum"}),
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


def test_a_loss_may_be_a_function_with_arguments() -> None:
    y, model = RNG.normal(size=53), FirstColumns(1, squeeze=True)
    function, known = ({"use": use, "delta": 0.5} for use in ("torch.nn.functional:huber_loss", "huber"))
    assert last(y, model, ("loss",), loss=function) == last(y, model, ("loss",), loss=known)


class Padded(FirstColumns):
    """Scores of two classes at each position of a row."""

    def forward(self, inputs: Any) -> Any:
        return torch.stack([inputs, -inputs], 1) + 0 * self.weight  # rows, classes, positions


def on_batches(batches: list[Any], model: Any, objective: str, loss: Any) -> float:
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    made = TorchEvaluator(
        model=lambda: deepcopy(model), data=lambda: (loader, loader), loss=loss, epochs=1, device="cpu"
    )
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
