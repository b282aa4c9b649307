"""The conformance kit on the sampler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hpt_core.testing import SamplerKit
from hpt_sampler_tpe.sampler import TpeSampler


class TestTpe(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], TpeSampler]:
        return partial(TpeSampler, n_initial=3)


class TestTpeAsOptuna(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], TpeSampler]:
        return partial(TpeSampler, n_initial=3, rules="optuna")
