"""The process of one trial: it evaluates the trial and sends its reports and result; `trial_process` starts it.

It receives the pickled evaluator and trial, ``next`` or ``close`` after each report, and ``end`` after the result. It
sends JSON, so that the process of the study needs none of the trial's libraries.
"""

from __future__ import annotations

import inspect
import json
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from hpt_core import EvaluationError, Report
from hpt_evaluator_wrap.plain import plain_number, plain_result
from hpt_evaluator_wrap.wrapper import Running, Wrapper, message_of

__all__ = ["main"]

_PACKAGES = (sys.modules[item.__module__.partition(".")[0]] for item in (Report, Wrapper))
_OWN_FOLDERS = tuple(f"{Path(inspect.getfile(package)).parent}{os.sep}" for package in _PACKAGES)


def main(descriptor: int) -> None:
    """Evaluate the trial that is received through a connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process of the study receives Ctrl-C, too, and ends this one
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # processes that the trial starts may need it
    pipe = Connection(descriptor)
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, requests), daemon=True).start()

    def ask(report: Report) -> bytes:
        value = plain_number(report.value, f"The value reported at step {report.step}")
        content = {"report": [report.step, value, plain_result(report.metrics)]}
        pipe.send_bytes(json.dumps(content, default=_plain_step).encode())
        return requests.get()

    try:
        evaluator, trial = pickle.loads(requests.get())  # noqa: S301 - the process that started this one has pickled it
        message = json.dumps({"result": plain_result(_evaluate(evaluator, trial, ask))})
    except BaseException as err:  # noqa: BLE001 - SystemExit is a failure of the trial, too
        message = json.dumps({"error": _description(err)})
    with suppress(OSError):  # the study is gone
        pipe.send_bytes(message.encode())
        requests.get()  # stay until the study has found the processes that the trial has left behind


def _receive(pipe: Connection, requests: SimpleQueue[bytes]) -> None:
    """Receive until the process of the study is gone, then end this process and all that it started."""
    with suppress(EOFError, OSError):
        while True:
            requests.put(pipe.recv_bytes())
    import psutil

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.terminate()
    os._exit(1)


def _plain_step(step: Any) -> Any:
    """A step of numpy's types as Python's int; any other as text, which the core refuses."""
    return step.item() if hasattr(step, "dtype") and getattr(step, "ndim", None) == 0 else repr(step)


def _evaluate(evaluator: Any, trial: Any, ask: Callable[[Report], bytes]) -> Any:
    with Running(evaluator.evaluate(trial)) as running:
        for report in running:
            if not isinstance(report, Report):
                msg = f"An evaluator must yield Report objects. Got {type(report).__name__} {report!r:.80}."
                raise EvaluationError(msg, kind="invalid-value")
            if ask(report) == b"close":
                return None
    return running.result


def _description(err: BaseException) -> tuple[str, str, str]:
    """Message, kind and detail of an error. The detail is a traceback without the leading frames of hpt."""
    trace = err.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OWN_FOLDERS):
        trace = trace.tb_next
    detail = "".join(traceback.format_exception(type(err), err, trace or err.__traceback__))
    message = message_of(err)
    if isinstance(err, EvaluationError):
        text = message.removeprefix(f"{type(err).__name__}: ")
        return text, str(err.kind), err.detail or (detail if err.__cause__ else "")
    return message, "out-of-memory" if isinstance(err, MemoryError) else "error", detail
