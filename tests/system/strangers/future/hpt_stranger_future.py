"""A stranger that was written for a later hpt."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 2


@hookimpl
def hpt_samplers() -> dict[str, str]:
    """Offer a sampler of the future."""
    return {"future": "hpt_stranger_annealing:Annealing"}
