"""The conformance kit on the rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hpt_core.testing import StoppingRuleKit
from hpt_stopping_regret.rules import Improvement, Regret


class TestRegret(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], Regret]:
        return partial(Regret, epsilon=5.0, min_trials=6)


class TestImprovement(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], Improvement]:
        return partial(Improvement, epsilon=5.0, min_trials=6)
