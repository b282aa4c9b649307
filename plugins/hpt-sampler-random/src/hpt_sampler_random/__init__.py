"""The sampler ``random`` for hpt: independent points or low-discrepancy sequences, from any distributions."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_samplers() -> dict[str, str]:
    """The sampler ``random``."""
    return {"random": "hpt_sampler_random.sampler:RandomSampler"}


@hookimpl(trylast=True)
def hpt_default(kind: str) -> str | None:
    """Offer ``random`` as the default if no better sampler is installed."""
    return "random" if kind == "sampler" else None
