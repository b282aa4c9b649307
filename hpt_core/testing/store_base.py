"""The base of the store kit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from hpt_core.components import Store
from hpt_core.testing.component import ComponentKit

if TYPE_CHECKING:
    from hpt_core.history.events import Record

__all__ = ["Make", "StoreBase", "notes", "numbers"]

Make = Callable[[Path], Store]


def notes(items: Iterable[int]) -> list[Record]:
    """One record for each number."""
    return [{"event": "note", "time": float(n), "subject": "kit", "content": {"n": n}} for n in items]


def numbers(records: Sequence[Record]) -> list[int]:
    """The numbers of records that `notes` made."""
    return [record["n"] if "n" in record else record["content"]["n"] for record in records]


class StoreBase(ComponentKit):
    """Inherit `StoreKit` instead."""

    persistent: ClassVar[bool] = True
    many_studies: ClassVar[bool] = True
    file_name: ClassVar[str] = "log"

    @pytest.fixture
    def make_store(self) -> Make:
        """Override this to return a callable that makes a new store, as ``return lambda path: MyStore(path=path)``.

        The callable is called several times with the same path, also in several processes. Each call must make a new
        object that shares only the data on disk with the others. The parent directory of the path exists.
        """
        msg = "Override the fixture `make_store` to return a callable that makes your store at a path."
        pytest.fail(msg, pytrace=False)

    @pytest.fixture
    def make_component(self, make_store: Make, tmp_path: Path) -> Callable[[], Any]:
        """Used by the checks that all kits share."""
        return lambda: make_store(self.place(tmp_path))

    def place(self, folder: Path) -> Path:
        """The path of the store."""
        return folder / self.file_name

    def on_disk(self, folder: Path) -> Path:
        """The path of the store; skips the check for a store in memory."""
        if not self.persistent:
            pytest.skip("this store declares persistent = False")
        return self.place(folder)

    @contextlib.contextmanager
    def open(self, make_store: Make, folder: Path) -> Iterator[Store]:
        """Open the store, and close it at the end."""
        with contextlib.closing(make_store(self.place(folder))) as store:
            yield store

    def another(self, make_store: Make, path: Path, store: Store) -> Store:
        """Another object for the same store; the same object for a store in memory."""
        return make_store(path) if self.persistent else store
