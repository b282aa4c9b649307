"""Bayesian optimisation with a random forest as the surrogate, for hpt."""

from __future__ import annotations

from collections.abc import Mapping

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_samplers() -> Mapping[str, str | type]:
    """The sampler ``forest``."""
    return {"forest": "hpt_sampler_forest.sampler:ForestSampler"}
