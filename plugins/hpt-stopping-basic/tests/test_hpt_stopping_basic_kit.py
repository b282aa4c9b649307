"""The conformance kit on the rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from hpt_core.testing import StoppingRuleKit
from hpt_stopping_basic.alone import Patience, Threshold
from hpt_stopping_basic.combine import After, AllOf, AnyOf
from hpt_stopping_basic.ranked import Median, Percentile
from hpt_stopping_basic.study import Deadline, Plateau, Target, TimeBudget, TrialBudget


def pair() -> list[Any]:
    return [Median(), Percentile(percentile=75.0)]


class TestMedian(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], Median]:
        return Median


class TestPercentile(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], Percentile]:
        return partial(Percentile, percentile=30.0)


class TestThreshold(StoppingRuleKit):
    in_users_sign = True

    @pytest.fixture
    def make_rule(self) -> Callable[[], Threshold]:
        return partial(Threshold, limit=2.5)


class TestPatience(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], Patience]:
        return partial(Patience, reports=2, min_gain=0.05)


class TestPlateau(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], Plateau]:
        return partial(Plateau, patience=5, min_trials=8)


class TestTarget(StoppingRuleKit):
    in_users_sign = True

    @pytest.fixture
    def make_rule(self) -> Callable[[], Target]:
        return partial(Target, value=0.1)


class TestTimeBudget(StoppingRuleKit):
    timed = True

    @pytest.fixture
    def make_rule(self) -> Callable[[], TimeBudget]:
        return partial(TimeBudget, limit=60.0)


class TestDeadline(StoppingRuleKit):
    timed = True
    compares = False

    @pytest.fixture
    def make_rule(self) -> Callable[[], Deadline]:
        return partial(Deadline, limit=60.0)


class TestTrialBudget(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], TrialBudget]:
        return partial(TrialBudget, limit=11)


class TestAnyOf(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], AnyOf]:
        return lambda: AnyOf(rules=pair())


class TestAllOf(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], AllOf]:
        return lambda: AllOf(rules=pair())


class TestAfter(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> Callable[[], After]:
        return lambda: After(rule=pair()[0], trials=4, steps=3)
