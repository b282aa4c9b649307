"""Records that wait for the next commit: what a power cut may leave of them, and that nothing else is lost by it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import tempfile
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpt_core import Float, Record, StoreError, Study
from hpt_store_sqlite import session
from hpt_store_sqlite.late import LATE_BYTES, LateRecords
from hpt_store_sqlite.store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with three durable records, and two behind them that wait."""
    path = tmp_path / "hpt.db"
    with contextlib.closing(SqliteStore(path=path)) as store:
        store.append("s", [{"n": 1}, {"n": 2}, {"n": 3}])
        assert store.append_lazily("s", [{"n": 4, "text": "a\tb\nc"}]) == 4
        assert store.append_lazily("s", [{"n": 5}]) == 5
    return path


def numbers(path: Path, study: str = "s", after: int = 0) -> list[int]:
    with contextlib.closing(SqliteStore(path=path)) as store:
        return [record["n"] for record in store.read(study, after)]


def committed(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


def late(path: Path) -> Path:
    return path.with_name(f"{path.name}-late")


def test_the_database_is_not_touched(path: Path) -> None:
    before = path.read_bytes()
    with contextlib.closing(SqliteStore(path=path)) as store:
        assert store.append_lazily("s", [{"n": 6}]) == 6
    assert path.read_bytes() == before
    assert committed(path) == 3
    assert [numbers(path, after=after) for after in (0, 3, 4, 6)] == [[1, 2, 3, 4, 5, 6], [4, 5, 6], [5, 6], []]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_they_are_as_private_or_shared_as_the_database(path: Path, mode: int) -> None:
    late(path).unlink()
    path.chmod(mode)
    with contextlib.closing(SqliteStore(path=path)) as store:
        assert store.append_lazily("s", [{"n": 4}]) == 4
    assert stat.S_IMODE(late(path).stat().st_mode) == mode


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may change owners")
def test_root_does_not_take_them_from_the_owner_of_the_database(path: Path) -> None:
    late(path).unlink()
    path.chmod(0o600)
    os.chown(path, 1234, 5678)
    with contextlib.closing(SqliteStore(path=path)) as store:
        assert store.append_lazily("s", [{"n": 4}]) == 4
    found = late(path).stat()
    assert (found.st_uid, found.st_gid) == (1234, 5678)


def test_the_first_record_of_a_new_file_is_committed(tmp_path: Path) -> None:
    with contextlib.closing(SqliteStore(path=tmp_path / "new.db")) as store:
        assert store.append_lazily("s", [{"n": 1}]) == 1
        assert committed(store.path) == 1


def test_several_at_once_are_committed_so_that_a_kill_leaves_all_or_none(path: Path) -> None:
    with contextlib.closing(SqliteStore(path=path)) as store:
        assert store.append_lazily("s", [{"n": 6}, {"n": 7}]) == 7
    assert committed(path) == 7


def test_the_next_commit_takes_them_in_before_its_own(path: Path) -> None:
    with contextlib.closing(SqliteStore(path=path)) as store:
        assert store.append("s", [{"n": 6}]) == 6
    assert committed(path) == 6
    assert late(path).read_bytes() == b""
    assert numbers(path) == [1, 2, 3, 4, 5, 6]


def test_a_commit_of_another_study_takes_them_in_too(path: Path) -> None:
    with contextlib.closing(SqliteStore(path=path)) as store:
        assert store.append_lazily("t", [{"n": 1}]) == 1, "the first record of a study is committed"
        assert committed(path) == 6
        assert store.append_lazily("t", [{"n": 2}]) == 2
        assert store.append_lazily("s", [{"n": 6}]) == 6
    assert (numbers(path), numbers(path, "t")) == ([1, 2, 3, 4, 5, 6], [1, 2])


def test_whatever_a_power_cut_leaves_of_them_no_other_record_is_touched(path: Path) -> None:
    """Any beginning of the file, or zeros from anywhere on: the disk had not got the rest."""
    content = late(path).read_bytes()
    for cut in range(len(content)):
        for left in (content[:cut], content[:cut] + bytes(len(content) - cut)):
            late(path).write_bytes(left)
            found = numbers(path)
            assert found in ([1, 2, 3], [1, 2, 3, 4]), f"cut at {cut}: {found}"
    for cut in (0, 20, len(content) - 1):
        late(path).write_bytes(content[:cut])
        found = numbers(path)
        with contextlib.closing(SqliteStore(path=path)) as store:
            assert store.append_lazily("s", [{"n": 99}]) == len(found) + 1
            assert numbers(path) == [*found, 99]
        late(path).write_bytes(b"")


def test_a_damaged_line_and_what_is_behind_it_give_way_to_the_next_record(path: Path) -> None:
    content = late(path).read_bytes()
    late(path).write_bytes(b"?" + content[1:])
    with contextlib.closing(SqliteStore(path=path)) as store:  # as long as the line in whose place it comes
        assert store.append_lazily("s", [{"n": 9, "text": "a\tb\nc"}]) == 4
    assert numbers(path) == [1, 2, 3, 9]


def test_a_full_disk_leaves_no_part_of_a_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(FileIO):
        def write(self, data: Any) -> int:
            return super().write(data[:7])

    before = late(path).read_bytes()
    with contextlib.closing(SqliteStore(path=path)) as store, monkeypatch.context() as patch:
        patch.setattr("hpt_store_sqlite.late.FileIO", Full)
        with pytest.raises(StoreError, match="The disk is full: nothing could be added to"):
            store.append_lazily("s", [{"n": 6}])
    assert late(path).read_bytes() == before
    assert numbers(path) == [1, 2, 3, 4, 5]


def test_those_that_were_taken_in_count_once_if_the_file_could_not_be_emptied(path: Path) -> None:
    """The process died, or the machine, between the commit and emptying the file."""
    waiting = late(path).read_bytes()
    with contextlib.closing(SqliteStore(path=path)) as store:
        store.append("s", [{"n": 6}])
        late(path).write_bytes(waiting)
        assert numbers(path) == [1, 2, 3, 4, 5, 6]
        assert store.append_lazily("s", [{"n": 7}]) == 7
        assert numbers(path) == [1, 2, 3, 4, 5, 6, 7]
        assert store.append("s", [{"n": 8}]) == 8
    assert numbers(path) == [1, 2, 3, 4, 5, 6, 7, 8]


_STEPS = st.tuples(
    st.sampled_from(["append", "append_lazily", "append_lazily", "read"]),
    st.integers(0, 2),
    st.sampled_from("st"),
    st.booleans(),
)


@given(steps=st.lists(_STEPS, max_size=30))
@example(
    [
        ("append", 0, "s", False),
        ("append_lazily", 1, "s", False),
        ("append", 0, "s", True),
        ("append_lazily", 1, "s", False),
    ]
)
@settings(deadline=None)
def test_processes_that_take_turns_agree_on_the_order(steps: list[tuple[str, int, str, bool]]) -> None:
    """Each is a store of its own here; some die between the commit and emptying the file."""
    logs: dict[str, list[Record]] = {"s": [], "t": []}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
        path = Path(folder) / "hpt.db"
        stores = [opened.enter_context(contextlib.closing(SqliteStore(path=path))) for _ in range(3)]
        for number, (action, who, study, dies) in enumerate(steps):
            with pytest.MonkeyPatch.context() as patch:
                if dies:
                    patch.setattr(os, "truncate", cannot)
                if action != "read":
                    logs[study].append({"n": number})
                    assert getattr(stores[who], action)(study, logs[study][-1:]) == len(logs[study])
            assert stores[who].read(study) == logs[study]
        assert {study: numbers(path, study) for study in logs} == {
            study: [record["n"] for record in log] for study, log in logs.items()
        }


def cannot(*_: object) -> None:
    raise OSError


def test_a_file_that_is_emptied_and_begun_anew_while_it_is_read_is_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new lines are as long as the old ones, so the read goes on at the beginning of a line."""
    late(path).write_bytes(b"")
    reader, writer = SqliteStore(path=path), SqliteStore(path=path)
    writer.append_lazily("s", [{"n": 4}])
    writer.append_lazily("s", [{"n": 5}])
    readall, moments = FileIO.readall, iter([1])

    class Interrupted(FileIO):
        def readall(self) -> bytes:
            found = readall(self)
            for n in (6, 7, 8, 9) if next(moments, None) else ():
                (writer.append if n == 6 else writer.append_lazily)("s", [{"n": n}])
            return found + readall(self)

    monkeypatch.setattr("hpt_store_sqlite.late.FileIO", Interrupted)
    assert [record["n"] for record in reader.read("s")] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert reader.append("s", [{"n": 10}]) == 10
    assert numbers(path) == list(range(1, 11))
    for store in (reader, writer):
        store.close()


def test_the_announcement_of_another_commit_in_the_same_place_is_not_taken_for_the_first(path: Path) -> None:
    """Both processes that announced a commit died before it."""
    late(path).write_bytes(b"")
    reader, writer = SqliteStore(path=path), SqliteStore(path=path)
    for first in (4, 7):
        writer.append_lazily("s", [{"n": first}])
        writer.append_lazily("s", [{"n": first + 1}])
        LateRecords(path).take()
        assert [record["n"] for record in reader.read("s")] == list(range(1, first + 2))
        assert (writer if first == 4 else reader).append("s", [{"n": first + 2}]) == first + 2
    assert numbers(path) == list(range(1, 10))
    for store in (reader, writer):
        store.close()


def test_those_of_another_database_are_passed_over(path: Path) -> None:
    """Somebody put back an older copy of the database."""
    path.unlink()
    assert numbers(path) == []
    with contextlib.closing(SqliteStore(path=path)) as store:
        store.append("s", [{"n": 0}])
    assert numbers(path) == [0]


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("lazily", [False, True])
def test_when_they_are_deleted_while_in_use_nothing_is_written_behind_the_gap(
    path: Path, lazily: bool, writes: bool
) -> None:
    """What a process adds rests on what it has read or written."""
    store = SqliteStore(path=path)
    assert (store.append_lazily("s", [{"n": 6}]) if writes else len(store.read("s"))) >= 5
    late(path).unlink()
    append = store.append_lazily if lazily else store.append
    for _ in range(2):
        with pytest.raises(StoreError, match="lacks records that it had before"):
            append("s", [{"n": 6}])
    assert store.append("t", [{"n": 1}]) == 1
    assert numbers(path) == [1, 2, 3]
    store.close()
    assert append("s", [{"n": 4}]) == 4
    store.close()


@pytest.mark.parametrize("seconds", [session._COMMIT_SECONDS + 1, -3600])
def test_a_commit_is_due_now_and_then(path: Path, seconds: float) -> None:
    """Also if the clock was set back since the last one."""
    with contextlib.closing(SqliteStore(path=path)) as store:
        last_commit = time.time() - seconds
        os.utime(path, (last_commit, last_commit))
        assert store.append_lazily("s", [{"n": 6}]) == 6
        assert committed(path) == 6, "queries see what is older than some seconds"
        for n in range(7, 60):
            assert store.append_lazily("s", [{"n": n, "text": "x" * (LATE_BYTES // 16)}]) == n
            assert late(path).stat().st_size < LATE_BYTES + LATE_BYTES // 8
    assert committed(path) > 20
    assert numbers(path) == list(range(1, 60))


def test_a_decision_is_committed_with_all_reports_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hpt.db"
    append, positions = SqliteStore.append, []

    def watched(self: SqliteStore, study: str, records: Sequence[Record]) -> int:
        positions.append(append(self, study, records))
        assert committed(path) == positions[-1]
        return positions[-1]

    monkeypatch.setattr(SqliteStore, "append", watched)
    rule = {"use": "threshold", "limit": 5}
    study = Study({"x": [1, 2, 3]}, sampler="grid", store=SqliteStore(path=path), stop=[rule], seed=0)
    study.run(lambda params: (float(params["x"] * step) for step in range(1, 7)), trials=3)
    events = [record["event"] for record in SqliteStore(path=path).read(study.name)]
    study.close()
    states = {trial.state for trial in study.trials}
    assert {"stopped"} <= states
    assert len(positions) < len(events) - events.count("reported") + 1, "each report was committed by itself"


def test_a_start_that_a_power_cut_cost_is_decided_again_alike(tmp_path: Path) -> None:
    path = tmp_path / "hpt.db"

    def opened() -> Study:
        return Study({"x": Float(0, 1)}, sampler="random", store=SqliteStore(path=path), seed=0)

    with contextlib.closing(opened()) as study:
        study.tell(study.ask(), 0.5)
        lost = study.ask()
        other = SqliteStore(path=path)
        assert other.read(study.name)[-1]["event"] == "started", "another process sees it at once"
        other.close()
    late(path).write_bytes(b"")
    with contextlib.closing(opened()) as study:
        assert [trial.value for trial in study.trials] == [0.5]
        again = study.ask()
        assert (again.number, again.params) == (lost.number, lost.params)


def test_a_trial_without_reports_is_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append, written = SqliteStore.append, []

    def watched(self: SqliteStore, study: str, records: Sequence[Record]) -> int:
        written.append([record["event"] for record in records])
        return append(self, study, records)

    monkeypatch.setattr(SqliteStore, "append", watched)
    study = Study({"x": [1, 2, 3]}, sampler="grid", store=SqliteStore(path=tmp_path / "hpt.db"), seed=0)
    study.run(lambda params: params["x"], trials=3)
    study.close()
    assert written == [["created", "joined"], ["finished"], ["finished"], ["finished"], ["stopped"]]
