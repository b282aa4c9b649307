"""The random state of a training is its own, and that of its own device."""

# ruff: noqa: NPY002 - custom augmentations draw from the global generator

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hpt_evaluator_torch.randomness import capture, restore, seed_all, undisturbed


class TwoDevices:
    """Stands for ``torch.cuda`` with two devices, of which the first is the current one; a state is a number."""

    def __init__(self) -> None:
        self.states = {"cuda:0": 0, "cuda:1": 10}

    def get_rng_state(self, device: Any = "cuda:0") -> int:
        return self.states[str(device)]

    def set_rng_state(self, state: int, device: Any = "cuda:0") -> None:
        self.states[str(device)] = state


def test_the_generator_of_a_device_that_is_not_the_current_one_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    devices, second = TwoDevices(), torch.device("cuda:1")
    monkeypatch.setattr(torch, "get_device_module", lambda _: devices)
    state = capture(second)
    with undisturbed(second):
        devices.states["cuda:1"] = 99
    assert devices.states == {"cuda:0": 0, "cuda:1": 10}
    devices.states["cuda:1"] = 11
    restore(state, second)
    assert devices.states == {"cuda:0": 0, "cuda:1": 10}


def test_all_generators_are_restored_with_the_second_normal_that_numpy_keeps() -> None:
    def draw() -> list[float]:
        return [*np.random.normal(size=3), np.random.random(), random.random(), random.gauss(), float(torch.rand(()))]

    def seeded() -> None:
        seed_all(2**32 - 1)
        np.random.normal()  # makes two
        random.gauss()

    seeded()
    expected = draw()
    seeded()
    with undisturbed(torch.device("cpu")):
        draw()
    assert draw() == expected
