"""Out-of-memory errors are recognised, memory is freed, and torch is imported only when it is needed."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from hpt_core import EvaluationError, Study, TrialContext
from hpt_evaluator_torch.device import out_of_memory
from hpt_evaluator_torch.evaluator import TorchEvaluator


def data() -> Any:
    return (torch.ones(4, 3), torch.ones(4, 1)), (torch.ones(2, 3), torch.ones(2, 1))


class Greedy(torch.nn.Linear):
    """Allocates half an exabyte in its first step."""

    def forward(self, X: Any) -> Any:
        return super().forward(X) + torch.empty(2**57)


def evaluator(model: Any) -> TorchEvaluator:
    return TorchEvaluator(model=model, data=data, epochs=1, device="cpu")


def test_a_failed_allocation_is_reported_as_out_of_memory() -> None:
    study = Study({"lr": [0.1, 0.2]}, objective={"loss": "minimize"}, evaluator=evaluator(lambda: Greedy(3, 1)))
    study.run(trials=2)
    for trial in study.trials:
        assert trial.failure is not None
        assert trial.failure.kind == "out-of-memory"
        assert "allocate memory" in trial.failure.message
        assert "in forward" in trial.failure.detail


@pytest.mark.parametrize(
    ("err", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore."), "out-of-memory"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), "out-of-memory"),
        (MemoryError(), "out-of-memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (ValueError("out of memory"), None),
    ],
)
def test_out_of_memory_errors_are_recognised(err: Exception, kind: str | None) -> None:
    found = out_of_memory(err)
    assert (found and found.kind) == kind
    assert found is None or "\n" not in str(found)


def test_an_out_of_memory_failure_holds_no_reference_to_the_model() -> None:
    made: list[Any] = []

    def model() -> Any:
        net = Greedy(3, 1)
        made.append(weakref.ref(net))
        return net

    with pytest.raises(EvaluationError) as caught:
        list(evaluator(model).evaluate(TrialContext(params={}, objectives=("loss",))))
    assert caught.value.__context__ is None
    assert made[0]() is None


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_model_is_freed_when_its_trial_ends(cyclic: bool) -> None:
    made: list[Any] = []

    def model() -> Any:
        assert not [ref for ref in made if ref() is not None]
        net = torch.nn.Linear(3, 1)
        if cyclic:
            net.itself = [net]
        made.append(weakref.ref(net))
        return net

    gc.disable()
    try:
        study = Study({"lr": [0.1, 0.2, 0.3]}, objective={"loss": "minimize"}, evaluator=evaluator(model))
        study.run(trials=3)
        assert [ref() for ref in made] == [None] * 3
    finally:
        gc.enable()


def test_torch_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, hpt_core, hpt_evaluator_torch\n"
        "hpt_core.Study({'x': [1]}, evaluator={'use': 'torch', 'model': 'a:b', 'data': 'a:c', 'scheduler': 'cosine'})\n"
        "assert 'torch' not in sys.modules and 'hpt_evaluator_torch.evaluator' in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
