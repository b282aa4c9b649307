"""A stranger that misspells a hook."""

from __future__ import annotations

from hpt_core import hookimpl


@hookimpl
def hpt_sampler() -> dict[str, str]:
    """Offer a sampler that nobody will ever find."""
    return {"lost": "hpt_stranger_annealing:Annealing"}
