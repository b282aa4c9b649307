"""hpt plugin: stopping rules that end a study when there is hardly anything left to gain."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_stopping_rules() -> dict[str, str]:
    """Rules on the study that rest on a model of the objective."""
    return {
        "improvement": "hpt_stopping_regret.rules:Improvement",
        "regret": "hpt_stopping_regret.rules:Regret",
    }
