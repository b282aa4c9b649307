"""The notes of plugins in the log: the `info` of a suggestion, the evidence of a decision, the conclusion of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt_core.errors import PluginError

__all__ = ["plain"]


def plain(value: Any, what: str = "info") -> Any:
    """Convert notes of a plugin to JSON-shaped data: numpy scalars and arrays become numbers and lists.

    Args:
        value: The notes.
        what: Names them in messages, followed by the keys of the wrong part.

    Raises:
        PluginError: If a part cannot be converted.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.floating):
        value = float(value)  # `item` of a long double is one again
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{what}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, what) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    msg = f"{what} must be plain data. Got {type(value).__name__} {value!r:.80}."
    raise PluginError(msg)
