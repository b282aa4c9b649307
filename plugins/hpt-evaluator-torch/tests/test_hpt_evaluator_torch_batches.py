"""Batches: copies of the data, which are moved to the device as they are."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from hpt_core import TrialContext
from hpt_evaluator_torch.data import load_data, split_batch
from hpt_evaluator_torch.evaluator import TorchEvaluator


def test_all_tensors_of_a_batch_are_moved_to_the_device() -> None:
    nowhere, here = torch.device("meta"), torch.ones(2)
    (inputs,), targets = split_batch([{"image": here, "sizes": [here, 3]}, here], nowhere)
    assert [part.device for part in (inputs["image"], inputs["sizes"][0], targets)] == [nowhere] * 3
    assert inputs["sizes"][1] == 3


def test_tuples_of_a_batch_keep_their_types_on_the_device() -> None:
    class Pair(NamedTuple):
        image: Any
        name: str

    nowhere, here = torch.device("meta"), torch.ones(2)
    (pair, parts), packed = split_batch([Pair(here, "a"), (here,), pack_sequence([here])], nowhere)
    assert (pair.image.device, pair.name) == (nowhere, "a")
    assert isinstance(parts, tuple)
    assert isinstance(packed, PackedSequence)
    assert packed.data.device == nowhere


class Centring(torch.nn.Linear):
    """Changes its input in place."""

    def forward(self, X: Any) -> Any:
        X -= 1
        return super().forward(X)


def test_a_model_that_changes_its_input_leaves_the_data_as_it_is() -> None:
    X, y = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(20, dtype=torch.long)
    before = X.clone()
    evaluator = TorchEvaluator(model=lambda: Centring(3, 2), data=((X, y), (X, y)), epochs=2, device="cpu")
    list(evaluator.evaluate(TrialContext(params={}, objectives=("loss",))))
    assert torch.equal(X, before)


def test_read_only_arrays_are_data_without_a_warning() -> None:
    X = np.ones((4, 2), dtype=np.float32)
    X.flags.writeable = False
    torch.set_warn_always(True)  # otherwise torch warns only once per process
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load_data(((X,), (X,))).train[0][0].tolist() == [1, 1]
    finally:
        torch.set_warn_always(False)
