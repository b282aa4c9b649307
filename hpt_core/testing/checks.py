"""The building blocks of all kits: checks that state the broken rule, and a way to run them without pytest."""

from __future__ import annotations

import datetime as dt
import faulthandler
import inspect
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pytest

from hpt_core.space.space import Space
from hpt_core.testing.processes import STDERR

__all__ = [
    "another_day",
    "broken_rules",
    "check",
    "checks_of",
    "drawn_from",
    "global_state",
    "pinned",
    "rule_of",
    "within",
]

P = ParamSpec("P")
T = TypeVar("T")

_LATER = dt.timedelta(days=1, hours=5, minutes=7, seconds=11.3)
"""No whole number of days, hours, minutes or seconds: the time of day is another one, too."""


def check(function: Callable[P, None]) -> Callable[P, None]:
    """Decorate a test method so that any failure in it states the broken rule and why the rule matters.

    Both come from its docstring: the rule is the first paragraph, the reason is the second, which begins with ``Why:``.
    The fixture ``space`` may be a mapping, as `Study` accepts it.
    """

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        __tracebackhide__ = True
        if not __debug__:
            pytest.fail("The kits check with assert statements: run Python without -O.", pytrace=False)
        given: Any = kwargs
        try:
            if isinstance(given.get("space"), Mapping):
                given["space"] = Space(given["space"])
            function(*args, **kwargs)
        except (Exception, pytest.fail.Exception) as err:  # noqa: BLE001 - raised again with the rule
            rule, why = rule_of(function)
            msg = f"Broken rule: {rule}\nWhy it matters: {why}\nWhat happened: {_what_happened(err)}"
            # in place of the failure, with its traceback and cause: chained to it, pytest would tell it twice
            raise AssertionError(msg).with_traceback(err.__traceback__) from err.__cause__ or err.__context__

    return checked


def _what_happened(err: BaseException) -> str:
    if not isinstance(err, (AssertionError, pytest.fail.Exception)):
        return f"it raised {type(err).__name__}: {err}"
    return str(err) or f"this assertion failed: {traceback.extract_tb(err.__traceback__)[-1].line}"


def rule_of(function: Callable[..., object]) -> tuple[str, str]:
    """The rule that a check verifies, and why it matters."""
    rule, _, why = (inspect.getdoc(function) or "").partition("\n\nWhy: ")
    return " ".join(rule.split()), " ".join(why.split())


def checks_of(kit: type) -> list[str]:
    """The names of a kit's checks in order of definition, those of base classes last."""
    found = {name: None for cls in kit.__mro__ for name in vars(cls) if name.startswith("test_")}
    return list(found)


def broken_rules(kit: type, fixtures: Mapping[str, object]) -> dict[str, str]:
    """Run all checks of a kit without pytest.

    Args:
        kit: The kit, or a subclass of it.
        fixtures: Fixture name -> value; each check gets a new ``tmp_path`` and ``monkeypatch``.

    Returns:
        Name of each failed check -> its message.
    """
    failed = {}
    for name in checks_of(kit):
        with (
            tempfile.TemporaryDirectory(prefix="hpt-kit-", ignore_cleanup_errors=True) as folder,
            pytest.MonkeyPatch.context() as patch,
        ):
            known = {**fixtures, "tmp_path": Path(folder), "monkeypatch": patch}
            method = getattr(kit(), name)
            try:
                method(**{wanted: known[wanted] for wanted in inspect.signature(method).parameters})
            except AssertionError as err:
                failed[name] = str(err)
            except pytest.skip.Exception:
                continue
    return failed


@contextmanager
def pinned(salt: int = 0) -> Iterator[None]:
    """Seed the global random generators of the process, and restore their state at the end."""
    before, before_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the kits guard the global generator
    random.seed(salt)
    np.random.seed(salt)  # noqa: NPY002 - the kits guard the global generator
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)  # noqa: NPY002 - the kits guard the global generator


def global_state() -> tuple[object, ...]:
    """The state of the process's global random generators, for comparison."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the kits guard the global generator
    return random.getstate(), name, np.asarray(keys).tobytes(), *rest


def drawn_from(before: tuple[object, ...]) -> str:
    """The module whose global generator is no longer in the state ``before``; empty if both are."""
    now = global_state()
    return "random" if now[0] != before[0] else "numpy.random" if now != before else ""


class _LaterDatetime(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> _LaterDatetime:
        return super().now(tz) + _LATER


def another_day(monkeypatch: pytest.MonkeyPatch, component: object) -> None:
    """Advance all clocks by more than a day, also those that the component's package has imported by name."""
    later: dict[int, Any] = {id(dt.datetime): _LaterDatetime}
    for name in ("time", "monotonic", "perf_counter"):
        seconds, nanoseconds = getattr(time, name), getattr(time, f"{name}_ns")
        later[id(seconds)] = _advanced(seconds, _LATER.total_seconds())
        later[id(nanoseconds)] = _advanced(nanoseconds, int(_LATER.total_seconds() * 1e9))
    package = type(component).__module__.partition(".")[0]
    own = [module for name, module in sys.modules.items() if name.partition(".")[0] == package]
    for module in (time, dt, *own):
        for name, value in list(vars(module).items()):
            if id(value) in later:
                monkeypatch.setattr(module, name, later[id(value)])


def _advanced(clock: Callable[[], float], by: float) -> Callable[[], float]:
    return lambda: clock() + by


def within(seconds: float, *functions: Callable[[], T]) -> list[T]:
    """Call functions that might hang, each in its own thread.

    Returns:
        Their results.

    Raises:
        AssertionError: If a function has not returned in time.
        Exception: Whatever a function raised.
    """
    done: dict[int, T] = {}
    failed: list[Exception] = []

    def work(number: int, function: Callable[[], T]) -> None:
        try:
            done[number] = function()
        except Exception as err:  # noqa: BLE001 - raised again in the caller's thread
            failed.append(err)

    threads = [threading.Thread(target=work, args=item, daemon=True) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(deadline - time.monotonic() if deadline > time.monotonic() else 0)
    if failed:
        raise failed[0]
    if len(done) < len(functions):
        faulthandler.dump_traceback(file=STDERR)
        msg = f"a call has not returned within {seconds:g} s; stderr has what each thread was doing"
        raise AssertionError(msg)
    return [done[number] for number in range(len(functions))]
