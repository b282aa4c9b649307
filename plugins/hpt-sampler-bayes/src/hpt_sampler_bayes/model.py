"""The surrogate: output warp, hyperparameter fit, posterior, and the target of the expected improvement.

Improvement is measured from a target below the incumbent. Once there are some results, the target alternates between
near and far: a process fitted to few points is overconfident, and expected improvement would then refine one basin for
ever. Jones, A taxonomy of global optimization methods based on response surfaces, J. Global Optimization 2001,
section 6, proposes several targets as the remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_sampler_bayes.acquisition import ExpectedImprovement
from hpt_sampler_bayes.fit import HyperPosterior, cold_start, map_fit
from hpt_sampler_bayes.gp import GP, IntArray
from hpt_sampler_bayes.kernel import FloatArray
from hpt_sampler_bayes.warp import Warp, cut_tail, fit_warp

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.observations import Observations

__all__ = ["MAX_CONDITIONED", "MAX_FITTED", "Model", "fit_model", "subsample"]

_NOISY = 1e-3  # fitted noise above which the incumbent is a posterior mean, as a low loss may be luck
_NEAR, _FAR = 0.02, 0.3  # margins of the target, in standard deviations of the warped losses
_FAR_FROM = 16  # results from which on the far target is used; before, the neighbourhood of the best pays more
_COLD_EVERY = 4  # every fourth fit also has a cold start, in case the last optimum was a poor one
MAX_FITTED = 192  # points that the hyperparameters are fitted to
MAX_CONDITIONED = 600  # points that the posterior is conditioned on
_KEPT_BEST = 64  # best points that a subsample always holds
_MAX_PENDING = 200  # pending points that are appended to the posterior


@attrs.frozen(eq=False)
class Model:
    """A fitted surrogate.

    Attributes:
        warp: The output warp.
        theta: Hyperparameters. (G + 2,)
        posterior: The process given the results.
        acquisition: Expected improvement below the target, given the results and the pending trials; the target is
            infinite while no result is feasible.
        best: Full rows of the best points, best first. (b, d)
    """

    warp: Warp
    theta: FloatArray
    posterior: GP
    acquisition: ExpectedImprovement
    best: FloatArray


def fit_model(
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
        warm: Hyperparameters to start the fit from; without any, and in every fourth fit, there is a cold start, too.
        rng: Subsamples the observations if there are too many.
        warp: Fits the output warp.
    """
    rows = np.vstack([seen.rows, seen.failed])
    warped = warp(_with_failures(seen.y, len(seen.failed)))
    z, t = encoding.encode(rows), warped.t
    group = encoding.group
    theta = _fit(encoding, z, t, warm, rng)
    feasible = np.append(seen.feasible, np.zeros(len(seen.failed), dtype=bool))
    kept = _conditioned_on(z, np.lexsort((t, ~feasible)), theta, group, rng)
    posterior = GP.fit(z[kept], t[kept], theta=theta, group=group)
    incumbent = float(t[feasible].min(initial=np.inf))
    if np.exp(theta[-1]) > _NOISY:
        incumbent = float(posterior.predict(z[kept][feasible[kept]])[0].min(initial=np.inf))
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
    """Append pending points as kriging believers; if there are very many, only those of the lowest mean."""
    if len(z) > _MAX_PENDING:
        z = z[np.argsort(posterior.predict(z)[0], kind="stable")[:_MAX_PENDING]]
    return posterior.append(z) if len(z) else posterior


def _with_failures(y: FloatArray, failed: int) -> FloatArray:
    """The losses, followed by a loss for each failure: the worst plus half the range.

    The bad tail is cut first, as otherwise one diverged result would set the scale of the failures.
    """
    if failed:
        y = cut_tail(y)
        worst, span = float(y.max()), float(np.ptp(y))
        y = np.append(y, np.full(failed, worst + 0.5 * (span or max(1.0, abs(worst)))))
    return y


def _fit(
    encoding: Encoding, z: FloatArray, t: FloatArray, warm: Sequence[FloatArray], rng: np.random.Generator
) -> FloatArray:
    starts = list(warm) if warm and len(t) % _COLD_EVERY else [*warm, cold_start(len(encoding.columns))]
    if len(t) > MAX_FITTED:
        some = subsample(t, MAX_FITTED, rng)
        z, t = z[some], t[some]
    return map_fit(HyperPosterior(z, t, encoding.group, encoding.active_most), starts)[0]


def subsample(t: FloatArray, most: int, rng: np.random.Generator) -> IntArray:
    """Ascending indices of all points, or of the lowest ``t`` and a random rest, ``most`` in all."""
    if len(t) <= most:
        return np.arange(len(t))
    order = np.argsort(t, kind="stable")
    others = rng.permutation(order[_KEPT_BEST:])[: most - _KEPT_BEST]
    return np.sort(np.concatenate([order[:_KEPT_BEST], others]))


def _conditioned_on(
    z: FloatArray, order: IntArray, theta: FloatArray, group: IntArray, rng: np.random.Generator
) -> IntArray:
    """Points to condition the posterior on: all, or the first of ``order``, those nearest to the best, and others."""
    n = len(order)
    if n <= MAX_CONDITIONED:
        return np.arange(n)
    scaled = z * np.exp(0.5 * theta[:-2])[group]
    distance = np.sum((scaled - scaled[order[0]]) ** 2, axis=1)
    near = np.argsort(distance, kind="stable")
    first = np.concatenate([order[:_KEPT_BEST], near[: MAX_CONDITIONED // 2], rng.permutation(n)])
    _, places = np.unique(first, return_index=True)
    return np.sort(first[np.sort(places)[:MAX_CONDITIONED]])
