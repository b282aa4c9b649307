"""The random state of a training is that of its own device."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from hpt_evaluator_torch.randomness import capture, restore, undisturbed


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
