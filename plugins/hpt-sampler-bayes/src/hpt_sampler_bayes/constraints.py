"""Constraints: for each a Gaussian process of the excess, that is how far a point lies beyond the bound.

The excess e, in units of its median, is transformed to sign(e) log(1 + |e|), the bilog transform of Eriksson &
Poloczek, Scalable Constrained Bayesian Optimization, AISTATS 2021, section 3. It keeps the bound at 0 and resolves the
values near the bound, which decide feasibility.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpt_sampler_bayes.acquisition import Acquisition, Feasibility
from hpt_sampler_bayes.fit import HyperPosterior, cold_start, map_fit
from hpt_sampler_bayes.gp import GP
from hpt_sampler_bayes.model import MAX_CONDITIONED, MAX_FITTED, subsample

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.kernel import FloatArray
    from hpt_sampler_bayes.observations import Observations

__all__ = ["bilog", "feasibility_terms"]

_LEAST = 1e-9  # smallest scale, relative to the largest excess; a median near 0 is no useful scale


def feasibility_terms(encoding: Encoding, seen: Observations, rng: np.random.Generator) -> list[Acquisition]:
    """The log probability of feasibility, one term for each constraint with at least one known value.

    Args:
        encoding: The space's encoding.
        seen: The observations.
        rng: Subsamples the observations if there are too many.
    """
    z = encoding.encode(seen.rows)
    known = [np.isfinite(column) for column in seen.excess.T]
    return [
        Feasibility(_process(encoding, z[k], bilog(column[k]), rng))
        for k, column in zip(known, seen.excess.T, strict=True)
        if k.any()
    ]


def bilog(excess: FloatArray) -> FloatArray:
    """The bilog transform of the excess (n,), with unit standard deviation; odd and monotone, so 0 stays 0. (n,)."""
    size = np.abs(excess)
    scaled = excess / (max(float(np.median(size)), _LEAST * float(size.max())) or 1.0)
    transformed = np.sign(scaled) * np.log1p(np.abs(scaled))
    return np.asarray(transformed / (float(transformed.std()) or 1.0), dtype=np.float64)


def _process(encoding: Encoding, z: FloatArray, t: FloatArray, rng: np.random.Generator) -> GP:
    """The posterior given transformed excesses ``t`` (n,) at ``z`` (n, p); of many, those nearest to the bound stay."""
    some = subsample(np.abs(t), MAX_FITTED, rng)
    posterior = HyperPosterior(z[some], t[some], encoding.group, encoding.active_most)
    theta, _ = map_fit(posterior, [cold_start(len(encoding.columns))])
    kept = subsample(np.abs(t), MAX_CONDITIONED, rng)
    return GP.fit(z[kept], t[kept], theta=theta, group=encoding.group)
