"""The conformance kit for stores."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpt_core.errors import StoreError
from hpt_core.testing.checks import check
from hpt_core.testing.store_base import Make, StoreBase, notes, numbers
from hpt_core.testing.store_processes import StoreProcessesKit

if TYPE_CHECKING:
    from hpt_core.components import Store
    from hpt_core.events import Record

__all__ = ["StoreKit"]

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
    "\x00",
    "\\n",
    "x" * 10_000,
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
    """What every store must pass. Override `make_store`.

    Attributes:
        persistent: Whether what is written is there for other processes. The memory store says False.
        many_studies: Whether one place holds several studies.
        file_name: What the place is called that `make_store` is given the path of, for a store that minds the ending.
    """

    # --- what is read is what was written ---------------------------------------------------------------

    @check
    def test_keeps_types(self, make_store: Make, tmp_path: Path) -> None:
        """1, 1.0, "1", True and None come back as what they were, large integers exactly.

        Why: a parameter's value chooses code; True for 1 or 1 for 1.0 is another configuration and another study.
        """
        self._keeps(make_store, tmp_path, [{"event": "note", **_TYPES}])

    @check
    def test_keeps_floats_exactly(self, make_store: Make, tmp_path: Path) -> None:
        """Floats come back bit for bit.

        Why: every decision is taken again from the log; one digit less and a resumed study goes another way.
        """
        self._keeps(make_store, tmp_path, [{"event": "note", "value": value} for value in _FLOATS])

    @check
    def test_keeps_text(self, make_store: Make, tmp_path: Path) -> None:
        """Any text comes back unchanged: line ends, quotes, blanks, leading zeros, what looks like a formula.

        Why: names of parameters, choices, error messages and tracebacks are text of the user's.
        """
        self._keeps(
            make_store,
            tmp_path,
            [{"event": "note", "text": text, f"key{text[:9]}": 1} for text in (*_TEXTS, "x" * 10_000)],
        )

    @check
    def test_keeps_nested_data(self, make_store: Make, tmp_path: Path) -> None:
        """Lists and tables come back as they were: empty ones, deep ones, with any key, keys in their order.

        Why: the store gives records no meaning; what it drops or renames is missing when the study is replayed.
        """
        self._keeps(make_store, tmp_path, [{"event": "note", **_NESTED}, {"event": "from a later version", "x": {}}])
        with self.open(make_store, tmp_path) as store:
            store.append("s", [{"event": "note", "content": {"z": {"b": 1, "a": 2}, "a": 0, "m": 1}}])
            content = store.read("s")[-1]["content"]
        keys = [*content, *content["z"]]
        assert keys == ["z", "a", "m", "b", "a"], (
            f"the keys of a table came back as {keys}: a space has its order by them"
        )

    def _keeps(self, make_store: Make, tmp_path: Path, records: Sequence[Record]) -> None:
        written = [json.dumps(record, sort_keys=True) for record in records]
        with self.open(make_store, tmp_path) as store:
            store.append("s", records)
            assert [json.dumps(record, sort_keys=True) for record in store.read("s")] == written
        if self.persistent:
            with self.open(make_store, tmp_path) as store:
                assert [json.dumps(record, sort_keys=True) for record in store.read("s")] == written

    # --- order and positions ----------------------------------------------------------------------------

    @check
    def test_keeps_the_order(self, make_store: Make, tmp_path: Path) -> None:
        """Records come back in the order of writing, whatever times they bear.

        Why: the log is replayed; machines' clocks differ, so its order is the only order there is.
        """
        with self.open(make_store, tmp_path) as store:
            for time in (5.0, 3.0, 9.0, 1.0):
                store.append("s", [{"event": "note", "time": time, "n": int(time)}])
            assert numbers(store.read("s")) == [5, 3, 9, 1]

    @check
    def test_append_gives_the_position(self, make_store: Make, tmp_path: Path) -> None:
        """``append`` returns how many records the study has then.

        Why: a process knows by it whether others wrote in between; if it believes not, it misses their results.
        """
        with self.open(make_store, tmp_path) as store:
            assert [store.append("s", notes(range(count))) for count in (1, 3, 2)] == [1, 4, 6]
            assert store.append("s", []) == 6, "an empty append moves nothing"

    @check
    def test_reads_on_from_any_position(self, make_store: Make, tmp_path: Path) -> None:
        """``read(study, after)`` gives exactly the records behind that position.

        Why: every process reads on from where it is; one record twice or none is a damaged history.
        """
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes(range(4)))
            store.append("s", notes(range(4, 7)))
            for after in range(8):
                assert numbers(store.read("s", after)) == list(range(after, 7)), f"after position {after}"

    @check
    def test_reads_long_logs_whole(self, make_store: Make, tmp_path: Path) -> None:
        """A log of 12,000 records is read to its end.

        Why: a page size that nobody goes beyond in a test loses the tail of a long study.
        """
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes(range(11_000)))
            store.append("s", notes(range(11_000, 12_000)))
            for after in (0, 10_900):
                assert numbers(store.read("s", after)) == list(range(after, 12_000)), f"after position {after}"

    @check
    def test_writes_all_or_none(self, make_store: Make, tmp_path: Path) -> None:
        """Where one of several records cannot be written, none of them is, and the caller hears of it.

        Why: a trial's start without its parameters, or an end without its values, cannot be replayed.
        """
        self.on_disk(tmp_path)
        with self.open(make_store, tmp_path) as store:
            store.append("s", notes([0]))
            bad = {"event": "note", "content": {"n": object()}}
            try:
                store.append("s", [*notes([1]), bad, *notes([2])])
            except (StoreError, TypeError, ValueError):
                pass
            else:
                msg = "an object() was taken for JSON"
                raise AssertionError(msg)
            assert numbers(store.read("s")) == [0], "some of the records that were refused are there"

    # --- several studies --------------------------------------------------------------------------------

    @check
    def test_keeps_studies_apart(self, make_store: Make, tmp_path: Path) -> None:
        """Each study has records and positions of its own, whatever the studies are called.

        Why: names that differ in case, blanks or punctuation only are different studies; mixed logs are lost ones.
        """
        names = ["study", "Study", "study ", "a/b", "a_b", "a.b", "a", "a%", "..", "ü", "CON", "x" * 200]
        if not self.many_studies:
            pytest.skip("this store holds one study")
        with self.open(make_store, tmp_path) as store:
            for number, name in enumerate(names):
                assert store.append(name, notes([number])) == 1, f"the first record of {name!r}"
            for number, name in enumerate(names):
                assert store.append(name, notes([-number])) == 2, f"the second record of {name!r}"
                assert numbers(store.read(name)) == [number, -number], f"the study {name!r}"
                with store.lock(name):
                    pass

    @check
    def test_lists_studies_in_order_of_creation(self, make_store: Make, tmp_path: Path) -> None:
        """``studies()`` gives the names of those that have records, the oldest first.

        Why: `hpt studies` shows it; a study that was only asked for is none.
        """
        names = ["b", "c", "a"] if self.many_studies else ["b"]
        with self.open(make_store, tmp_path) as store:
            store.append("nothing", [])
            assert not list(store.studies()), "a study without records is listed"
            for name in names:
                store.append(name, notes([0]))
            store.append(names[0], notes([1]))
            assert list(store.studies()) == names

    @check
    def test_a_study_that_is_not_there_is_empty(self, make_store: Make, tmp_path: Path) -> None:
        """Reading a study that was never written gives no records, and no error.

        Why: this is how the core finds out that a study is new.
        """
        with self.open(make_store, tmp_path) as store:
            assert list(store.read("s")) == []
            assert list(store.read("s", 3)) == []
            assert list(store.studies()) == []

    # --- files ------------------------------------------------------------------------------------------

    @check
    def test_reading_changes_no_file(self, make_store: Make, tmp_path: Path) -> None:
        """Opening, reading, listing and closing create no file and change none.

        Why: reading commands promise it; a typing error in a path must not leave a new empty store behind.
        """
        path = self.place(tmp_path)
        before = _files(tmp_path)
        _only_read(make_store(path))
        assert _files(tmp_path) == before, "a place without a store"
        with contextlib.closing(make_store(path)) as store:
            store.append("s", notes(range(3)))
        written = _files(tmp_path)
        _only_read(make_store(path))
        assert _files(tmp_path) == written, "a store that is there"

    @check
    def test_closes_and_opens_again(self, make_store: Make, tmp_path: Path) -> None:
        """What was written is there when the store was closed and opened again.

        Why: this is what resuming a study means.
        """
        self.on_disk(tmp_path)
        for number in range(3):
            with self.open(make_store, tmp_path) as store:
                assert numbers(store.read("s")) == list(range(number))
                assert store.append("s", notes([number])) == number + 1

    @check
    def test_may_be_closed_twice(self, make_store: Make, tmp_path: Path) -> None:
        """Closing twice is harmless, and so is closing what was never used.

        Why: the program and the command line both close what they opened, errors or not.
        """
        path = self.place(tmp_path)
        make_store(path).close()
        store = make_store(path)
        store.append("s", notes([0]))
        store.close()
        store.close()


def _only_read(store: Store) -> None:
    store.studies()
    store.read("s")
    store.close()


def _files(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}
