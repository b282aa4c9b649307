"""Constraints: a process for each of them of how far a point is beyond the bound.

The excess is squeezed to sign(e) log(1 + |e|), in units of its median: Eriksson & Poloczek, Scalable Constrained
Bayesian Optimization, AISTATS 2021, section 3. The bound stays at 0, and what happens there is what is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpt_sampler_bayes.fit import Evidence, cold_start, map_fit
from hpt_sampler_bayes.gp import GP, IntArray
from hpt_sampler_bayes.terms import Acquisition, Feasibility

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.kernel import FloatArray
    from hpt_sampler_bayes.observations import Observations

__all__ = ["chances", "squeeze"]

_LEAST = 1e-9  # of the largest excess: a median below it would be no scale for that
_MOST_FITTED = 192  # points that the hyperparameters are fitted on
_MOST_EXACT = 600  # points that the posterior is conditioned on
_NEAREST = 64  # of them those nearest to the bound


def chances(encoding: Encoding, seen: Observations, rng: np.random.Generator) -> list[Acquisition]:
    """For each constraint of which something is known, the log probability that it is kept.

    Args:
        encoding: The space's encoding.
        seen: The observations.
        rng: Chooses the points where there are too many.
    """
    z = encoding.encode(seen.rows)
    known = [np.isfinite(column) for column in seen.excess.T]
    return [
        Feasibility(_process(encoding, z[k], squeeze(column[k]), rng))
        for k, column in zip(known, seen.excess.T, strict=True)
        if k.any()
    ]


def squeeze(excess: FloatArray) -> FloatArray:
    """The excess (n,) on a scale that a Gaussian process likes; odd and monotone, so that 0 stays 0. (n,)."""
    size = np.abs(excess)
    scaled = excess / (max(float(np.median(size)), _LEAST * float(size.max())) or 1.0)
    squeezed = np.sign(scaled) * np.log1p(np.abs(scaled))
    return np.asarray(squeezed / (float(squeezed.std()) or 1.0), dtype=np.float64)


def _process(encoding: Encoding, z: FloatArray, t: FloatArray, rng: np.random.Generator) -> GP:
    """The posterior of squeezed excesses ``t`` (n,) at ``z`` (n, p)."""
    some = _some(t, _MOST_FITTED, rng)
    evidence = Evidence(z[some], t[some], encoding.group, encoding.active_most)
    theta, _ = map_fit(evidence, [cold_start(len(encoding.columns))])
    kept = _some(t, _MOST_EXACT, rng)
    return GP.fit(z[kept], t[kept], theta=theta, group=encoding.group)


def _some(t: FloatArray, most: int, rng: np.random.Generator) -> IntArray:
    """All points, or those nearest to the bound and others, ascending."""
    if len(t) <= most:
        return np.arange(len(t))
    order = np.argsort(np.abs(t), kind="stable")
    others = rng.permutation(order[_NEAREST:])[: most - _NEAREST]
    return np.sort(np.concatenate([order[:_NEAREST], others]))
