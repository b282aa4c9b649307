"""The settings of one training: plain values, most of which a parameter of the space may set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["PARTS", "SETTINGS", "Settings"]

PARTS = ("optimizer", "scheduler", "loss")
"""The exchangeable parts of a training loop."""

SETTINGS: tuple[str, ...] = ("amp", "batch_size", "clip_norm", "epochs", "loss", "optimizer", "scheduler")
"""The options that a parameter of the space with the same name sets."""


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
        """The settings that a configuration chose, completed by the evaluator's options."""
        return cls(*(chosen.get(field.name, getattr(evaluator, field.name)) for field in attrs.fields(cls)))
