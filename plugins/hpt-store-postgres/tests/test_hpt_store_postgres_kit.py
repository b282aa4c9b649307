"""The conformance kit on the store."""

from __future__ import annotations

import hashlib
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpt_core.testing import StoreKit
from hpt_store_postgres.store import PostgresStore

server = runpy.run_path(str(Path(__file__).with_name("test_hpt_store_postgres_server.py")))["server"]


class TestPostgres(StoreKit):
    @pytest.fixture
    def make_store(self, server: Any) -> Callable[[Path], PostgresStore]:
        """Each path is a database of its own, which may be made in another process."""

        def make(path: Path) -> PostgresStore:
            name = "db" + hashlib.sha256(str(path).encode()).hexdigest()[:16]
            return PostgresStore(url=server.url(server.database(name)), lock_timeout=20)

        return make
