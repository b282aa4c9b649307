"""hpt plugin: stopping rules that race trials against each other over paired folds."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_stopping_rules() -> dict[str, str]:
    """Name the rules of this plugin."""
    return {
        "folds": "hpt_stopping_folds.folds:Folds",
        "race": "hpt_stopping_folds.race:Race",
    }
