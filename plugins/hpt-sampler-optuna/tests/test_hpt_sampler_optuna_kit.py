"""The conformance kit on the samplers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hpt_core.testing import SamplerKit
from hpt_sampler_optuna.sampler import OptunaSampler


class TestTpe(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], OptunaSampler]:
        return partial(OptunaSampler, sampler="TPESampler")


class TestNsga(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], OptunaSampler]:
        return partial(OptunaSampler, sampler="NSGAIISampler", options={"population_size": 8})
