"""hpt plugin: the evaluator ``command``, which runs any program."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_evaluators() -> dict[str, str]:
    """Name the evaluator of this plugin."""
    return {"command": "hpt_evaluator_command.evaluator:CommandEvaluator"}
