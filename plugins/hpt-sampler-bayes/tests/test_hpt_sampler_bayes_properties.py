"""On spaces of every shape: suggestions are valid, new, reproducible, and what is encoded is what is returned."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import Failure, Params, Space, SpaceExhausted, UsageError
from hpt_core.testing import make_history
from hpt_core.testing.strategies import spaces
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.sampler import BayesSampler


@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_snapped_rows_and_configurations_are_the_same_points(space: Space, seed: int) -> None:
    encoding = Encoding.of(space)
    u = encoding.snap(np.random.default_rng(seed).random((20, len(encoding.columns))))
    active = encoding.activity(u)
    for row, on in zip(u, active, strict=True):
        params = encoding.params(row)
        assert space.contains(params)
        unit = space.to_unit(params)
        np.testing.assert_array_equal(np.isnan(unit), ~on)
        np.testing.assert_allclose(row[on], unit[on], atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(spaces(max_size=6), st.integers(0, 2**32 - 1), st.integers(1, 14))
def test_suggestions_are_valid_new_and_reproducible(space: Space, seed: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    trials: list[tuple[Params, object]] = []
    taken: set[object] = set()
    sampler = BayesSampler()
    for number in range(n):
        ended = number - number // 3
        history = make_history(space, trials[:ended], running=[params for params, _ in trials[ended:]])
        try:
            suggestion = sampler.suggest(history, np.random.default_rng([seed, number]))
        except SpaceExhausted:
            assert space.size is not None
            assert len(taken) == space.size
            return
        again = BayesSampler().suggest(history, np.random.default_rng([seed, number]))
        assert again == suggestion
        assert space.contains(suggestion.params)
        assert space.key(suggestion.params) not in taken
        assert json.loads(json.dumps(suggestion.info)) == suggestion.info
        taken.add(space.key(suggestion.params))
        outcome = Failure("error", "no") if generator.random() < 0.2 else float(generator.normal())
        trials.append((suggestion.params, outcome))


@pytest.mark.parametrize("n_initial", [0, -3, True, 2.5])
def test_the_option_is_checked(n_initial: object) -> None:
    with pytest.raises(UsageError, match="n_initial"):
        BayesSampler(n_initial=n_initial)  # type: ignore[arg-type] # what a user may give
