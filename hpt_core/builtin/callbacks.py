"""Lets a function report from a callback of a library, which cannot yield."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any

__all__ = ["as_generator"]

_END = object()


def as_generator(function: Callable[[Callable[[Any], None]], Any]) -> Generator[Any, None, Any]:
    """Call ``function(report)`` in a thread and yield what it reports.

    ``report`` returns when the next item is asked for. It raises `GeneratorExit` once the generator is closed, as
    ``yield`` does in a generator. The thread has a copy of the caller's context variables.

    Returns:
        What the function returns.

    Raises:
        BaseException: What the function raises.
    """
    items: SimpleQueue[Any] = SimpleQueue()
    resumed: SimpleQueue[None] = SimpleQueue()
    closed = threading.Event()
    outcome: Future[Any] = Future()

    def report(item: Any) -> None:
        if not closed.is_set():
            items.put(item)
            resumed.get()
        if closed.is_set():
            raise GeneratorExit

    def run() -> None:
        try:
            outcome.set_result(function(report))
        except BaseException as err:  # noqa: BLE001 - raised in the thread of the caller
            outcome.set_exception(err)
        items.put(_END)

    context = contextvars.copy_context()
    try:
        threading.Thread(target=context.run, args=(run,), daemon=True, name="hpt-function").start()
        for item in iter(items.get, _END):
            yield item
            resumed.put(None)
        error = outcome.exception()
        if error is not None:
            raise error  # result() would add frames of its own to the traceback, before those of the function
        return outcome.result()
    except GeneratorExit:
        closed.set()
        resumed.put(None)
        wait([outcome])  # until it has cleaned up. What it raises is not raised here: libraries wrap the exception
        raise
    finally:
        closed.set()  # after Ctrl-C the function still runs; it ends at its next report
        resumed.put(None)
