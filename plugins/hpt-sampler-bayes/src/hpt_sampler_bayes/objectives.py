"""Several objectives: a Gaussian process for each, and expected improvement of the dominated hypervolume.

The output warp is affine, as hypervolumes need losses in proportion; only the bad tail is cut. The reference point lies
a tenth of the range beyond the worst results, so that the ends of the front are worth extending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_sampler_bayes.hypervolume import HypervolumeImprovement, front, spread
from hpt_sampler_bayes.kernel import FloatArray
from hpt_sampler_bayes.model import Model, fit_model
from hpt_sampler_bayes.warp import cut_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.observations import Observations

__all__ = ["Affine", "fit_objectives"]

_BEYOND = 0.1  # distance from the worst results to the reference point, relative to the range
_STARTS = 5  # points of the front to search around


@attrs.frozen(eq=False)
class Affine:
    """The output warp that shifts and scales losses after their bad tail is cut.

    Attributes:
        t: Warped losses, mean 0 and standard deviation 1 (0 of a constant). (n,)
        shift: The loss whose warped value is 0.
        scale: The difference that becomes 1.
    """

    t: FloatArray
    shift: float
    scale: float

    @classmethod
    def fit(cls, y: FloatArray) -> Affine:
        """Fit to finite losses ``y`` (n,), n >= 1."""
        cut, middle = cut_tail(y), float(np.quantile(y, 0.5))
        reach = float(np.abs(cut - middle).max()) or 1.0  # squares of the scaled losses do not overflow
        scaled = (cut - middle) / reach
        spread = float(scaled.std()) or 1.0
        mean = float(scaled.mean())
        return cls((scaled - mean) / spread, middle + mean * reach, spread * reach)

    def inverse(self, t: FloatArray) -> FloatArray:
        """Losses whose warped values are ``t``."""
        return np.asarray(self.shift + self.scale * t, dtype=np.float64)


def fit_objectives(
    encoding: Encoding, seen: Observations, warm: Sequence[FloatArray], rng: np.random.Generator
) -> tuple[Model, HypervolumeImprovement | None]:
    """Fit a surrogate to each of several objectives.

    Args:
        encoding: The space's encoding.
        seen: The observations.
        warm: Hyperparameters to start the fit of the first objective from.
        rng: Subsamples the observations if there are too many.

    Returns:
        The model of the first objective, its best points spread over the front, and the acquisition, which is None
        while no result is feasible.
    """
    models = [
        fit_model(encoding, attrs.evolve(seen, y=losses), () if k else warm, rng, warp=Affine.fit)
        for k, losses in enumerate(seen.losses.T)
    ]
    posteriors = [model.acquisition.gp for model in models]
    results = np.column_stack([model.warp.t[: len(seen.rows)] for model in models])
    feasible = np.flatnonzero(seen.feasible)
    if not len(feasible):
        return models[0], None
    optimal = feasible[front(results[feasible])]
    model = attrs.evolve(models[0], best=seen.rows[optimal[spread(results[optimal], _STARTS)]])
    span = np.ptp(results, axis=0)
    reference = results.max(axis=0) + _BEYOND * np.where(span > 0.0, span, 1.0)
    pending = encoding.encode(seen.pending)
    believed = np.column_stack([gp.predict(pending)[0] for gp in posteriors])
    return model, HypervolumeImprovement.over(posteriors, np.vstack([results[feasible], believed]), reference)
