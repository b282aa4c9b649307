"""hpt plugin: stopping rules of the successive-halving family."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_stopping_rules() -> dict[str, str]:
    """Name the rules of this plugin."""
    return {
        "asha": "hpt_stopping_halving.asha:Asha",
        "halving": "hpt_stopping_halving.halving:Halving",
        "hyperband": "hpt_stopping_halving.hyperband:Hyperband",
        "pasha": "hpt_stopping_halving.pasha:Pasha",
    }
