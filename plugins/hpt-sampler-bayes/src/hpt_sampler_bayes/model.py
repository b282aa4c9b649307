"""The surrogate: how losses are warped, on which points it is fitted and conditioned, what it aims at.

The improvement is counted from a target below the incumbent, which alternates between near and far once there
are some results: a process that is fitted to few points is too sure of itself, and expected improvement then
refines one basin for ever. Several targets are the remedy of Jones, A taxonomy of global optimization methods
based on response surfaces, J. Global Optimization 2001, section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_sampler_bayes.fit import Evidence, cold_start, map_fit
from hpt_sampler_bayes.gp import GP, IntArray
from hpt_sampler_bayes.kernel import FloatArray
from hpt_sampler_bayes.maximise import ExpectedImprovement
from hpt_sampler_bayes.warp import Warp, cut_tail, fit_warp

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.observations import Observations

__all__ = ["Model", "build"]

_NOISY = 1e-3  # fitted noise above which a low loss may be luck
_NEAR, _FAR = 0.02, 0.3  # margins of the target, in standard deviations of the warped losses
_FAR_FROM = 16  # results; before, what is learnt near the best is worth more
_COLD_EVERY = 4  # a fit in so many also starts afresh, should the last optimum be a poor one
_MOST_FITTED = 192  # points that the hyperparameters are fitted on
_MOST_EXACT = 600  # points that the posterior is conditioned on
_KEPT_BEST = 64
_MOST_PENDING = 200


@attrs.frozen(eq=False)
class Model:
    """A fitted surrogate.

    Attributes:
        warp: The output warp.
        theta: Hyperparameters. (G + 2,)
        posterior: The process given the results.
        acquisition: Expected improvement on the target, given the results and the pending trials; the target is
            infinite while no result keeps the study's constraints.
        best: Full rows of the best points, best first. (b, d)
    """

    warp: Warp
    theta: FloatArray
    posterior: GP
    acquisition: ExpectedImprovement
    best: FloatArray


def build(
    encoding: Encoding,
    seen: Observations,
    warm: Sequence[FloatArray],
    rng: np.random.Generator,
    *,
    warp: Callable[[FloatArray], Warp] = fit_warp,
) -> Model:
    """Fit the surrogate to at least one result.

    Args:
        encoding: The space's encoding.
        seen: The observations.
        warm: Hyperparameters to start the fit from, beside the cold start.
        rng: Chooses the points where there are too many.
        warp: Fits the output warp.
    """
    rows = np.vstack([seen.rows, seen.failed])
    warped = warp(_with_failures(seen.y, len(seen.failed)))
    z, t = encoding.encode(rows), warped.t
    group = encoding.group
    theta = _fit(encoding, z, t, warm, rng)
    keeping = np.append(seen.keeping, np.zeros(len(seen.failed), dtype=bool))
    kept = _conditioned_on(z, np.lexsort((t, ~keeping)), theta, group, rng)
    posterior = GP.fit(z[kept], t[kept], theta=theta, group=group)
    incumbent = float(t[keeping].min(initial=np.inf))
    if np.exp(theta[-1]) > _NOISY:
        incumbent = float(posterior.predict(z[kept][keeping[kept]])[0].min(initial=np.inf))
    far = len(t) >= _FAR_FROM and (len(t) + len(seen.pending)) % 2
    current = _with_pending(posterior, encoding.encode(seen.pending))
    return Model(
        warp=warped,
        theta=theta,
        posterior=posterior,
        acquisition=ExpectedImprovement(current, incumbent - (_FAR if far else _NEAR)),
        best=seen.rows[np.lexsort((seen.y, np.nan_to_num(seen.violation)))[:5]],
    )


def _with_pending(posterior: GP, z: FloatArray) -> GP:
    """The posterior with pending points believed; of very many those that promise most."""
    if len(z) > _MOST_PENDING:
        z = z[np.argsort(posterior.predict(z)[0], kind="stable")[:_MOST_PENDING]]
    return posterior.append(z) if len(z) else posterior


def _with_failures(y: FloatArray, failed: int) -> FloatArray:
    """The losses with failures behind them as the worst plus half the range.

    The bad tail is cut first: failures beyond a diverged result would make its scale that of all.
    """
    if failed:
        y = cut_tail(y)
        worst, span = float(y.max()), float(np.ptp(y))
        y = np.append(y, np.full(failed, worst + 0.5 * (span or max(1.0, abs(worst)))))
    return y


def _fit(
    encoding: Encoding, z: FloatArray, t: FloatArray, warm: Sequence[FloatArray], rng: np.random.Generator
) -> FloatArray:
    groups, count = len(encoding.columns), len(t)
    if len(t) > _MOST_FITTED:
        order = np.argsort(t, kind="stable")
        others = rng.permutation(order[_KEPT_BEST:])[: _MOST_FITTED - _KEPT_BEST]
        chosen = np.sort(np.concatenate([order[:_KEPT_BEST], others]))
        z, t = z[chosen], t[chosen]
    evidence = Evidence(z, t, encoding.group, encoding.active_most)
    starts = list(warm) if warm and count % _COLD_EVERY else [*warm, cold_start(groups)]
    return map_fit(evidence, starts)[0]


def _conditioned_on(
    z: FloatArray, order: IntArray, theta: FloatArray, group: IntArray, rng: np.random.Generator
) -> IntArray:
    """Points that the posterior rests on: all, or the best by ``order``, those nearest to the very best, and others."""
    n = len(order)
    if n <= _MOST_EXACT:
        return np.arange(n)
    scaled = z * np.exp(0.5 * theta[:-2])[group]
    distance = np.sum((scaled - scaled[order[0]]) ** 2, axis=1)
    near = np.argsort(distance, kind="stable")
    first = np.concatenate([order[:_KEPT_BEST], near[: _MOST_EXACT // 2], rng.permutation(n)])
    _, places = np.unique(first, return_index=True)
    return np.sort(first[np.sort(places)[:_MOST_EXACT]])
