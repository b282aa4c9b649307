"""The conformance kit for stores."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.errors import StoreError
from hpt_core.testing.checks import check, within
from hpt_core.testing.processes import Channel, Child
from hpt_core.testing.store_base import Make, StoreBase, notes, numbers
from hpt_core.testing.store_processes import StoreProcessesKit

if TYPE_CHECKING:
    from hpt_core.components import Store
    from hpt_core.history.events import Record

__all__ = ["StoreKit"]

_PATIENCE = 20.0
_TYPES: dict[str, Any] = {
    "int": 1,
    "float": 1.0,
    "text": "1",
    "true": True,
    "false": False,
    "zero": 0,
    "nothing": None,
    "words": ["true", "null", "1.0", "0", "None"],
    "large": 2**70,
    "seed": 2**53 + 1,
}
_FLOATS = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, 1e16, 123456789.12345678, 1.0000000000000002, -0.0]
_TEXTS = [
    "",
    " ",
    " a ",
    "a\nb\r\nc\r",
    "\t",
    "'",
    '"',
    '""',
    "a,b;c",
    "=1+1",
    "007",
    "ü漢😀",
    "u\u0308",
    "\udcff",
    "\x00",
    "\\n",
    "x" * 200_000,
]
_NESTED: dict[str, Any] = {
    "no list": [],
    "no table": {},
    "deep": {"a": [{"b": {"c": [[1], [], {}]}}]},
    "a.b": {"a": 1},
    "a": {"b": 2},
    "": 0,
    "ä/ö": [None],
}


class StoreKit(StoreProcessesKit, StoreBase):
    """The checks that every store must pass. Override `make_store`.

    Attributes:
        persistent: Whether other processes can read what was written. False for the memory store.
        many_studies: Whether one location holds several studies. If False, the store must refuse to write a second one.
        file_name: The file name of the path that `make_store` gets, for a store that requires an extension.
    """

    # --- data is read back as it was written ------------------------------------------------------------

    @check
    def test_keeps_types(self, make_store: Make, tmp_path: Path) -> None:
        """1, 1.0, "1", True and None keep their types, and large integers are exact.

        Why: the value of a parameter selects code. True instead of 1, or 1 instead of 1.0, is another configuration and
            another study.
        """
        self._keeps(make_store, tmp_path, [{"event": "note", **_TYPES}])

    @check
    def test_keeps_floats_exactly(self, make_store: Make, tmp_path: Path) -> None:
        """Floats are read back bit for bit.

        Why: every decision is recomputed from the log. If a digit is lost, a resumed study takes another course.
        """
        self._keeps(make_store, tmp_path, [{"event": "note", "value": value} for value in _FLOATS])

    @check
    def test_keeps_text(self, make_store: Make, tmp_path: Path) -> None:
        """Text is read back unchanged: line ends, quotes, spaces, leading zeros, long text, text like a formula.

        Why: names of parameters, choices, error messages and tracebacks are the user's text. A message may name a file
            whose name is no Unicode text.
        """
        records = [{"event": "note", "text": text, f"key{text[:9]}": 1} for text in _TEXTS]
        self._keeps(make_store, tmp_path, [*records, records[-1]])

    @check
    def test_keeps_nested_data(self, make_store: Make, tmp_path: Path) -> None:
        """Lists and tables are read back unchanged: empty or deeply nested, with any key, and in the order of the keys.

        Why: a store does not interpret records. What it drops or renames is missing when the study is replayed.
        """
        self._keeps(make_store, tmp_path, [{"event": "note", **_NESTED}, {"event": "from a later version", "x": {}}])
        with self.open(make_store, tmp_path) as store:
            store.append("s", [{"event": "note", "content": {"z": {"b": 1, "a": 2}, "a": 0, "m": 1}}])
            content = store.read("s")[-1]["content"]
        keys = [*content, *content["z"]]
        assert keys == ["z", "a", "m", "b", "a"], (
            f"the keys of a table are read back as {keys}; their order is the order of a space"
        )

    def _keeps(self, make_store: Make, tmp_path: Path, records: Sequence[Record]) -> None:
        written = [json.dumps(record, sort_keys=True) for record in records]
        with self.open(make_store, tmp_path) as store:
            store.append("s", records)
            self._check_read(store, written)
        if self.persistent:
            with self.open(make_store, tmp_path) as store:
                self._check_read(store, written)

    def _check_read(self, store: Store, written: Sequence[str]) -> None:
        found = [json.dumps(record, sort_keys=True) for record in store.read("s")]
        assert len(found) == len(written), f"{len(written)} records were written, {len(found)} are read"
        for before, after in zip(written, found, strict=True):
            assert after == before, f"{before:.200} is read back as {after:.200}"

    # --- order and positions ----------------------------------------------------------------------------

    @check
    def test_keeps_the_order(self, make_store: Make, tmp_path: Path) -> None:
        """Records are read in the order in which they were written, whatever their times are.

        Why: the log is replayed in its order. The clocks of machines differ, so their times give no order.
        """
        with self.open(make_store, tmp_path) as store:
            for time in (5.0, 3.0, 9.0, 1.0):
                store.append("s", [{"event": "note", "time": time, "n": int(time)}])
            found = numbers(store.read("s"))
            assert found == [5, 3, 9, 1], f"written in the order 5, 3, 9, 1, read as {found}"

    @check
    def test_append_gives_the_position(self, make_store: Make, tmp_path: Path) -> None:
        """``append`` returns the number of records that the study has afterwards.

        Why: a process uses it to notice records that others have written. With a wrong number it misses their results.
        """
        with self.open(make_store, tmp_path) as store:
            found = [store.append("s", notes(range(count))) for count in (1, 3, 2, 0)]
            assert found == [1, 4, 6, 6], f"after appending 1, 3, 2 and 0 records: {found}, expected [1, 4, 6, 6]"

    @check
    def test_reads_on_from_any_position(self, make_store: Make, tmp_path: Path) -> None:
        """``read(study, after)`` returns exactly the records after that position.

        Why: every process continues to read from its position. A record that is repeated or missing corrupts its
            history.
        """
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes(range(4)))
            store.append("s", notes(range(4, 7)))
            for after in range(9):
                found = numbers(store.read("s", after))
                assert found == list(range(after, 7)), f"7 records: after position {after} it reads {found}"

    @check
    def test_reads_long_logs_whole(self, make_store: Make, tmp_path: Path) -> None:
        """A log of 12,000 records is written within half a minute, and is read to its end.

        Why: a page size that no shorter test exceeds loses the end of a long study. A store that writes each record by
            itself, or reads its whole file for each, holds up every trial of it.
        """

        def work(_: Channel) -> None:  # in a process of its own, which ends if it takes too long
            with self.open(make_store, tmp_path) as store:
                store.append("s", notes(range(11_000)))
                store.append("s", notes(range(11_000, 12_000)))
                for after in (0, 10_900):
                    found = numbers(store.read("s", after))
                    assert found == list(range(after, 12_000)), f"after position {after} it reads {len(found)} records"

        with Child(work) as child:
            assert child.receive() == "done"

    @check
    def test_writes_all_or_none(self, make_store: Make, tmp_path: Path) -> None:
        """If one of several records cannot be written, none of them is, and ``append`` raises a `StoreError`.

        Why: a trial that starts without its parameters, or ends without its values, cannot be replayed.
        """
        self.on_disk(tmp_path)
        bad = {"event": "note", "content": {"n": object()}}

        def work() -> None:
            with self.open(make_store, tmp_path) as store:
                store.append("s", notes([0]))
                with _refusal("append() of an object(), which is not JSON,") as refused:
                    store.append("s", [*notes([1]), bad, *notes([2])])
                assert refused, "an object(), which is not JSON, was written without an error"
                assert numbers(store.read("s")) == [0], "some records of the failed append were written"
                position = store.append("s", notes([3]))
                assert position == 2, f"after a failed append, the second record is at position {position}"

        within(_PATIENCE, work)

    # --- several studies --------------------------------------------------------------------------------

    @check
    def test_keeps_studies_apart(self, make_store: Make, tmp_path: Path) -> None:
        """Each study has its own records and positions, whatever its name is. A store for one study refuses others.

        Why: names that differ only in case, spaces or punctuation are different studies. Mixed logs cannot be replayed.
        """
        names = ["study", "Study", "study ", "a/b", "a_b", "a.b", "a", "a%", "..", "ü", "u\u0308", "CON", "x" * 200]
        if not self.many_studies:
            self._keeps_one_study(make_store, tmp_path)
            return
        with self.open(make_store, tmp_path) as store:
            for number, name in enumerate(names):
                assert store.append(name, notes([number])) == 1, f"the first record of {name!r} is not at position 1"
            for number, name in enumerate(names):
                assert store.append(name, notes([-number])) == 2, f"the second record of {name!r} is not at position 2"
                assert numbers(store.read(name)) == [number, -number], (
                    f"the study {name!r} has other records than were written"
                )
                with store.lock(name):
                    pass

    def _keeps_one_study(self, make_store: Make, folder: Path) -> None:
        with self.open(make_store, folder) as store:
            store.append("study", notes([0]))
            assert not store.read("other"), "many_studies is False, and another study has the records of the first"
            with _refusal("append() to a second study") as refused:
                store.append("other", notes([1]))
            assert refused, "many_studies is False, and a second study was written without an error"
            assert numbers(store.read("study")) == [0], "the study has records of another one"

    @check
    def test_lists_studies_in_order_of_creation(self, make_store: Make, tmp_path: Path) -> None:
        """``studies()`` returns the names of the studies that have records, the oldest first.

        Why: `hpt studies` lists them. A study that was only read does not exist.
        """
        names = ["b", "c", "a"] if self.many_studies else ["b"]
        with self.open(make_store, tmp_path) as store:
            store.append("nothing", [])
            assert not list(store.studies()), "a study without records is listed"
            for name in names:
                store.append(name, notes([0]))
            store.append(names[0], notes([1]))
            found = list(store.studies())
            assert found == names, f"created in the order {names}, listed as {found}"

    @check
    def test_a_study_that_is_not_there_is_empty(self, make_store: Make, tmp_path: Path) -> None:
        """Reading a study that does not exist returns no records and raises no error.

        Why: this is how the core finds out that a study is new.
        """
        with self.open(make_store, tmp_path) as store:
            for after in (0, 3):
                assert not list(store.read("s", after)), f"the study has records after position {after}"
            assert not list(store.studies()), "the study is listed"

    # --- files ------------------------------------------------------------------------------------------

    @check
    def test_reading_changes_no_file(self, make_store: Make, tmp_path: Path) -> None:
        """Opening, reading, listing and closing create and change no file.

        Why: commands that read guarantee this. A typing error in a path must not create an empty store.
        """
        path = self.place(tmp_path)
        before = _files(tmp_path)
        _only_read(make_store(path))
        assert _files(tmp_path) == before, "reading a store that does not exist changed files"
        with contextlib.closing(make_store(path)) as store:
            store.append("s", notes(range(3)))
        written = _files(tmp_path)
        _only_read(make_store(path))
        assert _files(tmp_path) == written, "reading an existing store changed files"

    @check
    def test_closes_and_opens_again(self, make_store: Make, tmp_path: Path) -> None:
        """Records are still there after the store was closed and opened again.

        Why: otherwise no study can be resumed.
        """
        self.on_disk(tmp_path)
        for number in range(3):
            with self.open(make_store, tmp_path) as store:
                found = numbers(store.read("s"))
                assert found == list(range(number)), f"of {number} records it has {found} when opened again"
                position = store.append("s", notes([number]))
                assert position == number + 1, f"append() returned {position}, expected {number + 1}"

    @check
    def test_may_be_closed_twice(self, make_store: Make, tmp_path: Path) -> None:
        """A store can be closed twice, and can be closed without having been used.

        Why: programs and the command line always close the stores that they opened, also after an error.
        """
        path = self.place(tmp_path)
        make_store(path).close()
        store = make_store(path)
        store.append("s", notes([0]))
        store.close()
        store.close()

    @check
    def test_reports_its_errors(self, make_store: Make, tmp_path: Path) -> None:
        """If a store cannot read, write or lock, it raises a `StoreError`, and no other exception.

        Why: the user sees its message, which states the problem and the remedy. Any other exception counts as a bug.
        """
        self.on_disk(tmp_path)
        self._uses_after(make_store, tmp_path / "damaged", "its files were overwritten", _overwrite)
        self._uses_after(make_store, tmp_path / "removed", "its folder was removed", shutil.rmtree)

    def _uses_after(self, make_store: Make, outer: Path, what: str, happens: Callable[[Path], None]) -> None:
        folder = outer / "folder"
        folder.mkdir(parents=True)
        with self.open(make_store, folder) as store:
            store.append("s", notes([0]))
        with self.open(make_store, folder) as store:
            happens(outer)
            with _refusal(f"after {what}, read()"):
                store.read("s")
            with _refusal(f"after {what}, studies()"):
                store.studies()
            with _refusal(f"after {what}, append()"):
                store.append("s", notes([1]))
            with _refusal(f"after {what}, lock()"), store.lock("s"):
                pass


@contextlib.contextmanager
def _refusal(what: str) -> Iterator[list[StoreError]]:
    """Collect the `StoreError` that the block raises; any other exception breaks the rule."""
    refused: list[StoreError] = []
    try:
        yield refused
    except StoreError as err:
        refused.append(err)
    except Exception as err:
        msg = f"{what} raised {type(err).__name__}, expected a StoreError: {err}"
        raise AssertionError(msg) from err


def _overwrite(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\x00\xff{,\n" * 200)


def _only_read(store: Store) -> None:
    store.studies()
    store.read("s")
    store.close()


def _files(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}
