"""hpt plugin: samplers made of samplers, and what a list of samplers means."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_samplers() -> dict[str, str]:
    """One that chooses, one starting point, a sequence, and a portfolio."""
    return {
        "auto": "hpt_sampler_compose.auto:AutoSampler",
        "defaults": "hpt_sampler_compose.defaults:DefaultsSampler",
        "portfolio": "hpt_sampler_compose.portfolio:PortfolioSampler",
        "sequence": "hpt_sampler_compose.sequence:SequenceSampler",
    }


@hookimpl
def hpt_compose(kind: str) -> tuple[str, str] | None:
    """A list of samplers is a sequence of them."""
    return ("sequence", "samplers") if kind == "sampler" else None


@hookimpl
def hpt_default(kind: str) -> str | None:
    """Offer ``auto`` where a study names no sampler."""
    return "auto" if kind == "sampler" else None
