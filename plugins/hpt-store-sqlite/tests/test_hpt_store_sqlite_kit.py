"""The conformance kit on the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpt_core.testing import StoreKit
from hpt_store_sqlite.store import SqliteStore


class TestSqlite(StoreKit):
    @pytest.fixture
    def make_store(self) -> Callable[[Path], SqliteStore]:
        return lambda path: SqliteStore(path=path)
