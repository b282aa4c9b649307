"""The store `jsonl`: a file with a line of JSON for each batch of records."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import attrs

from hpt_core import Record, StoreError, file_lock, hookimpl, option

__all__ = ["JsonLinesStore"]


@attrs.define(kw_only=True)
class JsonLinesStore:
    """Keeps studies in one file of JSON lines. (`hpt plugins show` prints this line.)."""

    path: str = option("hpt.jsonl", help="The file; made by the first write.")

    @property
    def location(self) -> str:
        """Where it is, for people."""
        return self.path

    @property
    def _file(self) -> Path:
        return Path(self.path)

    def append(self, study: str, records: Sequence[Record]) -> int:
        """Write the records durably, all or none: one line, which counts when its end is there."""
        if not records:
            return len(self.read(study))
        with self._errors("write"), self._exclusive("write"):
            before = len(self.read(study))
            line = json.dumps([study, list(records)], allow_nan=False).encode() + b"\n"
            with self._file.open("ab") as file:
                file.truncate(len(self._whole()))  # what a killed writer left
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        return before + len(records)

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        """Read the records behind a position."""
        return [record for name, batch in self._batches() if name == study for record in batch][after:]

    def studies(self) -> Sequence[str]:
        """Names of the studies, in order of creation."""
        return list(dict.fromkeys(name for name, _ in self._batches()))

    def lock(self, study: str) -> AbstractContextManager[None]:
        """Hold the study's lock; the system frees it when its holder dies."""
        return self._exclusive(hashlib.sha256(study.encode()).hexdigest()[:16])

    def close(self) -> None:
        """Nothing is kept open."""

    def _whole(self) -> bytes:
        content = self._file.read_bytes() if self._file.exists() else b""
        return content[: content.rfind(b"\n") + 1]

    def _batches(self) -> list[tuple[str, list[Record]]]:
        with self._errors("read"):
            return [(study, records) for study, records in map(json.loads, self._whole().splitlines())]

    @contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        with ExitStack() as stack:
            with self._errors("lock"):
                stack.enter_context(file_lock(self._file.with_name(f".{self._file.name}.{name}.lock"), self.path, 60.0))
            yield

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except (OSError, TypeError, ValueError) as err:
            raise StoreError(f"Cannot {action} {self.path}: {err}") from err


@hookimpl
def hpt_stores() -> dict[str, type]:
    """Offer the store."""
    return {"jsonl": JsonLinesStore}


@hookimpl
def hpt_store_for(location: str) -> str | None:
    """Keep what ends in .jsonl."""
    return "jsonl" if location.endswith(".jsonl") else None
