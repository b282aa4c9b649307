"""Test tools for plugin authors: conformance kits, made-up histories, Hypothesis strategies.

The kits need pytest, the `strategies` need Hypothesis (``pip install hpt-core[test]``). Both are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpt_core.testing.histories import make_history

if TYPE_CHECKING:
    from hpt_core.testing.evaluator import EvaluatorKit
    from hpt_core.testing.executor import ExecutorKit
    from hpt_core.testing.sampler import SamplerKit
    from hpt_core.testing.stopping import StoppingRuleKit
    from hpt_core.testing.store import StoreKit

__all__ = ["EvaluatorKit", "ExecutorKit", "SamplerKit", "StoppingRuleKit", "StoreKit", "make_history"]

_KITS = {
    "EvaluatorKit": "evaluator",
    "ExecutorKit": "executor",
    "SamplerKit": "sampler",
    "StoppingRuleKit": "stopping",
    "StoreKit": "store",
}


if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        if name not in _KITS:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        kit = getattr(import_module(f"{__name__}.{_KITS[name]}"), name)
        globals()[name] = kit
        return kit


def __dir__() -> list[str]:
    return list(__all__)
