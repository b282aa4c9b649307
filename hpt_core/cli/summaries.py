"""The summaries of a study's stopping rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpt_core.history import History
    from hpt_core.plugins import Plugins

__all__ = ["summaries"]


def summaries(plugins: Plugins, history: History) -> Iterator[dict[str, Any]]:
    """The summaries of the rules that have one (see `StoppingRule`), nested rules included.

    A rule that names code by an import path is skipped: reading a study runs code of installed plugins only.
    """
    for spec in _nested(history.definition["stop"]):
        if isinstance(spec, Mapping) and not any(isinstance(text, str) and ":" in text for text in _nested(spec)):
            with suppress(Exception):  # a rule that cannot be made here, or fails, has no summary
                rule = plugins.make("stopping rule", spec)
                content = rule.summary(history) if hasattr(rule, "summary") else None
                if content:
                    yield {"rule": spec["use"], "summary": json.loads(json.dumps(content, allow_nan=False))}


def _nested(value: object) -> Iterator[object]:
    yield value
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _nested(item)
