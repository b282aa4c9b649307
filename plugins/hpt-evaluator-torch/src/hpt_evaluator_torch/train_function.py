"""Training by the user's own function, which yields values as it trains."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import torch

from hpt_core import EvaluationError, Report, TrialContext
from hpt_evaluator_torch.randomness import undisturbed

__all__ = ["own_reports"]


def own_reports(
    result: Any, trial: TrialContext, device: Any, *, resumable: bool
) -> Generator[Report, None, float | Mapping[str, float] | None]:
    """Turn what a training function yields into reports.

    Args:
        result: What it returned: a generator of values, ``(step, value)`` pairs, mappings by name or `Report` objects;
            or the result itself.
        trial: The trial.
        device: The device whose random state is preserved while other code runs.
        resumable: Whether the function resumes after ``trial.resume_step``. Otherwise it has started again, and steps
            that were already reported are skipped.

    Returns:
        What the function returned.

    Raises:
        EvaluationError: If it yields a mapping without the first objective.
    """
    if not isinstance(result, Iterator):
        return result  # type: ignore[no-any-return]
    step = trial.resume_step if resumable else 0
    try:
        while True:
            try:
                item = next(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            report = _report(item, step + 1, trial.objectives[0])
            step = report.step
            if resumable or not 0 < report.step <= trial.resume_step:  # the core refuses step 0
                with undisturbed(device):
                    yield report
    finally:
        getattr(result, "close", lambda: None)()


def _report(item: Any, step: int, objective: str) -> Report:
    if isinstance(item, Report):
        return item
    if isinstance(item, tuple) and len(item) == 2:
        return Report(item[0], _detached(item[1]))
    if isinstance(item, Mapping):
        if objective not in item:
            msg = f"The report lacks the objective {objective!r}. Got {sorted(map(str, item))}."
            raise EvaluationError(msg, kind="invalid-value")
        values = {name: _detached(value) for name, value in item.items()}
        rest = {name: value for name, value in values.items() if name not in {objective, "step"}}
        return Report(values.get("step", step), values[objective], rest)
    return Report(step, _detached(item))


def _detached(value: Any) -> Any:
    """The value without its gradient: torch warns if a tensor that requires one is converted to a number."""
    return value.detach() if isinstance(value, torch.Tensor) else value
