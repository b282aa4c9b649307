"""The conformance kits on the built-in components."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hpt_core.builtin.function import FunctionEvaluator
from hpt_core.builtin.local import LocalExecutor
from hpt_core.builtin.memory import MemoryStore
from hpt_core.testing import EvaluatorKit, ExecutorKit, StoreKit

if TYPE_CHECKING:
    from hpt_core import TrialContext


class TestMemoryStore(StoreKit):
    persistent = False

    @pytest.fixture
    def make_store(self) -> Callable[[Path], MemoryStore]:
        return lambda _: MemoryStore()


def train(params: dict[str, float], trial: TrialContext) -> Iterator[float]:
    """A curve that starts at the step where the trial resumes."""
    for step in range(trial.resume_step + 1, 7):
        yield params["x"] ** 2 + 1 / step


class TestFunctionEvaluator(EvaluatorKit):
    @pytest.fixture
    def make_evaluator(self) -> Callable[[], FunctionEvaluator]:
        return partial(FunctionEvaluator, call=train, steps=6, resumable=True)


class TestLocalExecutor(ExecutorKit):
    @pytest.fixture
    def make_executor(self) -> Callable[[], LocalExecutor]:
        return LocalExecutor
