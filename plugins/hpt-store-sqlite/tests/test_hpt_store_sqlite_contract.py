"""What a store promises, on one SQLite file: order, exact values, clear errors, and reading that leaves no trace."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpt_store_sqlite
from hpt_core import Store, StoreError, UsageError
from hpt_store_sqlite import session as session_module
from hpt_store_sqlite.problems import explained
from hpt_store_sqlite.store import SqliteStore

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.lists(st.dictionaries(st.text() | st.sampled_from(["event", "trial"]), JSON, max_size=6), max_size=4)


def typed(value: Any) -> Any:
    """A value with the type of every part, so that 1, 1.0 and True differ, and 0.0 and -0.0."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return (type(value).__name__, repr(value))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(path=tmp_path / "hpt.db")
    yield made
    made.close()


def test_it_is_a_store(store: SqliteStore) -> None:
    assert isinstance(store, Store)


def test_it_registers_its_name_and_its_endings() -> None:
    assert hpt_store_sqlite.hpt_stores() == {"sqlite": "hpt_store_sqlite.store:SqliteStore"}
    takes = ["a.db", "x/y.sqlite", "/z.sqlite3", "UPPER.DB"]
    assert [hpt_store_sqlite.hpt_store_for(location=place) for place in takes] == ["sqlite"] * 4
    assert hpt_store_sqlite.hpt_store_for(location="runs.csv") is None


def test_positions_run_from_one_without_gaps(store: SqliteStore) -> None:
    assert store.append("a", [{"n": 1}]) == 1
    assert store.append("a", [{"n": 2}, {"n": 3}]) == 3
    assert store.append("b", [{"n": 4}]) == 1
    assert store.append("a", []) == 3
    assert store.append("nobody", []) == 0
    assert store.read("a") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert [len(store.read("a", after)) for after in range(5)] == [3, 2, 1, 0, 0]
    assert store.read("b") == [{"n": 4}]
    assert store.read("nobody") == []


def test_studies_come_in_order_of_creation_under_any_name(store: SqliteStore) -> None:
    names = ["z", "a", "'; DROP TABLE events --", "../../etc", "ünï\n\0code", "", "x" * 5000]
    for name in names:
        store.append(name, [{"study": name}])
    assert store.studies() == names
    assert [store.read(name)[0]["study"] for name in names] == names
    with pytest.raises(StoreError, match="valid Unicode"):
        store.append("\ud800", [{}])


def test_many_records_are_read_over_the_seams_of_chunks(store: SqliteStore) -> None:
    records = [{"n": n} for n in range(10_001)]
    assert store.append("s", records) == 10_001
    assert store.read("s") == records
    assert store.read("s", 4_999) == records[4_999:]


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exact") / "hpt.db"


@given(batches=st.lists(RECORDS, max_size=2))
def test_what_is_read_is_what_was_written_types_included(one_file: Path, batches: list[list[dict[str, Any]]]) -> None:
    store, reader = SqliteStore(path=one_file), SqliteStore(path=one_file)
    study = f"study {len(store.studies())}"
    for batch in batches:
        store.append(study, batch)
    assert typed(reader.read(study)) == typed([record for batch in batches for record in batch])
    store.close()
    reader.close()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1, 2}, b"x", object()])
def test_what_is_no_json_is_refused_and_nothing_of_the_batch_is_kept(store: SqliteStore, bad: object) -> None:
    with pytest.raises(StoreError, match="JSON values only"):
        store.append("s", [{"n": 1}, {"n": bad}])
    assert store.read("s") == []


def test_a_batch_that_fails_in_the_middle_leaves_nothing(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append("s", [{"n": 1}])
    without_position = (
        "INSERT INTO events SELECT study, seq / (2 - seq % 3), 1, 1, 1, body "
        "FROM (SELECT ? AS study, ? AS seq, ? AS body)"
    )
    monkeypatch.setattr("hpt_store_sqlite.schema.INSERT", without_position)
    with pytest.raises(StoreError):  # the second of its rows has no position
        store.append("s", [{"n": 2}, {"n": 3}])
    monkeypatch.undo()
    assert store.append("s", [{"n": 4}]) == 2
    assert store.read("s") == [{"n": 1}, {"n": 4}]


def test_reading_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path / "no" / "hpt.db")
    assert (store.read("s"), store.studies(), store.append("s", [])) == ([], [], 0)
    assert store.folder == tmp_path / "no" / "hpt.db.files"
    assert store.location == str(tmp_path / "no" / "hpt.db")
    store.close()
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_reading_changes_no_file(store: SqliteStore, tmp_path: Path) -> None:
    store.append("s", [{"n": 1}])
    store.close()
    before = contents(tmp_path)
    reader = SqliteStore(path=store.path)
    assert (reader.read("s"), reader.studies()) == ([{"n": 1}], ["s"])
    assert contents(tmp_path) == before
    reader.close()
    assert contents(tmp_path) == before


def test_an_empty_file_is_a_store_without_studies(store: SqliteStore) -> None:
    store.path.touch()
    assert store.studies() == []
    assert store.append("s", [{"n": 1}]) == 1


def test_readers_see_what_others_write(store: SqliteStore) -> None:
    reader = SqliteStore(path=store.path)
    assert reader.read("s") == []
    for n in range(3):
        store.append("s", [{"n": n}])
        assert reader.read("s", n) == [{"n": n}]
    reader.close()


def test_threads_share_a_store(store: SqliteStore) -> None:
    def write(name: int) -> None:
        for n in range(25):
            store.append("s", [{"by": name, "n": n}])
            store.read("s", 10)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = store.read("s")
    assert len(records) == 100
    for name in range(4):
        assert [r["n"] for r in records if r["by"] == name] == list(range(25))


def test_a_store_travels_by_pickle_as_its_options(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.path.parent)
    relative = SqliteStore(path=Path("hpt.db"), lock_timeout=7)
    relative.append("s", [{"n": 1}])
    moved = pickle.loads(pickle.dumps(relative))
    monkeypatch.chdir("/")
    assert moved.read("s") == relative.read("s") == [{"n": 1}]
    assert moved.lock_timeout == 7
    for other in (moved, relative, copy.deepcopy(relative)):
        other.close()


@pytest.mark.parametrize("path", [5, "", None])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    with pytest.raises(UsageError, match=r"`path` option of SqliteStore must be a path\. Got "):
        SqliteStore(path=path)


def test_any_other_file_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    files = {
        "text.db": b"this is no database, and long enough to be looked at as one" * 20,
        "short.db": b"\1\2\3",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE trials (x)")
    connection.close()
    with sqlite3.connect(tmp_path / "other empty.db") as connection:
        connection.execute("PRAGMA application_id = 5")
    connection.close()
    for name in [*files, "other.db", "other empty.db"]:
        before = (tmp_path / name).read_bytes()
        store = SqliteStore(path=tmp_path / name)
        for action in (store.studies, lambda s=store: s.append("s", [{}])):
            why = "not a store of hpt: it is the SQLite" if name.startswith("other") else "damaged or not a store"
            with pytest.raises(StoreError, match=f"{name} is {why}"):
                action()
        store.close()
        assert (tmp_path / name).read_bytes() == before


def test_a_database_of_optuna_is_named_with_the_command_that_imports_it(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    path = tmp_path / "optuna.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    optuna.create_study(storage=storage).optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    storage.remove_session()
    storage.engine.dispose()
    store = SqliteStore(path=path)
    with pytest.raises(StoreError, match=rf"database of Optuna\. .* 'hpt import {path} --store NEW\.db'"):
        store.studies()
    store.close()


def test_a_path_that_is_too_long_is_reported(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path / f"{'long' * 100}.db")
    for action in (store.studies, lambda: store.append("s", [{}]), lambda: store.lock("s").__enter__()):
        with pytest.raises(StoreError, match="is too long for this system"):
            action()


def test_a_folder_that_may_not_be_entered_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There not even whether it is a folder can be asked."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    store = SqliteStore(path=tmp_path / "s.db")
    for name in ("is_dir", "iterdir", "mkdir", "stat"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "open", refuse)
    for action in (store.studies, lambda: store.append("s", [{}]), lambda: store.lock("s").__enter__()):
        with pytest.raises(StoreError, match=r"cannot be used .*Permission denied.* Allow this user to read and"):
            action()


def test_a_newer_format_is_refused_and_left_unchanged(store: SqliteStore) -> None:
    store.append("s", [{"n": 1}])
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = store.path.read_bytes()
    for action in (lambda: store.read("s"), lambda: store.append("s", [{}]), store.studies):
        with pytest.raises(StoreError, match=r"newer hpt-store-sqlite \(format 2, known: 1\)"):
            action()
    assert store.path.read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DELETE FROM events WHERE seq = 2", "record 2 of the study 's': it is missing"),
        ("DELETE FROM events WHERE study_id = 1 AND seq = 1", "record 1 of the study 's': it is missing"),
        ("UPDATE events SET body = '{\"n\":1' WHERE seq = 2", "record 2 of the study 's': it is not valid JSON"),
        (
            'UPDATE events SET body = \'{"n":1},{"n":2}\' WHERE seq = 2',
            "record 2 of the study 's': it is not valid JSON",
        ),
        ("UPDATE events SET body = '[1]' WHERE seq = 2", "record 2 of the study 's': it is not a JSON object"),
        ("UPDATE events SET body = '{\"n\":NaN}' WHERE seq = 2", "record 2 of the study 's': it is not valid JSON"),
        ("UPDATE events SET body = x'ff' WHERE seq = 2", "record 2 of the study 's': it is not valid JSON"),
    ],
)
def test_a_damaged_record_is_reported_with_its_position_and_a_remedy_that_works(
    store: SqliteStore, damage: str, said: str
) -> None:
    store.append("s", [{"n": 1}, {"n": 2}, {"n": 3}])
    store.append("other", [{"n": 4}])
    store.close()
    connection = sqlite3.connect(store.path)
    connection.executescript(damage)
    with pytest.raises(StoreError, match=rf"hpt\.db is damaged in {re.escape(said)}.* from its table `events`") as told:
        store.read("s")
    assert store.read("other") == [{"n": 4}]
    bad = int(re.search(r"record (\d)", str(told.value))[1])  # type: ignore[index]  # found above
    connection.execute(
        "DELETE FROM events WHERE study_id = (SELECT id FROM studies WHERE name = 's') AND seq >= ?", [bad]
    )
    connection.commit()
    connection.close()
    assert store.read("s") == [{"n": 1}, {"n": 2}][: bad - 1]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET body = CAST(x'ff' AS TEXT) WHERE seq = 2",
        "UPDATE studies SET name = x'73'",
        "DROP TABLE events",
        "ALTER TABLE studies ADD COLUMN x",
        "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END",
    ],
)
def test_damage_is_reported_with_the_file_and_a_remedy(store: SqliteStore, damage: str) -> None:
    store.append("s", [{"n": 1}, {"n": 2}, {"n": 3}])
    store.close()
    connection = sqlite3.connect(store.path)
    connection.executescript(damage)
    connection.close()
    with pytest.raises(StoreError, match=r"hpt\.db is damaged .*\.recover .*sqlite\.org"):
        [*store.studies(), *store.read("s")]


def test_a_study_that_was_deleted_from_one_table_only_is_reported(store: SqliteStore) -> None:
    store.append("s", [{"n": 1}])
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("DELETE FROM studies")
    connection.close()
    with pytest.raises(StoreError, match=r"hpt\.db is damaged .*UNIQUE constraint failed: events\.study_id"):
        store.append("s", [{"n": 2}])


def test_pages_that_were_overwritten_are_reported(store: SqliteStore) -> None:
    store.append("s", [{"n": n, "text": "x" * 200} for n in range(500)])
    store.close()
    content = bytearray(store.path.read_bytes())
    content[8192:] = bytes(len(content) - 8192)
    store.path.write_bytes(content)
    with pytest.raises(StoreError, match=r"hpt\.db is damaged"):
        store.read("s")


def test_the_pages_are_checked_once_and_not_at_each_read(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append("s", [{"n": 1}])
    store.close()
    select, checks = session_module.Session.select, []

    def counted(self: session_module.Session, sql: str, args: Sequence[Any] = ()) -> list[Any]:
        checks.extend([sql] if "quick_check" in sql else [])
        return select(self, sql, args)

    monkeypatch.setattr(session_module.Session, "select", counted)
    for _ in range(3):
        assert list(store.read("s")) == [{"n": 1}]
    assert len(checks) == 1


def test_a_file_that_is_taken_away_is_missed(store: SqliteStore, tmp_path: Path) -> None:
    store.append("s", [{"n": 1}])
    store.path.rename(tmp_path / "elsewhere.db")
    for action in (lambda: store.append("s", [{"n": 2}]), lambda: store.read("s")):
        with pytest.raises(StoreError, match="moved, deleted or replaced while it was in use"):
            action()
    store.close()
    assert store.append("s", [{"n": 2}]) == 1


def test_links_to_a_file_are_one_store(store: SqliteStore, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(store.path)
    other = SqliteStore(path=link)
    assert [store.append("s", [{}]), other.append("s", [{}])] == [1, 2]
    assert other.folder == store.folder
    assert list(link.parent.iterdir()) == [link]
    other.close()


def test_a_reader_follows_a_file_that_is_replaced(store: SqliteStore, tmp_path: Path) -> None:
    other = SqliteStore(path=tmp_path / "other.db")
    other.append("s", [{"n": "other"}])
    other.close()
    store.append("s", [{"n": 1}])
    store.close()
    assert store.read("s") == [{"n": 1}]
    other.path.replace(store.path)
    assert store.read("s") == [{"n": "other"}]
    store.path.unlink()
    assert store.read("s") == []


def test_a_file_in_write_ahead_mode_is_taken_back(store: SqliteStore, tmp_path: Path) -> None:
    store.append("s", [{"n": 1}])
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert store.append("s", [{"n": 2}]) == 2
    store.close()
    connection = sqlite3.connect(store.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".hpt-locks", "hpt.db"]


def test_every_commit_is_on_disk_before_it_is_acknowledged(store: SqliteStore) -> None:
    with session_module.Session(store.path, 1.0).writing() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (3,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)


def test_a_file_that_takes_the_place_of_another_is_checked(store: SqliteStore, tmp_path: Path) -> None:
    for made in (store, SqliteStore(path=tmp_path / "newer.db")):
        made.append("s", [{"n": 1}])
        made.close()
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    assert store.read("s") == [{"n": 1}]
    (tmp_path / "newer.db").replace(store.path)
    with pytest.raises(StoreError, match=r"newer hpt-store-sqlite \(format 2, known: 1\)"):
        store.read("s")


def test_a_record_that_is_too_large_is_refused(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_MAX_BYTES", 20_000)
    with pytest.raises(StoreError, match="A record is too large for"):
        store.append("s", [{"text": "x" * 30_000}])
    assert store.read("s") == []


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.ESTALE])
def test_a_network_drive_that_is_gone_is_reported(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There not even whether there is a file or a folder can be asked."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    store = SqliteStore(path=tmp_path / "runs.db")
    store.append("s", [{}])
    store.close()
    for name in ("open", "stat"):
        monkeypatch.setattr(os, name, fail)
    for action in (store.studies, lambda: store.append("s", [{}]), lambda: store.lock("s").__enter__()):
        with pytest.raises(
            StoreError, match=rf"runs\.db failed: .*{os.strerror(number)}.*Check the disk, then run again"
        ):
            action()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (sqlite3.SQLITE_CORRUPT, "is damaged or not a store of hpt"),
        (sqlite3.SQLITE_FULL, "The disk is full"),
        (sqlite3.SQLITE_IOERR, r"failed: .*\. Check the disk"),
        (sqlite3.SQLITE_READONLY, "cannot be used .*Allow this user"),
        (sqlite3.SQLITE_TOOBIG, "A record is too large for"),
    ],
)
def test_an_error_of_sqlite_names_its_remedy(tmp_path: Path, code: int, said: str) -> None:
    err = sqlite3.OperationalError("no")
    err.sqlite_errorcode = code
    with pytest.raises(StoreError, match=said), explained(tmp_path / "hpt.db"):
        raise err


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path / "no" / "hpt.db")
    for action in (lambda: store.append("s", [{}]), lambda: store.lock("s").__enter__()):
        with pytest.raises(StoreError, match=r"The folder .*no of the store hpt\.db does not exist\. Create it"):
            action()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_its_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "no").touch()
    store = SqliteStore(path=tmp_path / "no" / "hpt.db")
    for action in (lambda: store.append("s", [{}]), lambda: store.lock("s").__enter__()):
        with pytest.raises(StoreError, match=r"no is a file, so the store hpt\.db cannot be in it"):
            action()


def test_a_folder_in_its_place_is_reported(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path)
    for action in (lambda: store.append("s", [{}]), store.studies):
        with pytest.raises(StoreError, match="is a folder, but must be a file"):
            action()
    store.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_its_place_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hpt.db")
    store = SqliteStore(path=tmp_path / "hpt.db")
    for action in (store.studies, lambda: store.read("s"), lambda: store.append("s", [{}])):
        with pytest.raises(StoreError, match="is a pipe, a socket or a device, but must be a file"):
            action()
