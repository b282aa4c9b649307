"""All the random number generators that a training may draw from: seeded, kept, put back."""

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
    np.random.seed(seed)  # noqa: NPY002 - the one that augmentations of the user's draw from
    torch.manual_seed(seed)


def capture(device: Any) -> dict[str, Any]:
    """Where all generators stand, as plain values and tensors.

    Args:
        device: Whose own generator belongs to it.
    """
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - as above
    state = {
        "python": [version, list(words), gauss],
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    if device.type in {"cuda", "mps"}:
        state["device"] = getattr(torch, device.type).get_rng_state()
    return state


@contextmanager
def undisturbed(device: Any) -> Iterator[None]:
    """Within it others may draw: afterwards all generators stand where they stood."""
    python, legacy, own = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - as above
    module = getattr(torch, device.type) if device.type in {"cuda", "mps"} else None
    state = module and module.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - as above
        torch.set_rng_state(own)
        if module is not None:
            module.set_rng_state(state)


def restore(state: dict[str, Any], device: Any) -> None:
    """Put all generators where `capture` found them."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002 - as above
    torch.set_rng_state(state["torch"])
    if "device" in state and device.type in {"cuda", "mps"}:
        getattr(torch, device.type).set_rng_state(state["device"])
