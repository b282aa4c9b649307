"""The conformance kit on the sampler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hpt_core.testing import SamplerKit
from hpt_sampler_forest.sampler import ForestSampler


class TestForest(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], ForestSampler]:
        return partial(ForestSampler, n_initial=3, trees=5)
