"""What all kits are made of: a check that says its rule when it fails, and a way to run checks without pytest."""

from __future__ import annotations

import inspect
import random
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

from hpt_core.space import Space

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

_DAY = 86_400.0


def check(function: Callable[P, None]) -> Callable[P, None]:
    """Make a test method say the rule that was broken, and why it matters, whatever went wrong in it.

    Both are its docstring: the rule is the first paragraph, the reason the second, beginning with ``Why:``. The fixture
    ``space`` may be a mapping, as `Study` takes it.
    """

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        __tracebackhide__ = True
        given: Any = kwargs
        try:
            if isinstance(given.get("space"), Mapping):
                given["space"] = Space(given["space"])
            function(*args, **kwargs)
        except (Exception, pytest.fail.Exception) as err:
            rule, why = rule_of(function)
            msg = f"Broken rule: {rule}\nWhy it matters: {why}\nSeen: {_seen(err)}"
            raise AssertionError(msg) from err

    return checked


def _seen(err: BaseException) -> str:
    if not isinstance(err, (AssertionError, pytest.fail.Exception)):
        return f"it raised {type(err).__name__}: {err}"
    return str(err) or f"this does not hold: {traceback.extract_tb(err.__traceback__)[-1].line}"


def rule_of(function: Callable[..., object]) -> tuple[str, str]:
    """The rule that a check stands for, and why it matters."""
    rule, _, why = (inspect.getdoc(function) or "").partition("\n\nWhy: ")
    return " ".join(rule.split()), " ".join(why.split())


def checks_of(kit: type) -> list[str]:
    """The names of a kit's checks, in order of definition, those of its bases last."""
    found = {name: None for cls in kit.__mro__ for name in vars(cls) if name.startswith("test_")}
    return list(found)


def broken_rules(kit: type, fixtures: Mapping[str, object]) -> dict[str, str]:
    """Run all checks of a kit without pytest.

    Args:
        kit: The kit, or a class that inherits it.
        fixtures: Fixture name -> value; ``tmp_path`` and ``monkeypatch`` are made anew for each check.

    Returns:
        Name of each check that fails -> its message.
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
    """Set the process's global randomness to a known state meanwhile, and give it back as it was."""
    before, before_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - this is what is looked after
    random.seed(salt)
    np.random.seed(salt)  # noqa: NPY002 - this is what is looked after
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)  # noqa: NPY002 - this is what is looked after


def global_state() -> tuple[object, ...]:
    """The state of the process's global generators, to compare."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - this is what is looked after
    return random.getstate(), name, np.asarray(keys).tobytes(), *rest


def drawn_from(before: tuple[object, ...]) -> str:
    """The module whose global generator is not in the state that `global_state` gave; empty where both are."""
    now = global_state()
    return "random" if now[0] != before[0] else "numpy.random" if now != before else ""


def another_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Move every clock of the process a day on."""
    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, _late(getattr(time, name)))


def _late(clock: Callable[[], float]) -> Callable[[], float]:
    return lambda: clock() + _DAY


def within(seconds: float, *functions: Callable[[], T]) -> list[T]:
    """Call functions that might hang, each in a thread of its own.

    Returns:
        What they returned.

    Raises:
        AssertionError: If one has not returned in time.
        Exception: Whatever one raised.
    """
    done: dict[int, T] = {}
    failed: list[Exception] = []

    def work(number: int, function: Callable[[], T]) -> None:
        try:
            done[number] = function()
        except Exception as err:  # noqa: BLE001 - it is raised in the caller's thread
            failed.append(err)

    threads = [threading.Thread(target=work, args=item, daemon=True) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(deadline - time.monotonic() if deadline > time.monotonic() else 0)
    if failed:
        raise failed[0]
    assert len(done) == len(functions), f"it still hangs after {seconds:g} s"
    return [done[number] for number in range(len(functions))]
