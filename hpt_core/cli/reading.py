"""What all commands that read a store have in common: their options, and opening the store without touching it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpt_core.cli.session import Session
from hpt_core.components import location_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpt_core.components import Store
    from hpt_core.history import History

__all__ = ["DEFAULT_STORE", "Opened", "default_store", "json_option", "open_store", "open_study",
           "store_option", "study_option"]  # fmt: skip

DEFAULT_STORE = "hpt.db"

F = TypeVar("F", bound=Callable[..., Any])


def default_store() -> str:
    """Where studies are kept if nobody says where."""
    return os.environ.get("HPT_STORE") or DEFAULT_STORE


def _complete_study(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    try:
        session = ctx.find_object(Session) or Session()
        with open_store(session, ctx.params.get("store")) as store:
            return [name for name in store.studies() if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a shell that completes a word is no place for messages
        return []


def store_option(command: F) -> F:
    """Add ``--store``."""
    text = "Where the study is: a path or URL. Default: $HPT_STORE, else hpt.db here."
    return click.option("--store", metavar="PATH|URL", shell_complete=click.Path().shell_complete, help=text)(command)


def study_option(command: F) -> F:
    """Add ``--study``."""
    text = "The study's name; may be left out where there is one."
    return click.option("--study", metavar="NAME", shell_complete=_complete_study, help=text)(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


@contextmanager
def open_store(session: Session, location: str | None) -> Iterator[Store]:
    """Open a store that is there, to read; nothing is created.

    Args:
        session: Has the plugins.
        location: As the user gave it; None: the default one.

    Raises:
        UsageError: If no store keeps such a thing.
        StoreError: If there is none.
    """
    from hpt_core.stored import open_to_read

    path = "--store" if location else "store"
    remedy = " --store names another place."
    with open_to_read(location or default_store(), session.plugins, path, remedy) as store:
        yield store


class Opened:
    """A study that was read.

    Attributes:
        store: Its open store.
        name: Its name.
        history: What its log tells.
    """

    def __init__(self, store: Store, name: str, history: History) -> None:
        self.store = store
        self.name = name
        self.history = history

    @property
    def head(self) -> dict[str, Any]:
        """What every JSON answer begins with: the store's location and the study's name."""
        return {"store": location_of(self.store), "study": self.name}


@contextmanager
def open_study(session: Session, location: str | None, name: str | None) -> Iterator[Opened]:
    """Open a store and read a study of it; nothing of the user's code is run.

    Raises:
        StoreError: If there is no such study.
    """
    from hpt_core.stored import find_study

    with open_store(session, location) as store:
        yield Opened(store, *find_study(store, name))
