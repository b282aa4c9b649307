"""Properties on spaces of every shape: suggestions are valid, new and reproducible, and encodings round-trip."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import Categorical, Failure, Float, Int, Params, Space, UsageError
from hpt_core.testing import make_history
from hpt_core.testing.strategies import spaces
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.kernel import matern52, squared_distances
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
        suggestion = sampler.suggest(history, np.random.default_rng([seed, number]))
        again = BayesSampler().suggest(history, np.random.default_rng([seed, number]))
        assert again == suggestion
        assert space.contains(suggestion.params)
        assert (space.key(suggestion.params) in taken) == (len(taken) == space.size)
        assert json.loads(json.dumps(suggestion.info)) == suggestion.info
        taken.add(space.key(suggestion.params))
        outcome = Failure("error", "no") if generator.random() < 0.2 else float(generator.normal())
        trials.append((suggestion.params, outcome))


@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1), st.floats(0.03, 30.0))
def test_the_kernel_is_positive_semidefinite_under_any_conditions(space: Space, seed: int, lengthscale: float) -> None:
    encoding = Encoding.of(space)
    z = encoding.encode(encoding.snap(np.random.default_rng(seed).random((20, len(encoding.columns))))) / lengthscale
    assert np.linalg.eigvalsh(matern52(squared_distances(z, z))).min() > -1e-7


@pytest.mark.parametrize("n", [3, 9, 30])
def test_the_names_of_parameters_and_categories_do_not_matter(n: int) -> None:
    def space(model: str, names: tuple[str, str, str], inner: tuple[str, str]) -> Space:
        first, second = inner
        return Space(
            {
                model: Categorical(*names),
                first: Float(0, 1, when={model: names[0]}),
                second: Int(1, 30, when={model: names[2]}),
            }
        )

    one, other = space("m", ("p", "q", "r"), ("x", "k")), space("zz", ("net", "linear", "tree"), ("b", "a"))
    generator = np.random.default_rng(n)
    points = [one.sample(generator) for _ in range(n)]
    renamed = [other.from_unit(row) for row in one.to_unit(points)]
    values = generator.normal(size=n).tolist()
    plain, again = (
        BayesSampler().suggest(make_history(made, list(zip(tried, values, strict=True))), np.random.default_rng([0, n]))
        for made, tried in ((one, points), (other, renamed))
    )
    np.testing.assert_array_equal(other.to_unit(again.params), one.to_unit(plain.params))
    assert again.info == plain.info


@pytest.mark.parametrize("n_initial", [0, -3, True, 2.5])
def test_the_option_is_checked(n_initial: object) -> None:
    with pytest.raises(UsageError, match="n_initial"):
        BayesSampler(n_initial=n_initial)  # type: ignore[arg-type] # what a user may give
