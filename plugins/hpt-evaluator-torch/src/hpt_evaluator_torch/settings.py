"""The settings of one training that are plain values; a parameter of the space may set each of the first four."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["PARTS", "SETTINGS", "Settings"]

PARTS = ("optimizer", "scheduler", "loss")
"""What of a training loop can be exchanged."""

SETTINGS: tuple[str, ...] = ("amp", "batch_size", "clip_norm", "epochs", "loss", "optimizer", "scheduler")
"""What a parameter of the space of the same name sets."""


@attrs.frozen
class Settings:
    """See the options of `TorchEvaluator` of the same names."""

    amp: bool
    batch_size: int
    clip_norm: float | None
    epochs: int
    drop_last: bool
    eval_batch_size: int

    @classmethod
    def of(cls, evaluator: Any, chosen: Mapping[str, Any]) -> Settings:
        """Those that a configuration chose, the others as the evaluator has them."""
        return cls(*(chosen.get(field.name, getattr(evaluator, field.name)) for field in attrs.fields(cls)))
