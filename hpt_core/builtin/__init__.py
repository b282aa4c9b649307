"""The built-in components of hpt-core, registered through the same hooks as those of any plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from hpt_core.history.trial import TrialContext
    from hpt_core.study.study import Study

hpt_api_version = 1

_DEFAULTS = {"evaluator": "function", "executor": "local", "store": "memory"}


@hookimpl
def hpt_evaluators() -> dict[str, str]:
    """Register the function evaluator."""
    return {"function": "hpt_core.builtin.function:FunctionEvaluator"}


@hookimpl
def hpt_stores() -> dict[str, str]:
    """Register the memory store."""
    return {"memory": "hpt_core.builtin.memory:MemoryStore"}


@hookimpl
def hpt_executors() -> dict[str, str]:
    """Register the local executor."""
    return {"local": "hpt_core.builtin.local:LocalExecutor"}


@hookimpl(trylast=True)
def hpt_default(kind: str) -> str | None:
    """Use the built-in component of a kind if no plugin names a default."""
    return _DEFAULTS.get(kind)


@hookimpl(trylast=True)
def hpt_evaluate(study: Study, trial: TrialContext) -> Any:
    """Run the study's evaluator."""
    return study.evaluator.evaluate(trial)
