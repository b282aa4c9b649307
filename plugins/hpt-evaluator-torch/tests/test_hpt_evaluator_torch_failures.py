"""A training without a model, without rows, or without finite weights fails its trial."""

from __future__ import annotations

import errno
import os
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hpt_core import EvaluationError, TrialContext
from hpt_evaluator_torch.evaluator import TorchEvaluator

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(53, 4)).astype(np.float32), RNG.integers(0, 3, size=53)


def model() -> Any:
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 3))


def failure(objective: str = "accuracy", params: dict[str, Any] | None = None, **options: Any) -> EvaluationError:
    whole = {"model": model, "data": lambda: ((X, Y), (X, Y)), "epochs": 3, "device": "cpu", **options}
    with pytest.raises(EvaluationError) as caught:
        list(TorchEvaluator(**whole).evaluate(TrialContext(params=params or {}, objectives=(objective,))))
    return caught.value


@pytest.mark.parametrize(
    "empty", [(X[:0], np.zeros(0, np.int64)), torch.utils.data.DataLoader([])], ids=["arrays", "loader"]
)
def test_validation_data_without_rows_fails_the_trial(empty: Any) -> None:
    assert "validation data has no rows" in str(failure(data={"train": (X, Y), "valid": empty}))


@pytest.mark.parametrize(
    ("rows", "options"), [(0, {}), (53, {"batch_size": 100, "drop_last": True})], ids=["empty", "batch dropped"]
)
def test_an_epoch_without_a_batch_fails_the_trial(rows: int, options: dict[str, Any]) -> None:
    data = {"train": (X[:rows], Y[:rows]), "valid": (X, Y)}
    assert "An epoch has no batch" in str(failure(data=data, **options))


@pytest.mark.parametrize("made", [None, torch.nn.Linear], ids=["nothing", "class"])
def test_a_model_function_that_does_not_return_a_model_is_refused(made: Any) -> None:
    assert "must return a torch.nn.Module" in str(failure(model=lambda: made))


def test_a_training_without_an_optimizer_fails() -> None:
    assert "cannot be trained without an optimizer" in str(failure(optimizer="none"))


@pytest.mark.parametrize("objective", ["accuracy", "error", "hits"])
def test_a_training_that_diverges_fails(objective: str) -> None:
    """An accuracy can be computed with weights that are NaN: that of always predicting the first class."""

    def hits(outputs: Any, targets: Any) -> float:
        return float((outputs.argmax(1) == targets).float().mean())

    err = failure(objective, {"lr": 1e38}, optimizer="sgd", metrics=[hits])
    assert err.kind == "invalid-value"
    assert str(err).startswith("The training diverged: after epoch ")
    assert "train_loss is nan" in str(err)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_weights_that_a_full_disk_refuses_fail_the_trial_with_their_path(
    keep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    assert str(failure(keep=keep)).endswith("weights.pt cannot be written: [Errno 28] No space left on device")
