"""The store kit: a correct store passes, and each check is the only one that rejects some wrong store."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from numpy.random import default_rng

from hpt_core import Record, StoreError, option
from hpt_core.testing import StoreKit
from hpt_core.testing.checks import broken_rules

KIT = StoreKit
PARENT = os.getpid()


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn the errors of the system and of JSON into those of a store."""
    try:
        yield
    except (OSError, TypeError, ValueError) as err:
        raise StoreError(str(err)) from err


@attrs.define(kw_only=True)
class Honest:
    """A file with one line of JSON per batch."""

    path: Path = option(Path("log"), help="The file.")

    def append(self, study: str, records: Sequence[Record]) -> int:
        if not records:
            return len(self.read(study))
        with self.exclusive("write"):
            before = len(self.read(study))
            self.write(self.encode(study, records))
        return before + len(records)

    def encode(self, study: str, records: Sequence[Record]) -> str:
        with told():
            text = json.dumps(list(records), allow_nan=False)
        return f"[{json.dumps(study)}, {text}]"

    def write(self, line: str) -> None:
        with self.path.open("ab") as file:
            whole = self.path.read_bytes().rpartition(b"\n")
            file.truncate(len(whole[0]) + len(whole[1]))  # remove what a killed writer left
            file.write(f"{line}\n".encode())

    def batches(self) -> list[tuple[str, list[Record]]]:
        if not self.path.exists():
            return []
        with told():
            lines = self.path.read_bytes().split(b"\n")[:-1]
            found = map(json.loads, lines)
            return [(name, batch) for name, batch in found]

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        return [record for name, batch in self.batches() if name == study for record in batch][after:]

    def studies(self) -> Sequence[str]:
        return list(dict.fromkeys(name for name, _ in self.batches()))

    def exclusive(self, name: str) -> Any:
        return self.locked(f"{self.path.name}.{name}.lock", fcntl.flock)

    @contextlib.contextmanager
    def locked(self, name: str, take: Callable[[Any, int], None]) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            with told():
                file = stack.enter_context(self.path.with_name(name).open("a"))
                take(file, fcntl.LOCK_EX)
            yield

    def lock(self, study: str) -> Any:
        return self.exclusive(f"study {zlib.crc32(study.encode())}")

    def close(self) -> None:
        pass


class OneIsTrue(Honest):
    """Writes whole floats as integers."""

    def encode(self, study: str, records: Sequence[Record]) -> str:
        def plain(value: Any) -> Any:
            return int(value) if value == 1 and isinstance(value, float) else value

        return super().encode(study, [{key: plain(value) for key, value in record.items()} for record in records])


class FifteenDigits(Honest):
    """Writes floats with fifteen digits."""

    def encode(self, study: str, records: Sequence[Record]) -> str:
        short = [{k: float(f"{v:.15g}") if isinstance(v, float) else v for k, v in r.items()} for r in records]
        return super().encode(study, short)


class Strips(Honest):
    """Strips spaces and line ends from text."""

    def encode(self, study: str, records: Sequence[Record]) -> str:
        return super().encode(study, [{k: v.strip() if k == "text" else v for k, v in r.items()} for r in records])


class DropsWhatIsEmpty(Honest):
    """Drops keys with an empty value."""

    def encode(self, study: str, records: Sequence[Record]) -> str:
        return super().encode(study, [{k: v for k, v in r.items() if v not in ({}, [])} for r in records])


class SortsByTime(Honest):
    """Returns records in the order of their times."""

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        found = super().read(study)
        timed = sorted(found, key=lambda r: r["time"]) if all("n" in r for r in found) else found
        return timed[after:]


class CountsTheBatch(Honest):
    """Returns the number of records just written if there was more than one."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        position = super().append(study, records)
        return len(records) if len(records) == 3 else position


class OffByOne(Honest):
    """Skips one record too many in the middle of a log."""

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        records = super().read(study)
        wrong = after == 4 and len(records) == 7 and records[-1].get("content") == {"n": 6}
        return records[after + wrong :]


class OnePage(Honest):
    """Reads at most 10,000 records."""

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        return super().read(study, after)[:10_000]


class OneByOne(Honest):
    """Writes one record after the other, up to the one that cannot be written."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        good: list[Record] = []
        for record in records:
            try:
                json.dumps(record, allow_nan=False)
            except TypeError:
                super().append(study, good)
                raise
            good.append(record)
        return super().append(study, records)


class IgnoresCase(Honest):
    """Treats names that differ in case as the same."""

    def encode(self, study: str, records: Sequence[Record]) -> str:
        return super().encode(study.lower(), records)

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        return super().read(study.lower(), after)


class ListsByName(Honest):
    """Lists studies in alphabetical order."""

    def studies(self) -> Sequence[str]:
        return sorted(super().studies())


class MissesTheStudy(Honest):
    """Raises if a study that does not exist is read from a position."""

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        if after == 3 and study not in self.studies():
            raise KeyError(study)
        return super().read(study, after)


class MakesItsFile(Honest):
    """Creates its file when it lists the studies."""

    def studies(self) -> Sequence[str]:
        if not self.path.exists():
            with told():
                self.path.touch()
        return super().studies()


class TakesBack(Honest):
    """On closing, loses a record that was written after reading."""

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        self.__dict__.setdefault("first", "read")
        return super().read(study, after)

    def append(self, study: str, records: Sequence[Record]) -> int:
        if self.__dict__.setdefault("first", "append") == "read":
            self.__dict__["first"] = "read, then append"
        return super().append(study, records)

    def close(self) -> None:
        first = self.__dict__.pop("first", "")
        if first == "read, then append" and os.getpid() == PARENT and self.path.exists():
            lines = self.path.read_bytes().split(b"\n")
            self.path.write_bytes(b"".join(line + b"\n" for line in lines[:-2]))


class LetsErrorsThrough(Honest):
    """Reads a damaged file without turning the error of the parser into a `StoreError`."""

    def batches(self) -> list[tuple[str, list[Record]]]:
        if b"\xff" in (self.path.read_bytes() if self.path.exists() else b""):
            json.loads(self.path.read_bytes())
        return super().batches()


class ClosesOnce(Honest):
    """Cannot be closed twice."""

    def close(self) -> None:
        if self.__dict__.setdefault("closed", 0):
            raise ValueError("already closed")
        self.__dict__["closed"] = 1


class WritesLater(Honest):
    """Returns from an append at once, and writes the record a moment later."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        if os.getpid() == PARENT or len(records) != 1:
            return super().append(study, records)
        later: list[str] = self.__dict__.setdefault("later", [])
        later.append(self.encode(study, records))
        if len(later) == 1:
            self.__dict__["timer"] = threading.Timer(0.05, self.flush)
            self.__dict__["timer"].start()
        return len(super().read(study)) + len(later)

    def flush(self) -> None:
        while later := self.__dict__.get("later"):
            with self.exclusive("write"):
                self.write(later[0])
            later.pop(0)

    @contextlib.contextmanager
    def lock(self, study: str) -> Iterator[None]:
        self.close()
        with super().lock(study):
            yield
            self.close()

    def close(self) -> None:
        if "timer" in self.__dict__:
            self.__dict__["timer"].join()


class KeepsForItself(Honest):
    """Keeps lazily appended records in memory until the next durable append."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        kept: list[Record] = self.__dict__.pop("kept", [])
        return super().append(study, [*kept, *records])

    def append_lazily(self, study: str, records: Sequence[Record]) -> int:
        self.__dict__.setdefault("kept", []).extend(records)
        return len(self.read(study)) + len(self.__dict__["kept"])


class Torn(Honest):
    """Writes a batch as one line per record."""

    def write(self, line: str) -> None:
        study, records = json.loads(line)
        for i in range(0, len(records), 1 if len(records) == 20 else 20_000):
            super().write(json.dumps([study, records[i : i + 1] if len(records) == 20 else records]))
            time.sleep(0.002 if len(records) == 20 else 0)


class RemembersWhatItWrote(Honest):
    """After its first write, it reads the file only when it writes or holds the lock."""

    def batches(self) -> list[tuple[str, list[Record]]]:
        known: list[tuple[str, list[Record]]] | None = self.__dict__.get("known")
        return super().batches() if known is None or self.__dict__.get("holds") else known

    def write(self, line: str) -> None:
        super().write(line)
        self.__dict__["known"] = super().batches()

    @contextlib.contextmanager
    def lock(self, study: str) -> Iterator[None]:
        with super().lock(study):
            self.__dict__["holds"] = True
            yield
        self.__dict__["holds"] = False


class Rewrites(Honest):
    """Rewrites the whole file without locking out other processes."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        if len(records) != 1 or not self.path.exists() or threading.active_count() > 1:
            return super().append(study, records)
        line = self.encode(study, records)
        before = self.path.read_bytes()
        time.sleep(0.001)
        self.path.write_bytes(before + f"{line}\n".encode())
        return len(self.read(study))


class OneThread(Honest):
    """Accepts writes only from the thread that created it, like a plain `sqlite3` connection."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        mine = self.__dict__.setdefault("thread", threading.get_ident())
        if mine != threading.get_ident():
            raise StoreError("objects created in a thread can only be used in that same thread")
        return super().append(study, records)


class ReadersWait(Honest):
    """Reads under the study's lock."""

    holder: ClassVar[int | None] = None

    @contextlib.contextmanager
    def lock(self, study: str) -> Iterator[None]:
        with super().lock(study):
            ReadersWait.holder = threading.get_ident()
            try:
                yield
            finally:
                ReadersWait.holder = None

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        if self.holder in (None, threading.get_ident()):
            return super().read(study, after)
        with self.lock(study):
            return super().read(study, after)

    def append(self, study: str, records: Sequence[Record]) -> int:
        with self.exclusive("write"):
            before = len(super().read(study))
            if records:
                self.write(self.encode(study, records))
        return before + len(records)


class WritersWait(Honest):
    """Writes under the study's lock."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        if self.__dict__.get("mine") or len(records) != 1:
            return super().append(study, records)
        with super().lock(study):
            return super().append(study, records)

    @contextlib.contextmanager
    def lock(self, study: str) -> Iterator[None]:
        with super().lock(study):
            self.__dict__["mine"] = True
            yield
            self.__dict__["mine"] = False


class LocksItsFile(Honest):
    """Locks the file that the first record creates."""

    def lock(self, study: str) -> Any:
        if not self.path.exists():
            raise StoreError("there is nothing to lock")
        return super().lock(study)


class ProcessLock(Honest):
    """Locks with `fcntl.lockf`, which excludes processes but not threads."""

    def lock(self, study: str) -> Any:
        return self.locked("posix.lock", fcntl.lockf)


_MUTEX = threading.RLock()


class ThreadLock(Honest):
    """Locks with a `threading.Lock`, which excludes threads but not processes."""

    def lock(self, study: str) -> Any:
        return _MUTEX


class LockFile(Honest):
    """Locks by creating a file, which remains if its creator dies."""

    @contextlib.contextmanager
    def lock(self, study: str) -> Iterator[None]:
        file = self.path.with_name("held.lock")
        for _ in range(300):
            with told(), contextlib.suppress(FileExistsError):
                file.touch(exist_ok=False)
                break
            time.sleep(0.01)
        else:
            raise StoreError("the lock is held")
        try:
            yield
        finally:
            file.unlink()


class NoFinally(Honest):
    """Releases the lock only if nothing was raised under it."""

    held: ClassVar[list[Any]] = []

    @contextlib.contextmanager
    def lock(self, study: str) -> Iterator[None]:
        lock = super().lock(study)
        lock.__enter__()
        self.held.append(lock)
        yield
        self.held.remove(lock)
        lock.__exit__(None, None, None)


@attrs.define(kw_only=True)
class WithoutHelp(Honest):
    """Has an option without a help text."""

    depth: int = attrs.field(default=1)


@attrs.define(kw_only=True)
class NotesItsBirth(Honest):
    """Has an option with a different default each time."""

    born: float = option(factory=lambda: default_rng().random(), help="When it was made.")


class HoldsALock(Honest):
    """Keeps an object that cannot be pickled."""

    def __reduce__(self) -> Any:
        return (lambda: self), ()


WRONG: dict[str, type[Honest]] = {
    "test_keeps_types": OneIsTrue,
    "test_keeps_floats_exactly": FifteenDigits,
    "test_keeps_text": Strips,
    "test_keeps_nested_data": DropsWhatIsEmpty,
    "test_keeps_the_order": SortsByTime,
    "test_append_gives_the_position": CountsTheBatch,
    "test_reads_on_from_any_position": OffByOne,
    "test_reads_long_logs_whole": OnePage,
    "test_writes_all_or_none": OneByOne,
    "test_keeps_studies_apart": IgnoresCase,
    "test_lists_studies_in_order_of_creation": ListsByName,
    "test_a_study_that_is_not_there_is_empty": MissesTheStudy,
    "test_reading_changes_no_file": MakesItsFile,
    "test_closes_and_opens_again": TakesBack,
    "test_may_be_closed_twice": ClosesOnce,
    "test_reports_its_errors": LetsErrorsThrough,
    "test_survives_kill_9": WritesLater,
    "test_what_is_written_lazily_survives_kill_9": KeepsForItself,
    "test_a_batch_is_whole_or_not_there_after_kill_9": Torn,
    "test_sees_what_others_write": RemembersWhatItWrote,
    "test_many_processes_write_at_once": Rewrites,
    "test_is_used_from_any_thread": OneThread,
    "test_readers_are_not_held_up": ReadersWait,
    "test_the_lock_keeps_no_append_out": WritersWait,
    "test_the_lock_is_there_before_the_first_record": LocksItsFile,
    "test_the_lock_excludes_threads": ProcessLock,
    "test_the_lock_excludes_processes": ThreadLock,
    "test_the_lock_ends_with_its_holder": LockFile,
    "test_an_error_under_the_lock_frees_it": NoFinally,
    "test_options_have_help": WithoutHelp,
    "test_description_is_stable": NotesItsBirth,
    "test_travels_to_workers": HoldsALock,
}


def broken(store: type[Honest], folder: Path) -> dict[str, str]:
    def make_component() -> Honest:
        return store(path=folder / "log")

    return broken_rules(KIT, {"make_store": lambda path: store(path=path), "make_component": make_component})


class TestHonest(StoreKit):
    @pytest.fixture
    def make_store(self) -> Any:
        return lambda path: Honest(path=path)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_store_is_rejected_by_its_check_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpt_core.testing.store_processes._PATIENCE", 2.0)  # wrong stores hang forever
    assert list(broken(WRONG[name], tmp_path)) == [name]


def test_a_store_that_sorts_keys_is_rejected(tmp_path: Path) -> None:
    class Sorts(Honest):
        def encode(self, study: str, records: Sequence[Record]) -> str:
            return json.dumps(json.loads(super().encode(study, records)), sort_keys=True)

    with pytest.raises(AssertionError, match="their order is the order of a space"):
        KIT().test_keeps_nested_data(lambda path: Sorts(path=path), tmp_path)


def test_a_store_whose_keys_collide_is_rejected(tmp_path: Path) -> None:
    """Has keys ``study/position`` and reads them by prefix."""

    class Keys(Honest):
        def read(self, study: str, after: int = 0) -> Sequence[Record]:
            begins = [batch for name, batch in self.batches() if f"{name}/".startswith(f"{study}/")]
            return [record for batch in begins for record in batch][after:]

    class Locks(Honest):
        def lock(self, study: str) -> Any:
            return self.exclusive(study)

    for name, make in {"keys": lambda path: Keys(path=path), "locks": lambda path: Locks(path=path)}.items():
        folder = tmp_path / name
        folder.mkdir()
        with pytest.raises(AssertionError, match="whatever its name is"):
            KIT().test_keeps_studies_apart(make, folder)


class AppendsToATornLine(Honest):
    """Does not remove what a killed writer left at the end of the file."""

    def write(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def test_a_write_that_is_cut_off_is_examined(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="each batch is there whole or not at all"):
        KIT().test_a_batch_is_whole_or_not_there_after_kill_9(lambda path: AppendsToATornLine(path=path), tmp_path)


class ReadsOn(Honest):
    """Parses only what was added since the last read, without excluding other threads meanwhile."""

    def batches(self) -> list[tuple[str, list[Record]]]:
        known: list[tuple[str, list[Record]]] = self.__dict__.setdefault("known", [])
        new = slice(len(known), None)
        known += super().batches()[new]
        return known


def test_threads_that_read_while_others_write_are_examined(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="can write and read at the same time"):
        KIT().test_is_used_from_any_thread(lambda path: ReadsOn(path=path), tmp_path)


class ForOneStudy(Honest):
    """Keeps one study, whose name it looks at only in `studies`."""

    def batches(self) -> list[tuple[str, list[Record]]]:
        return [("study", batch) for _, batch in super().batches()]

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        return super().read("study", after)


class HidesTheOther(ForOneStudy):
    """Keeps one study, and writes another one without reading it."""

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        return super().read(study, after) if study == "study" else []


@pytest.mark.parametrize(
    ("store", "message"),
    [(ForOneStudy, "another study has the records of the first"), (HidesTheOther, "written without an error")],
)
def test_a_store_for_one_study_must_refuse_another(store: type[Honest], message: str, tmp_path: Path) -> None:
    class Kit(StoreKit):
        many_studies = False

    with pytest.raises(AssertionError, match=message):
        Kit().test_keeps_studies_apart(lambda path: store(path=path), tmp_path)


class NumbersTooEarly(Honest):
    """Orders records by when their append began, not by when others could read them."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        began = time.time_ns()
        time.sleep(0.001 * (began % 5))
        return super().append(study, [{**record, "began": began} for record in records])

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        return sorted(super().read(study), key=lambda record: record["began"])[after:]


def test_a_record_that_appears_before_one_that_was_read_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpt_core.testing.store_processes._PATIENCE", 2.0)
    with pytest.raises(AssertionError, match="who read on while they wrote has the records"):
        KIT().test_many_processes_write_at_once(lambda path: NumbersTooEarly(path=path), tmp_path)


class RemembersTheTime(Honest):
    """Reads the file again only if its time has changed, in whole minutes, and after it has written."""

    def batches(self) -> list[tuple[str, list[Record]]]:
        time = int(self.path.stat().st_mtime // 60) if self.path.exists() else 0
        known: Any = self.__dict__.get("known")
        if known is None or known[0] != time:
            known = self.__dict__["known"] = time, super().batches()
        found: list[tuple[str, list[Record]]] = known[1]
        return found

    def append(self, study: str, records: Sequence[Record]) -> int:
        self.__dict__.pop("known", None)
        try:
            return super().append(study, records)
        finally:
            self.__dict__.pop("known", None)


def test_a_reader_that_must_write_to_see_what_others_wrote_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpt_core.testing.store_processes._PATIENCE", 2.0)
    with pytest.raises(AssertionError, match=r"the records are \[0\], expected \[0, 1\]"):
        KIT().test_sees_what_others_write(lambda path: RemembersTheTime(path=path), tmp_path)


class KeepsTheWriteLock(Honest):
    """Does not release its lock if a record cannot be written."""

    held: ClassVar[list[Any]] = []

    def append(self, study: str, records: Sequence[Record]) -> int:
        lock = self.exclusive("append")
        lock.__enter__()
        self.held.append(lock)
        position = super().append(study, records)
        self.held.remove(lock)
        lock.__exit__(None, None, None)
        return position


class LeavesAGap(Honest):
    """Numbers the records before it knows that they can be written."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        used = self.path.with_name("used")
        used.write_text(f"{used.read_text() if used.exists() else ''}{'.' * len(records)}")
        super().append(study, records)
        return len(used.read_text())


@pytest.mark.parametrize(
    ("store", "patience", "message"),
    [
        (KeepsTheWriteLock, 0.3, r"a call has not returned within 0\.3 s"),
        (LeavesAGap, 20.0, "after a failed append, the second record is at position 5"),
    ],
)
def test_the_append_after_one_that_failed_is_examined(
    store: type[Honest], patience: float, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpt_core.testing.store._PATIENCE", patience)
    folder = tmp_path / store.__name__  # of its own, as the call that has not returned may write later
    folder.mkdir()
    try:
        with pytest.raises(AssertionError, match=message):
            KIT().test_writes_all_or_none(lambda path: store(path=path), folder)
    finally:
        while KeepsTheWriteLock.held:
            KeepsTheWriteLock.held.pop().__exit__(None, None, None)


class CutsText(Honest):
    """Keeps the first 65,535 characters of a text, like a column of the type `TEXT` in MySQL."""

    def encode(self, study: str, records: Sequence[Record]) -> str:
        return super().encode(study, [{k: v[:65535] if k == "text" else v for k, v in r.items()} for r in records])


class Utf8Only(Honest):
    """Refuses text that is not Unicode."""

    def encode(self, study: str, records: Sequence[Record]) -> str:
        with told():
            json.dumps(records, ensure_ascii=False, default=str).encode()
        return super().encode(study, records)


class Normalizes(Honest):
    """Writes the letters of a text in another of their forms."""

    def encode(self, study: str, records: Sequence[Record]) -> str:
        text = json.dumps(records, ensure_ascii=False, default=str)
        return super().encode(study, json.loads(unicodedata.normalize("NFC", text)))


@pytest.mark.parametrize("store", [CutsText, Utf8Only, Normalizes])
def test_a_store_that_does_not_keep_every_text_is_rejected(store: type[Honest], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Text is read back unchanged"):
        KIT().test_keeps_text(lambda path: store(path=path), tmp_path)


def test_a_store_that_reads_on_from_behind_the_end_is_rejected(tmp_path: Path) -> None:
    class GivesTheLast(Honest):
        def read(self, study: str, after: int = 0) -> Sequence[Record]:
            records = super().read(study)
            return records[min(after, max(len(records) - 1, 0)) if after > len(records) else after :]

    with pytest.raises(AssertionError, match=r"7 records: after position 8 it reads \[6\]"):
        KIT().test_reads_on_from_any_position(lambda path: GivesTheLast(path=path), tmp_path)


def test_an_error_that_is_not_a_store_error_is_named(tmp_path: Path) -> None:
    class LocksLoudly(Honest):
        def lock(self, study: str) -> Any:
            return self.path.with_name("x.lock").open("a")

    with pytest.raises(AssertionError, match=r"after its folder was removed, lock\(\) raised FileNotFoundError"):
        KIT().test_reports_its_errors(lambda path: LocksLoudly(path=path), tmp_path)


class StealsLocks(Honest):
    """Takes a lock file whose creator has not written its process id yet for one that was left behind."""

    @contextlib.contextmanager
    def lock(self, study: str) -> Iterator[None]:
        file = self.path.with_name("held.lock")
        with told():
            while not self.created(file):
                if not self.is_alive(file):
                    file.unlink(missing_ok=True)
                time.sleep(0.001)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)

    def created(self, file: Path) -> bool:
        try:
            file.touch(exist_ok=False)
        except FileExistsError:
            return False
        time.sleep(0.005)
        file.write_text(str(os.getpid()), encoding="ascii")
        return True

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        found = super().read(study, after)
        time.sleep(0.01)  # so that a thief takes the lock while its holder works
        return found

    def is_alive(self, file: Path) -> bool:
        try:
            os.kill(int(file.read_text("ascii")), 0)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return False
        return True


def test_processes_that_compete_for_the_lock_are_examined(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="of 36 holders of the lock wrote how many records it had read"):
        KIT().test_the_lock_excludes_processes(lambda path: StealsLocks(path=path), tmp_path)


class LooksBeforeItLocks(Honest):
    """Locks by creating a file if it does not see one."""

    @contextlib.contextmanager
    def lock(self, study: str) -> Iterator[None]:
        file = self.path.with_name("held.lock")
        with told():
            while file.exists():
                time.sleep(0.001)
            file.touch()
        yield
        file.unlink(missing_ok=True)


def test_a_gap_before_the_lock_is_taken_is_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpt_core.testing.store_processes._TURNS", 100)  # a machine may be too busy for all at once
    with pytest.raises(AssertionError, match="of 300 holders of the lock wrote how many records it had read"):
        KIT().test_the_lock_excludes_processes(lambda path: LooksBeforeItLocks(path=path), tmp_path)


class Unlocked(Honest):
    """Appends without a lock: what another process wrote after it has read the file is cut off as a torn line."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        self.write(self.encode(study, records))
        return len(self.read(study))


def test_a_gap_between_reading_and_writing_is_hit(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no record is lost or repeated"):
        KIT().test_many_processes_write_at_once(lambda path: Unlocked(path=path), tmp_path)


class OneRequestEach(Honest):
    """Takes long to write many records."""

    def append(self, study: str, records: Sequence[Record]) -> int:
        for _ in records:
            time.sleep(0.01)
        return super().append(study, records)


def test_a_store_that_takes_minutes_for_a_long_log_is_ended_and_its_author_sees_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hpt_core.testing.processes._PATIENCE", 1.5)  # time to get there
    with pytest.raises(AssertionError, match=r"another process has not answered within 1\.5 s"):
        KIT().test_reads_long_logs_whole(lambda path: OneRequestEach(path=path), tmp_path)
    assert " in append" in capfd.readouterr().err


class LocksTwice(Honest):
    """Has one lock for the study and for writing, which its holder waits for."""

    def exclusive(self, name: str) -> Any:
        return super().exclusive("all")


@pytest.mark.parametrize(
    "name", ["test_the_lock_is_there_before_the_first_record", "test_the_lock_keeps_no_append_out"]
)
def test_a_store_that_waits_for_itself_does_not_hang_the_kit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hpt_core.testing.store_processes._PATIENCE", 0.3)
    with pytest.raises(AssertionError, match=r"a call has not returned within 0\.3 s"):
        getattr(KIT(), name)(lambda path: LocksTwice(path=path), tmp_path)
    assert " in locked" in capfd.readouterr().err
