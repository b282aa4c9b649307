"""What the parts of the store kit have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from hpt_core.components import Store
from hpt_core.testing.component import ComponentKit

if TYPE_CHECKING:
    from hpt_core.events import Record

__all__ = ["Make", "StoreBase", "notes", "numbers"]

Make = Callable[[Path], Store]


def notes(items: Iterable[int]) -> list[Record]:
    """A record for each number."""
    return [{"event": "note", "time": float(n), "subject": "kit", "content": {"n": n}} for n in items]


def numbers(records: Sequence[Record]) -> list[int]:
    """The numbers of such records."""
    return [record["n"] if "n" in record else record["content"]["n"] for record in records]


class StoreBase(ComponentKit):
    """Inherit `StoreKit` instead."""

    persistent: ClassVar[bool] = True
    many_studies: ClassVar[bool] = True
    file_name: ClassVar[str] = "log"

    @pytest.fixture
    def make_store(self) -> Make:
        """Override this: a callable that makes a new store at a path, as ``return lambda path: MyStore(path=path)``.

        It is called several times with one path, in several processes too: each time it must make a new object that
        shares nothing with the others but what is on disk. The folder of the path is there.
        """
        msg = "Override the fixture `make_store` to return a callable that makes your store at a path."
        pytest.fail(msg, pytrace=False)

    @pytest.fixture
    def make_component(self, make_store: Make, tmp_path: Path) -> Callable[[], Any]:
        """For the checks of all kits."""
        return lambda: make_store(self.place(tmp_path))

    def place(self, folder: Path) -> Path:
        """Where the checks keep the store."""
        return folder / self.file_name

    def on_disk(self, folder: Path) -> Path:
        """The place, for checks that a store which lives in memory is spared."""
        if not self.persistent:
            pytest.skip("this store lives in the memory of one process")
        return self.place(folder)

    @contextlib.contextmanager
    def open(self, make_store: Make, folder: Path) -> Iterator[Store]:
        """A store that is closed in the end."""
        with contextlib.closing(make_store(self.place(folder))) as store:
            yield store

    def another(self, make_store: Make, path: Path, store: Store) -> Store:
        """Another object for the same store; the same one where it only lives in memory."""
        return make_store(path) if self.persistent else store
