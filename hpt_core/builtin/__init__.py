"""What comes with hpt-core itself, offered through the same door as every plugin's components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from hpt_core.study import Study
    from hpt_core.trial import TrialContext

hpt_api_version = 1

_DEFAULTS = {"evaluator": "function", "executor": "local", "store": "memory"}


@hookimpl
def hpt_evaluators() -> dict[str, str]:
    """Offer the function evaluator."""
    return {"function": "hpt_core.builtin.function:FunctionEvaluator"}


@hookimpl
def hpt_stores() -> dict[str, str]:
    """Offer the memory store."""
    return {"memory": "hpt_core.builtin.memory:MemoryStore"}


@hookimpl
def hpt_executors() -> dict[str, str]:
    """Offer the local executor."""
    return {"local": "hpt_core.builtin.local:LocalExecutor"}


@hookimpl(trylast=True)
def hpt_default(kind: str) -> str | None:
    """Offer this package's own components where nobody offers another."""
    return _DEFAULTS.get(kind)


@hookimpl(trylast=True)
def hpt_evaluate(study: Study, trial: TrialContext) -> Any:
    """Run the study's evaluator."""
    evaluator: Any = study.evaluator
    return evaluator.evaluate(trial)
