"""Shared by all commands that read a store: their options, and opening the store without changing it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpt_core.cli.session import Session
from hpt_core.components import location_of

if TYPE_CHECKING:
    from hpt_core.components import Store
    from hpt_core.history.history import History

__all__ = [
    "Opened",
    "default_store",
    "json_option",
    "open_store",
    "open_study",
    "store_option",
    "study_option",
]

F = TypeVar("F", bound=Callable[..., Any])


def default_store() -> str:
    """The store if the user names none."""
    return os.environ.get("HPT_STORE") or "hpt.db"


def _complete_study(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    try:
        session = ctx.find_object(Session) or Session()
        with open_store(session, ctx.params.get("store")) as store:
            return [name for name in store.studies() if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - shell completion must not print errors
        return []


def store_option(command: F) -> F:
    """Add ``--store``."""
    text = "Path or URL of the store. Default: $HPT_STORE, else hpt.db in the current directory."
    return click.option("--store", metavar="PATH|URL", shell_complete=click.Path().shell_complete, help=text)(command)


def study_option(command: F) -> F:
    """Add ``--study``."""
    text = "Name of the study. Not needed if the store has only one."
    return click.option("--study", metavar="NAME", shell_complete=_complete_study, help=text)(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@contextmanager
def open_store(session: Session, location: str | None) -> Iterator[Store]:
    """Open an existing store for reading; nothing is created.

    Args:
        session: Provides the plugins.
        location: As given by the user; None for the default store.

    Raises:
        UsageError: If no kind of store can be at this location.
        StoreError: If there is no store.
    """
    from hpt_core.study.loading import open_to_read

    path = "--store" if location is not None else "HPT_STORE" if os.environ.get("HPT_STORE") else "store"
    with open_to_read(default_store() if location is None else location, session.plugins, path) as store:
        yield store


class Opened:
    """A study that was opened for reading.

    Attributes:
        store: Its open store.
        name: Its name.
        history: Its history.
    """

    def __init__(self, store: Store, name: str, history: History) -> None:
        self.store = store
        self.name = name
        self.history = history

    @property
    def head(self) -> dict[str, Any]:
        """The first keys of every JSON answer: the location of the store and the name of the study."""
        return {"store": location_of(self.store), "study": self.name}


@contextmanager
def open_study(session: Session, location: str | None, name: str | None) -> Iterator[Opened]:
    """Open a store and read one of its studies; no code of the user is run.

    Raises:
        StoreError: If there is no such study.
    """
    from hpt_core.study.loading import find_study

    with open_store(session, location) as store:
        yield Opened(store, *find_study(store, name))
