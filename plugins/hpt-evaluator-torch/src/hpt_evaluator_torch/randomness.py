"""The random number generators that a training may use: seeding, capturing and restoring them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["capture", "restore", "seed_all", "undisturbed"]


def seed_all(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators.

    Args:
        seed: From 0 to 2**32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the one that custom augmentations use
    torch.manual_seed(seed)


def capture(device: Any) -> dict[str, Any]:
    """The states of all generators, as plain values and tensors.

    Args:
        device: Whose own generator belongs to it.
    """
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - as above
    state = {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys), *rest),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        state["device"] = _state_of(device)
    return state


def restore(state: dict[str, Any], device: Any) -> None:
    """Restore all generators to the states that `capture` returned."""
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy(), *rest))  # noqa: NPY002 - as above
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    if "device" in state and device.type != "cpu":
        _set_state(state["device"], device)


@contextmanager
def undisturbed(device: Any) -> Iterator[None]:
    """Context in which others may draw; all generators are restored afterwards.

    Each epoch pays for it, so it does without the tensors of `capture`.
    """
    python, own = random.getstate(), torch.get_rng_state()
    legacy: Any = np.random.get_state()  # noqa: NPY002 - as above
    legacy = legacy[0], legacy[1].tolist(), *legacy[2:]  # numpy copies from a list much faster than from an array
    state = None if device.type == "cpu" else _state_of(device)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - as above
        torch.set_rng_state(own)
        if state is not None:
            _set_state(state, device)


def _state_of(device: Any) -> Any:
    return torch.get_device_module(device).get_rng_state(*_which(device))


def _set_state(state: Any, device: Any) -> None:
    torch.get_device_module(device).set_rng_state(state, *_which(device))


def _which(device: Any) -> tuple[Any, ...]:
    """The argument that selects a device's generator, instead of the current device's; there is one MPS device."""
    return () if device.type == "mps" else (device,)
