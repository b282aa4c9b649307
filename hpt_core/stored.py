"""A study that is in a store, read without running anything of it: no component is made, no user code imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpt_core.components import location_of
from hpt_core.errors import StoreError, UsageError
from hpt_core.ledger import history_of
from hpt_core.plugins import default_plugins
from hpt_core.spelling import did_you_mean

if TYPE_CHECKING:
    from hpt_core.components import Store
    from hpt_core.history import History
    from hpt_core.plugins import Plugins

__all__ = ["find_study", "load_history", "open_to_read"]


def load_history(store: Any, name: str | None = None, *, plugins: Plugins | None = None) -> History:
    """Read a study that is in a store, to look at it: neither its space nor its function is needed.

    Nothing is written, and nothing that the log names is run. The history is as the log tells it now; load it again
    to see what has come since.

    Args:
        store: As in `Study`: a path, a URL (``sqlite:///hpt.db``), a mapping, or an open store, which stays open.
        name: The study's name; None: the only one there is.
        plugins: The plugins to use; None: all installed.

    Raises:
        StoreError: If there is no such store or study, or it cannot be read.
        UsageError: If no store keeps such a thing, or there are several studies and none was named.
    """
    with open_to_read(store, plugins or default_plugins()) as opened:
        return find_study(opened, name)[1]


@contextmanager
def open_to_read(store: Any, plugins: Plugins, path: str = "store", remedy: str = "") -> Iterator[Store]:
    """Open a store that is there; nothing is created, and what is opened here is closed at the end.

    Args:
        store: See `load_history`.
        plugins: Find the store.
        path: What the user calls it, for messages.
        remedy: What to do if there is none.

    Raises:
        StoreError: If there is none.
        UsageError: If no store keeps such a thing.
    """
    opened: Store = plugins.make_store(store, path)
    file = getattr(opened, "path", None)
    if isinstance(file, (str, os.PathLike)) and not os.path.exists(file):  # noqa: PTH110 - Path raises for a long one
        msg = f"There is no {os.fspath(file)}: no study was kept there yet.{remedy}"
        raise StoreError(msg)
    try:
        yield opened
    finally:
        if opened is not store:
            opened.close()


def find_study(store: Store, name: str | None = None) -> tuple[str, History]:
    """Read the study of this name in an open store.

    Args:
        store: The store.
        name: The study's name; None: the only one there is.

    Returns:
        The study's name and its history.

    Raises:
        StoreError: If there is no such study; says which there are.
        UsageError: If there are several and none was named.
    """
    names = list(store.studies())
    where = location_of(store)
    if not names:
        msg = f"There is no study in {where}."
        raise StoreError(msg)
    if name is None:
        if len(names) > 1:
            msg = f"There are {len(names)} studies in {where}; name one: {', '.join(names[:20])}."
            raise UsageError(msg)
        name = names[0]
    if name not in names:
        msg = f"There is no study {name!r} in {where}.{did_you_mean(str(name), names)} There: {', '.join(names[:20])}."
        raise StoreError(msg)
    return name, history_of(store, name)
