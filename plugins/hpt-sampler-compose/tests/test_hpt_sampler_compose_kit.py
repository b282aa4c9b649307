"""The conformance kit on the samplers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import pytest

from hpt_core.testing import SamplerKit
from hpt_sampler_compose.auto import AutoSampler
from hpt_sampler_compose.parts import Part
from hpt_sampler_compose.portfolio import PortfolioSampler
from hpt_sampler_compose.sequence import SequenceSampler

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History, Params


@attrs.define(kw_only=True)
class UniformSampler:
    """Draws at random."""

    def suggest(self, history: History, rng: Generator) -> Params:
        return history.space.sample(rng)


class TestAuto(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], AutoSampler]:
        return lambda: AutoSampler(model=UniformSampler(), cheap=UniformSampler())


class TestSequence(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], SequenceSampler]:
        parts = [Part(sampler=UniformSampler(), trials=3), Part(sampler=UniformSampler())]
        return lambda: SequenceSampler(samplers=parts)


class TestPortfolio(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> Callable[[], PortfolioSampler]:
        parts = [Part(sampler=UniformSampler()), Part(sampler=UniformSampler(), name="other")]
        return lambda: PortfolioSampler(samplers=parts)
