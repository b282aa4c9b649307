"""Reads a study from a store without running any of it: no component is created, no user code imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpt_core.components import location_of, path_of
from hpt_core.errors import StoreError, UsageError
from hpt_core.loop.ledger import history_of
from hpt_core.plugins.plugins import default_plugins
from hpt_core.spelling import did_you_mean, listed

if TYPE_CHECKING:
    from hpt_core.components import Store
    from hpt_core.history.history import History
    from hpt_core.plugins.plugins import Plugins

__all__ = ["find_study", "load_history", "open_to_read"]


def load_history(store: Any, name: str | None = None, *, plugins: Plugins | None = None) -> History:
    """Read the history of a study in a store. Neither its space nor its evaluator is needed.

    Nothing is written, and no code that the log names is run. The history is a snapshot: load it again to see later
    records.

    Args:
        store: As for `Study`: a path, a URL (``sqlite:///hpt.db``), a mapping, or an open store, which stays open.
        name: The study's name. None: the only study in the store.
        plugins: The plugins to use. None: all installed ones.

    Raises:
        StoreError: If there is no such store or study, or it cannot be read.
        UsageError: If no store component handles ``store``, or the store has several studies and ``name`` is None.
    """
    with open_to_read(store, plugins or default_plugins()) as opened:
        return find_study(opened, name)[1]


@contextmanager
def open_to_read(store: Any, plugins: Plugins, path: str = "store") -> Iterator[Store]:
    """Open an existing store; nothing is created. Closes the store at the end, unless it was passed open.

    Args:
        store: See `load_history`.
        plugins: Find the store component.
        path: The key path or option that names the store, for messages.

    Raises:
        StoreError: If the store does not exist.
        UsageError: If no store component handles ``store``.
    """
    opened: Store = plugins.make_store(store, path)
    file = path_of(opened)
    if file is not None and not os.path.exists(file):  # noqa: PTH110 - Path raises for a long name
        msg = f"There is no {file}: no study was stored there yet. Select another store (--store in the shell)."
        raise StoreError(msg)
    try:
        yield opened
    finally:
        if opened is not store:
            opened.close()


def find_study(store: Store, name: str | None = None) -> tuple[str, History]:
    """Read a study in an open store.

    Args:
        store: The store.
        name: The study's name. None: the only study in the store.

    Returns:
        The study's name and its history.

    Raises:
        StoreError: If there is no such study; the message lists those that exist.
        UsageError: If there are several studies and ``name`` is None.
    """
    names = list(store.studies())
    where = location_of(store)
    if not names:
        msg = f"There is no study in {where}."
        raise StoreError(msg)
    if name is None:
        if len(names) > 1:
            how = "name one with --study in the shell or name=... in Python"
            msg = f"There are {len(names)} studies in {where}; {how}: {listed(names)}."
            raise UsageError(msg)
        name = names[0]
    if name not in names:
        hint = did_you_mean(str(name), names)
        msg = f"There is no study {name!r} in {where}.{hint} Studies there: {listed(names)}."
        raise StoreError(msg)
    return name, history_of(store, name)
