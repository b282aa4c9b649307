"""Multivariate tree-structured Parzen estimators over mixed and conditional spaces, for hpt."""

from __future__ import annotations

from collections.abc import Mapping

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_samplers() -> Mapping[str, str | type]:
    """The sampler ``tpe``."""
    return {"tpe": "hpt_sampler_tpe.sampler:TpeSampler"}
