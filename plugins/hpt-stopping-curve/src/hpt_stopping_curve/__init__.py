"""hpt plugin: stopping rules that use the shape of a learning curve."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_stopping_rules() -> dict[str, str]:
    """Name the rules of this plugin."""
    return {
        "divergence": "hpt_stopping_curve.divergence:Divergence",
        "extrapolation": "hpt_stopping_curve.extrapolation:Extrapolation",
    }
