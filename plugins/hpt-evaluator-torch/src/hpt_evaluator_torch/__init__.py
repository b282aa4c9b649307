"""hpt plugin: the evaluator `torch`, which trains PyTorch models."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_evaluators() -> dict[str, str]:
    """Name the evaluator of this plugin."""
    return {"torch": "hpt_evaluator_torch.evaluator:TorchEvaluator"}
