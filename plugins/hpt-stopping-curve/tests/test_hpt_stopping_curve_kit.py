"""The conformance kit on the rules."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hpt_core.testing import StoppingRuleKit
from hpt_stopping_curve.divergence import Divergence
from hpt_stopping_curve.extrapolation import Extrapolation


class TestExtrapolation(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], Extrapolation]:
        return Extrapolation


class TestDivergence(StoppingRuleKit):
    acts = False  # no curve of the kit rises

    @pytest.fixture
    def make_rule(self) -> Callable[[], Divergence]:
        return Divergence
