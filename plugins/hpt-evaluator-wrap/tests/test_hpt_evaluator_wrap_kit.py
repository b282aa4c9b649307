"""The conformance kit on the evaluators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from hpt_core import Report, TrialContext
from hpt_core.testing import EvaluatorKit
from hpt_evaluator_wrap.cache import CacheEvaluator
from hpt_evaluator_wrap.repeat import RepeatEvaluator
from hpt_evaluator_wrap.retry import RetryEvaluator


@attrs.define(kw_only=True)
class Curve:
    """Reports three times; the values depend on parameters and seed."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        start = sum(value for value in trial.params.values() if isinstance(value, float))
        for step in range(1, 4):
            yield Report(step, start / step + trial.seed % 97)


class TestRepeat(EvaluatorKit):
    @pytest.fixture
    def make_evaluator(self) -> Callable[[], RepeatEvaluator]:
        return lambda: RepeatEvaluator(evaluator=Curve(), times=3)


class TestRetry(EvaluatorKit):
    @pytest.fixture
    def make_evaluator(self) -> Callable[[], RetryEvaluator]:
        return lambda: RetryEvaluator(evaluator=Curve())


class TestCache(EvaluatorKit):
    @pytest.fixture
    def make_evaluator(self) -> Callable[[], CacheEvaluator]:
        return lambda: CacheEvaluator(evaluator=Curve())


class TestCacheInAFile(EvaluatorKit):
    @pytest.fixture
    def make_evaluator(self, tmp_path: Path) -> Callable[[], CacheEvaluator]:
        return lambda: CacheEvaluator(evaluator=Curve(), path=tmp_path / "cache.jsonl")
