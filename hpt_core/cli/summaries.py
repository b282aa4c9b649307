"""What is known of a study's recorded stopping rules once they are made: which options were set, and their summaries.

No code that the log names by an import path is run: reading a study runs code of installed plugins only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hpt_core.study.recorded import recorded_component

if TYPE_CHECKING:
    from hpt_core.history.history import History
    from hpt_core.plugins.plugins import Plugins

__all__ = ["summaries", "without_defaults"]


def without_defaults(plugins: Plugins, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recorded rule without the options at their defaults; unchanged if it cannot be made here."""
    with suppress(Exception):
        return plugins.describe(recorded_component(plugins, "stopping rule", spec, "stop"), brief=True)
    return spec


def summaries(plugins: Plugins, history: History) -> Iterator[dict[str, Any]]:
    """The summaries of the rules that have one (see `StoppingRule`), nested rules included."""
    for spec in _nested(history.definition["stop"]):
        if isinstance(spec, Mapping):
            with suppress(Exception):  # a rule that cannot be made here, or fails, has no summary
                rule = recorded_component(plugins, "stopping rule", spec, "stop")
                content = rule.summary(history) if hasattr(rule, "summary") else None
                if content:
                    yield {"rule": spec["use"], "summary": json.loads(json.dumps(content, allow_nan=False))}


def _nested(value: object) -> Iterator[object]:
    yield value
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _nested(item)
