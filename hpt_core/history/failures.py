"""Describes an exception that ended a trial as a `Failure`."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from hpt_core.errors import EvaluationError
from hpt_core.history.trial import FAILURE_KINDS, Failure
from hpt_core.tracebacks import CORE_FOLDER, without_leading

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["failure_of"]

_PLUGGY_FOLDER = f"{Path(pluggy.__file__).parent}{os.sep}"
_DETAIL_LIMIT = 64 * 1024
_MESSAGE_LIMIT = 2_000


def failure_of(err: BaseException, evaluator: object = None) -> Failure:
    """Describe an exception that ended a trial.

    Args:
        err: The exception.
        evaluator: The evaluator that raised it; the frames of its package are left out of the traceback.
    """
    try:
        message = ": ".join(filter(None, [type(err).__name__, str(err)]))[:_MESSAGE_LIMIT]
    except BaseException:  # noqa: BLE001 - a third-party __str__ may raise anything, such as SystemExit
        message = type(err).__name__
    trace = _user_frames(err.__traceback__, evaluator)
    detail = "".join(traceback.format_exception(type(err), err, trace))[-_DETAIL_LIMIT:]
    if isinstance(err, EvaluationError):
        kind = err.kind if err.kind in FAILURE_KINDS else "error"
        message = message.removeprefix(f"{type(err).__name__}: ")
        return Failure(kind, message, (err.detail or (detail if err.__cause__ else ""))[-_DETAIL_LIMIT:])
    return Failure("out-of-memory" if isinstance(err, MemoryError) else "error", message, detail)


def _user_frames(trace: TracebackType | None, evaluator: object) -> TracebackType | None:
    """Skip the leading frames of hpt, pluggy and the evaluator's package; keep those of the package if none is left.

    If hpt alone raised, all frames are kept, as it is a bug. None if a function without frames (``math.sqrt``) raised:
    then the frame that called it is the evaluator's.
    """
    module = sys.modules.get(type(evaluator).__module__)
    package = sys.modules.get(type(evaluator).__module__.partition(".")[0])
    hpt = (CORE_FOLDER, _PLUGGY_FOLDER)
    folders = (*hpt, *(f"{place}{os.sep}" for place in getattr(package, "__path__", ())))
    first = frame = trace
    innermost = ""
    while frame is not None:  # start at pluggy's last frame: a plugin may wrap the evaluation between hpt and evaluator
        innermost = frame.tb_frame.f_code.co_filename
        if innermost.startswith(_PLUGGY_FOLDER):
            first = frame
        frame = frame.tb_next
    found = without_leading(first, folders) or without_leading(first, hpt)
    if found is None and innermost.startswith(CORE_FOLDER) and innermost == getattr(module, "__file__", None):
        return None
    return found or trace
