"""The sampler ``grid`` for hpt: every point of a grid exactly once."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_samplers() -> dict[str, str]:
    """The sampler ``grid``."""
    return {"grid": "hpt_sampler_grid.sampler:GridSampler"}
