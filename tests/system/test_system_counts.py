"""Counts that no machine can handle are refused in one message, before they end in a lack of memory."""

from __future__ import annotations

import pytest

from hpt_core import UsageError
from hpt_core.plugins.plugins import default_plugins

COUNTS = [
    ("bayes", "n_initial"),
    ("cmaes", "population"),
    ("forest", "n_initial"),
    ("forest", "trees"),
    ("random", "block"),
    ("tpe", "candidates"),
    ("tpe", "n_initial"),
]


@pytest.mark.parametrize(("sampler", "option"), COUNTS)
def test_an_absurd_count_is_refused(sampler: str, option: str) -> None:
    with pytest.raises(UsageError, match=rf"^sampler\.{option}: Must be an int >= \d and <= 10+\. Got 10{{12}}\.$"):
        default_plugins().make("sampler", {"use": sampler, option: 10**12})


def test_an_absurd_number_of_levels_is_refused() -> None:
    spec = {"use": "sklearn", "estimator": "sklearn.svm:SVC", "data": "sklearn.datasets:load_iris", "levels": 10**12}
    with pytest.raises(UsageError, match=r"^evaluator\.levels: Must be an int >= 1 and <= 100000\."):
        default_plugins().make("evaluator", spec)
