"""The conformance kit on the rules."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hpt_core.testing import StoppingRuleKit
from hpt_stopping_folds.folds import Folds
from hpt_stopping_folds.race import Race


class TestFolds(StoppingRuleKit):
    evidence = ("folds",)

    @pytest.fixture
    def make_rule(self) -> Callable[[], Folds]:
        return Folds


class TestRace(StoppingRuleKit):
    evidence = ("folds",)

    @pytest.fixture
    def make_rule(self) -> Callable[[], Race]:
        return Race
