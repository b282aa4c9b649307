"""The conformance kit on the sampler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hpt_core.testing import SamplerKit
from hpt_sampler_grid.sampler import GridSampler


class TestLexicographic(SamplerKit):
    seeded = False

    @pytest.fixture
    def make_sampler(self) -> Callable[[], GridSampler]:
        return GridSampler


class TestShuffled(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], GridSampler]:
        return partial(GridSampler, order="shuffled")
