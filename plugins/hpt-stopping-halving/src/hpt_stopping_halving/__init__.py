"""hpt plugin: stopping rules that give more resource to the better share of the trials, rung by rung."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_stopping_rules() -> dict[str, str]:
    """Successive halving in four forms."""
    return {
        "asha": "hpt_stopping_halving.asha:Asha",
        "halving": "hpt_stopping_halving.halving:Halving",
        "hyperband": "hpt_stopping_halving.hyperband:Hyperband",
        "pasha": "hpt_stopping_halving.pasha:Pasha",
    }
