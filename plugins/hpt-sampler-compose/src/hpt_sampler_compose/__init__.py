"""Samplers composed of samplers for hpt; a list of samplers is a sequence."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_samplers() -> dict[str, str]:
    """The samplers ``auto``, ``defaults``, ``portfolio`` and ``sequence``."""
    return {
        "auto": "hpt_sampler_compose.auto:AutoSampler",
        "defaults": "hpt_sampler_compose.defaults:DefaultsSampler",
        "portfolio": "hpt_sampler_compose.portfolio:PortfolioSampler",
        "sequence": "hpt_sampler_compose.sequence:SequenceSampler",
    }


@hookimpl
def hpt_compose(kind: str) -> tuple[str, str] | None:
    """Compose a list of samplers as a sequence."""
    return ("sequence", "samplers") if kind == "sampler" else None


@hookimpl
def hpt_default(kind: str) -> str | None:
    """Offer ``auto`` as the default sampler."""
    return "auto" if kind == "sampler" else None
