"""The conformance kit on the rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hpt_core.testing import StoppingRuleKit
from hpt_stopping_halving.asha import Asha
from hpt_stopping_halving.halving import Halving
from hpt_stopping_halving.hyperband import Hyperband
from hpt_stopping_halving.pasha import Pasha


class TestAshaStop(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], Asha]:
        return partial(Asha, mode="stop")


class TestAshaPromote(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], Asha]:
        return partial(Asha, mode="promote")


class TestPasha(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], Pasha]:
        return Pasha


class TestHalving(StoppingRuleKit):
    ordered = True  # a trial's cohort is told by its number

    @pytest.fixture
    def make_rule(self) -> Callable[[], Halving]:
        return Halving


class TestHyperband(StoppingRuleKit):
    ordered = True  # a trial's bracket is told by its number
    acts = False  # its first brackets are longer than the kit's studies

    @pytest.fixture
    def make_rule(self) -> Callable[[], Hyperband]:
        return partial(Hyperband, mode="stop")
