"""An optimiser that evaluates the loss several times per step."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch.nn.functional import mse_loss

from hpt_core import TrialContext
from hpt_evaluator_torch.evaluator import TorchEvaluator


def test_lbfgs_equals_a_hand_written_loop_bit_for_bit() -> None:
    X, y = torch.randn(40, 3), torch.randn(40, 1)
    order = [torch.randperm(40, generator=torch.Generator().manual_seed(8 + epoch)) for epoch in (1, 2, 3)]
    made = TorchEvaluator(
        model=lambda: torch.nn.Linear(3, 1), data=lambda: ((X, y), (X, y)), optimizer="torch.optim:LBFGS",
        epochs=3, batch_size=40, device="cpu",
    )  # fmt: skip
    trial = TrialContext(params={"lr": 0.3, "max_iter": 2, "clip_norm": 0.7}, seed=8, objectives=("train_loss",))
    found = [report.value for report in made.evaluate(trial)]

    torch.manual_seed(8)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.3, max_iter=2)
    expected = []
    for rows in order:

        def closure(rows: Any = rows) -> Any:
            optimizer.zero_grad()
            loss = mse_loss(model(X[rows]), y[rows])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.7)
            return loss

        expected.append(optimizer.step(closure).item())
    assert found == expected
