"""Bayesian optimisation for hpt: a Gaussian process over mixed and conditional spaces."""

from __future__ import annotations

from collections.abc import Mapping

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_samplers() -> Mapping[str, str | type]:
    """The sampler ``bayes``."""
    return {"bayes": "hpt_sampler_bayes.sampler:BayesSampler"}


@hookimpl
def hpt_default(kind: str) -> str | None:
    """Offer ``bayes`` as the default sampler."""
    return "bayes" if kind == "sampler" else None
