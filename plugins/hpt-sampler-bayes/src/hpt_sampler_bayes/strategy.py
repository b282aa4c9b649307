"""The surrogate and the acquisition of a suggestion: improvement x probability of feasibility x prior.

The incumbent is feasible. While no result is feasible, the acquisition has no improvement factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpt_sampler_bayes.acquisition import Acquisition, Sum
from hpt_sampler_bayes.constraints import feasibility_terms
from hpt_sampler_bayes.model import Model, fit_model
from hpt_sampler_bayes.objectives import fit_objectives

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.kernel import FloatArray
    from hpt_sampler_bayes.observations import Observations
    from hpt_sampler_bayes.priors import PriorTerm

__all__ = ["model_and_acquisition"]


def model_and_acquisition(
    encoding: Encoding,
    seen: Observations,
    warm: Sequence[FloatArray],
    prior_term: PriorTerm | None,
    rng: np.random.Generator,
) -> tuple[Model, Acquisition]:
    """Fit the surrogate and compose the acquisition of one suggestion.

    Args:
        encoding: The space's encoding.
        seen: The observations.
        warm: Hyperparameters to start the fit from.
        prior_term: The factor of the user's prior, None if there is none.
        rng: Subsamples the observations if there are too many.
    """
    improvement: Acquisition | None
    if seen.losses.shape[1] > 1:
        model, improvement = fit_objectives(encoding, seen, warm, rng)
    else:
        model = fit_model(encoding, seen, warm, rng)
        improvement = model.acquisition if np.isfinite(model.acquisition.target) else None
    factors = [improvement, *feasibility_terms(encoding, seen, rng), prior_term]
    terms = [factor for factor in factors if factor is not None]
    return model, terms[0] if len(terms) == 1 else Sum(terms)
