"""A batch is moved to the device as it is: whatever contains its tensors keeps its type."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch")

import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from hpt_evaluator_torch.data import split_batch


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
