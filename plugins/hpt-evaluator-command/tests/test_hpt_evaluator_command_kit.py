"""The conformance kit on the evaluator."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from hpt_core.testing import EvaluatorKit
from hpt_evaluator_command.evaluator import CommandEvaluator

PROGRAM = "import sys; x, rate = map(float, sys.argv[1:]); print(x * x + rate)"


class TestCommand(EvaluatorKit):
    @pytest.fixture
    def make_evaluator(self) -> Callable[[], CommandEvaluator]:
        return lambda: CommandEvaluator(command=[sys.executable, "-S", "-c", PROGRAM, "{x}", "{rate}"])
