"""CMA-ES for hpt, with margin for integers and categories, restarts, and any number of workers."""

from __future__ import annotations

from collections.abc import Mapping

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_samplers() -> Mapping[str, str | type]:
    """The sampler ``cmaes``."""
    return {"cmaes": "hpt_sampler_cmaes.sampler:CmaesSampler"}
