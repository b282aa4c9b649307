"""A stranger that offers a sampler under a name that is taken."""

from __future__ import annotations

from hpt_core import hookimpl


@hookimpl
def hpt_samplers() -> dict[str, str]:
    """Offer what another one offers, too."""
    return {"twin": "hpt_stranger_annealing:Annealing"}
