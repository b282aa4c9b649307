"""The training loop in the README runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from hpt_core import Study
from hpt_evaluator_torch.evaluator import TorchEvaluator

README = Path(__file__).parents[1] / "README.md"


def data() -> Any:
    X = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    y = (X[:, 0] > 0).long()
    return (X[:150], y[:150]), (X[150:], y[150:])


def test_the_training_loop_in_the_readme_runs() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(README), "exec"), names)
    study = Study(
        {"lr": [0.01], "accumulate": [1, 3]}, objective={"accuracy": "maximize"}, seed=0,
        evaluator=TorchEvaluator(train=names["train"], data=data, device="cpu", threads=1),
    )  # fmt: skip
    study.run(trials=2)
    for trial in study.trials:
        assert trial.state == "complete"
        assert len(trial.reports) == 20
        assert trial.value is not None
        assert trial.value > 0.8
        assert trial.metrics["loss"] < 0.7
