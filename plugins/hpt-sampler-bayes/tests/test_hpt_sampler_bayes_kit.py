"""The conformance kit on the sampler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hpt_core.testing import SamplerKit
from hpt_sampler_bayes.sampler import BayesSampler


class TestBayes(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], BayesSampler]:
        return partial(BayesSampler, n_initial=3)
