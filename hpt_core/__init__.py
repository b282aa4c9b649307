"""hpt: hyperparameter tuning in which everything but the contracts is a plugin.

Names are imported on first use, so ``import hpt_core`` is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpt_core.components import (
        Evaluator,
        Executor,
        Pause,
        PromotionRule,
        Sampler,
        Stop,
        StoppingRule,
        Store,
        StudyRule,
        Suggestion,
        TrialRule,
        WorkerCall,
    )
    from hpt_core.errors import (
        DefinitionChangedError,
        EvaluationError,
        HptError,
        InvalidParamsError,
        Mistake,
        NothingSucceededError,
        PluginError,
        SpaceError,
        SpaceExhausted,
        StoreError,
        UsageError,
    )
    from hpt_core.files import replace_file
    from hpt_core.history.events import Record
    from hpt_core.history.history import History
    from hpt_core.history.record_json import decode_records, encode_record
    from hpt_core.history.trial import Failure, Params, Report, State, Trial, TrialContext
    from hpt_core.hookspecs import hookimpl
    from hpt_core.importing import import_object
    from hpt_core.locks import file_lock, wait_for
    from hpt_core.loop.serving import Peer, StoreServer, run_served
    from hpt_core.options import option
    from hpt_core.pickling import pickle_by_value
    from hpt_core.plugins.plugins import Plugins
    from hpt_core.space.space import Categorical, Constant, Float, Int, Ordinal, Space
    from hpt_core.study.loading import load_history
    from hpt_core.study.study import Study

_HOME = {
    "components": (
        "Evaluator", "Executor", "Pause", "PromotionRule", "Sampler", "Stop", "StoppingRule", "Store", "StudyRule",
        "Suggestion", "TrialRule", "WorkerCall",
    ),
    "errors": (
        "DefinitionChangedError", "EvaluationError", "HptError", "InvalidParamsError", "Mistake",
        "NothingSucceededError", "PluginError", "SpaceError", "SpaceExhausted", "StoreError", "UsageError",
    ),
    "files": ("replace_file",),
    "history.events": ("Record",),
    "history.history": ("History",),
    "history.record_json": ("decode_records", "encode_record"),
    "history.trial": ("Failure", "Params", "Report", "State", "Trial", "TrialContext"),
    "hookspecs": ("hookimpl",),
    "importing": ("import_object",),
    "locks": ("file_lock", "wait_for"),
    "loop.serving": ("Peer", "StoreServer", "run_served"),
    "options": ("option",),
    "pickling": ("pickle_by_value",),
    "plugins.plugins": ("Plugins",),
    "space.space": ("Categorical", "Constant", "Float", "Int", "Ordinal", "Space"),
    "study.loading": ("load_history",),
    "study.study": ("Study",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "Categorical",
    "Constant",
    "DefinitionChangedError",
    "EvaluationError",
    "Evaluator",
    "Executor",
    "Failure",
    "Float",
    "History",
    "HptError",
    "Int",
    "InvalidParamsError",
    "Mistake",
    "NothingSucceededError",
    "Ordinal",
    "Params",
    "Pause",
    "Peer",
    "PluginError",
    "Plugins",
    "PromotionRule",
    "Record",
    "Report",
    "Sampler",
    "Space",
    "SpaceError",
    "SpaceExhausted",
    "State",
    "Stop",
    "StoppingRule",
    "Store",
    "StoreError",
    "StoreServer",
    "Study",
    "StudyRule",
    "Suggestion",
    "Trial",
    "TrialContext",
    "TrialRule",
    "UsageError",
    "WorkerCall",
    "decode_records",
    "encode_record",
    "file_lock",
    "hookimpl",
    "import_object",
    "load_history",
    "option",
    "pickle_by_value",
    "replace_file",
    "run_served",
    "wait_for",
]


if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
