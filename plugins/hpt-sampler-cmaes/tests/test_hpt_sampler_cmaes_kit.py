"""The conformance kit on the sampler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hpt_core.testing import SamplerKit
from hpt_sampler_cmaes.sampler import CmaesSampler


class TestCmaes(SamplerKit):
    several_objectives = False

    @pytest.fixture
    def make_sampler(self) -> Callable[[], CmaesSampler]:
        return partial(CmaesSampler, population=4)
