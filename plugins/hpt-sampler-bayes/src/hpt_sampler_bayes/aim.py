"""What a suggestion rests on and aims at: the improvement, times the chance to keep the constraints, times the belief.

The improvement is counted from what keeps all constraints; before something does, only the chance to keep them counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpt_sampler_bayes.constrained import chances
from hpt_sampler_bayes.model import Model, build
from hpt_sampler_bayes.terms import Acquisition, Sum
from hpt_sampler_bayes.two import build_two

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.kernel import FloatArray
    from hpt_sampler_bayes.observations import Observations
    from hpt_sampler_bayes.priors import Belief

__all__ = ["aim"]


def aim(
    encoding: Encoding,
    seen: Observations,
    warm: Sequence[FloatArray],
    belief: Belief | None,
    rng: np.random.Generator,
) -> tuple[Model, Acquisition]:
    """The surrogate and the acquisition of one suggestion.

    Args:
        encoding: The space's encoding.
        seen: The observations.
        warm: Hyperparameters to start the fit from.
        belief: What the user believes, None for nothing.
        rng: Chooses the points where there are too many.
    """
    improvement: Acquisition | None
    if seen.losses.shape[1] == 2:
        model, improvement = build_two(encoding, seen, warm, rng)
    else:
        model = build(encoding, seen, warm, rng)
        improvement = model.acquisition if np.isfinite(model.acquisition.target) else None
    terms = [*([] if improvement is None else [improvement]), *chances(encoding, seen, rng)]
    terms += [] if belief is None else [belief]
    return model, terms[0] if len(terms) == 1 else Sum(terms)
