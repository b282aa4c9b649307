"""The store `csv`: a study in a CSV file, or a folder of such files."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from hpt_core import Record, StoreError, file_lock, option
from hpt_store_csv.log import Log, layout_of
from hpt_store_csv.names import file_name, study_name
from hpt_store_csv.problems import explained

__all__ = ["CsvStore"]


@attrs.define(kw_only=True)
class CsvStore:
    """A study in a CSV file that opens in a spreadsheet, with a column per parameter.

    A path that ends with ``.csv`` is the file of one study; any other path is a folder with a file per study. The first
    write creates a file; a file that does not exist reads as empty. A store can be used from any thread and after a
    fork, and can be pickled to other processes.
    """

    path: Path = option(Path("hpt.csv"), help="A .csv file for one study, or a folder.")
    lock_timeout: float = option(
        60.0, ge=0, seconds=True, help="Seconds to wait for a lock that another process holds."
    )
    _place: Path = attrs.field(init=False, repr=False, eq=False)
    _is_file: bool = attrs.field(init=False, repr=False, eq=False)
    _logs: dict[tuple[int, str], Log] = attrs.field(init=False, repr=False, eq=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._place = Path(os.path.realpath(self.path))  # the working folder may change, and links must share locks
        self._is_file = self.path.suffix.lower() == ".csv"

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), path=self._place, lock_timeout=self.lock_timeout), ()

    @property
    def location(self) -> str:
        """The path as it was given."""
        return str(self.path)

    @property
    def folder(self) -> Path:
        """The folder for files of trials; the store does not create it."""
        return self._place.with_name(f"{self._place.name}.files") if self._is_file else self._place / "files"

    def append(self, study: str, records: Sequence[Record]) -> int:
        """Append the records durably, all or none of them.

        Returns:
            The position of the last record.

        Raises:
            StoreError: If they cannot be written; then none of them is stored.
        """
        return self._append(study, records, to_disk=True)

    def append_lazily(self, study: str, records: Sequence[Record]) -> int:
        """Append without waiting for the disk: a power cut before the next `append` may lose the records.

        Returns:
            The position of the last record.

        Raises:
            StoreError: If they cannot be written; then none of them is stored.
        """
        return self._append(study, records, to_disk=False)

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        """Read the records after position ``after``, in order. A study that does not exist has none.

        Raises:
            StoreError: If the file is damaged, of a newer format, or cannot be read.
        """
        return self._log(study).read(after)

    def studies(self) -> Sequence[str]:
        """Names of the studies that have records, in order of creation; files with a damaged header come last.

        Raises:
            StoreError: If the folder cannot be read, or if the single file is damaged or of a newer format.
        """
        found = [study for path in self._files() if (study := self._study_in(path))]
        return [name for name, _ in sorted(found, key=lambda study: study[1])]

    @contextmanager
    def lock(self, study: str) -> Iterator[None]:
        """Hold the study's lock against other processes and threads; they can still append.

        Raises:
            StoreError: If another holder keeps the lock for ``lock_timeout`` seconds.
        """
        log = self._log(study)
        with ExitStack() as stack:
            with explained(log.path):
                stack.enter_context(self._locked(log.study_lock, f"{log.path} as a whole"))
            yield

    def close(self) -> None:
        """Clear the cache; no file is kept open."""
        self._logs.clear()

    def _append(self, study: str, records: Sequence[Record], *, to_disk: bool) -> int:
        if not records:
            return len(self.read(study))
        log = self._log(study)
        with explained(log.path), self._locked(log.write_lock, f"{log.path} for writing"):
            return log.append(records, to_disk=to_disk)

    def _study_in(self, path: Path) -> tuple[str, float] | None:
        """The name of the study in a file and its creation time; None if the file is not a store."""
        name = study_name(path.name)
        try:
            layout = layout_of(path, strict=self._is_file)
        except StoreError:
            if self._is_file or name is None:
                raise
            return name, math.inf  # reading this study raises the error; the others can still be read
        return (layout.study, layout.created) if layout and (self._is_file or layout.study == name) else None

    def _file(self, study: str) -> Path:
        return self._place if self._is_file else self._place / file_name(study)

    def _files(self) -> Sequence[Path]:
        if self._is_file:
            return [self._place]
        with explained(self._place), suppress(FileNotFoundError):
            return [path for path in sorted(self._place.iterdir()) if study_name(path.name) is not None]
        return []

    def _log(self, study: str) -> Log:
        key = os.getpid(), study  # after a fork, the parent's log may be in any state
        log = self._logs.get(key)
        if log is None:
            log = self._logs.setdefault(key, Log(self._file(study), study))
        return log

    def _locked(self, lock_file: Path, what: str) -> AbstractContextManager[None]:
        if not self._is_file:
            self._place.mkdir(exist_ok=True)
        return file_lock(lock_file, what, self.lock_timeout)
