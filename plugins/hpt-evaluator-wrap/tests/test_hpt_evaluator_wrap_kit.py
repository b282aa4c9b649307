"""The conformance kit on the evaluators, and the user's files that each names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import cloudpickle
import pytest

from hpt_core import Report, TrialContext
from hpt_core.study.sources import digests
from hpt_core.testing import EvaluatorKit
from hpt_evaluator_wrap.cache import CacheEvaluator
from hpt_evaluator_wrap.isolate import IsolateEvaluator
from hpt_evaluator_wrap.repeat import RepeatEvaluator
from hpt_evaluator_wrap.retry import RetryEvaluator

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a new process cannot import this file


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


@attrs.define(kw_only=True)
class Resumable:
    """Sums up the seed and the steps; its checkpoint is the step and the sum."""

    resumable = True
    steps = 6

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        checkpoint = None if trial.workdir is None else trial.workdir / "checkpoint"
        step, total = 0, float(trial.seed)
        if trial.resume_step and checkpoint is not None and checkpoint.exists():
            found = checkpoint.read_text(encoding="utf-8").split()
            if int(found[0]) <= trial.resume_step:
                step, total = int(found[0]), float(found[1])
        for at in range(step + 1, self.steps + 1):
            total += at * trial.params["x"]
            if checkpoint is not None:
                checkpoint.parent.mkdir(parents=True, exist_ok=True)
                checkpoint.write_text(f"{at} {total!r}", encoding="utf-8")
            if at > trial.resume_step:
                yield Report(at, total)

    def discard(self, trial: TrialContext) -> None:
        if trial.workdir is not None:
            (trial.workdir / "checkpoint").unlink(missing_ok=True)


class TestIsolate(EvaluatorKit):
    @pytest.fixture
    def make_evaluator(self) -> Callable[[], IsolateEvaluator]:
        return lambda: IsolateEvaluator(evaluator=Resumable(), memory_mb=1000)


@attrs.define(kw_only=True)
class OwnCode(Curve):
    sources = __file__


@pytest.mark.parametrize("wrapper", [CacheEvaluator, IsolateEvaluator, RepeatEvaluator, RetryEvaluator])
def test_the_files_of_an_evaluator_are_those_of_the_inner_one(wrapper: Callable[..., object]) -> None:
    """A study that is resumed reports which of them have changed."""
    found = digests(wrapper(evaluator=OwnCode()))
    assert [Path(name).name for name in found] == [Path(__file__).name]
