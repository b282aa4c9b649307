"""hpt plugin: stopping rules that end a study when little is left to gain, judged by a model of the objective."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_stopping_rules() -> dict[str, str]:
    """Name the rules of this plugin."""
    return {
        "improvement": "hpt_stopping_regret.rules:Improvement",
        "regret": "hpt_stopping_regret.rules:Regret",
    }
