"""The conformance kit on the sampler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hpt_core.testing import SamplerKit
from hpt_sampler_random.sampler import RandomSampler


class TestUniform(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], RandomSampler]:
        return RandomSampler


class TestSobol(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], RandomSampler]:
        return partial(RandomSampler, method="sobol")


class TestHalton(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], RandomSampler]:
        return partial(RandomSampler, method="halton")


class TestLatinHypercube(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], RandomSampler]:
        return partial(RandomSampler, method="latin-hypercube")
