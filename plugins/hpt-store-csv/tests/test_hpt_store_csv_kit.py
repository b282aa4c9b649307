"""The conformance kit on the store, as a folder and as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpt_core.testing import StoreKit
from hpt_store_csv.store import CsvStore


class TestFolder(StoreKit):
    @pytest.fixture
    def make_store(self) -> Callable[[Path], CsvStore]:
        return lambda path: CsvStore(path=path)


class TestFile(StoreKit):
    many_studies = False
    file_name = "log.csv"

    @pytest.fixture
    def make_store(self) -> Callable[[Path], CsvStore]:
        return lambda path: CsvStore(path=path)
