"""What a store promises, on CSV files: order, exact values, columns for people, and reading that leaves no trace."""

from __future__ import annotations

import copy
import csv
import errno
import os
import pickle
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpt_store_csv
from hpt_core import Categorical, Float, Int, Record, Space, Store, StoreError, UsageError
from hpt_store_csv import log, scan
from hpt_store_csv.store import CsvStore

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
PARAMS = st.dictionaries(st.sampled_from(["lr", "model", "=x", "other"]), JSON, max_size=4)
VALUES = st.lists(JSON, max_size=3)
KEYS = [
    "event", "trial", "time", "seq", "last", "more", "params", "values", "value", "definition", "state", "reason"
]  # fmt: skip
EVENTS = st.sampled_from(["created", "amended", "enqueued", "started", "reported", "finished", "stopped", "note"])
RECORDS = st.dictionaries(st.text() | st.sampled_from(KEYS), JSON, max_size=6) | st.fixed_dictionaries(
    {"event": EVENTS},
    optional={
        "trial": st.integers(0, 2) | JSON,
        "params": PARAMS | JSON,
        "values": VALUES | JSON,
        "definition": st.fixed_dictionaries({}, optional={"space": PARAMS, "objectives": PARAMS}) | JSON,
        "time": JSON,
        "reason": st.text(),
    },
)

SPACE = Space({"lr": Float(1e-5, 1, log=True), "model": Categorical("svm", "=1+1", None), "n": Int(1, 9)})


def created(*, objectives: tuple[str, ...] = ("accuracy",), space: Space = SPACE, event: str = "created") -> Record:
    definition = {"space": space.to_json(), "objectives": dict.fromkeys(objectives, "maximize")}
    return {"event": event, "time": 1_700_000_000.25, "definition": definition}


def started(trial: int, **params: Any) -> Record:
    record = {"event": "started", "time": 1_700_000_001.5, "trial": trial, "params": params, "worker": "w"}
    return record | {"attempt": 1, "seen": 1, "source": "sampler"}


def finished(trial: int, *values: float) -> Record:
    record = {"event": "finished", "time": 1_700_000_002.75, "trial": trial, "attempt": 1, "state": "complete"}
    return record | {"values": list(values)}


def typed(value: Any) -> Any:
    """A value with the type of every part, so that 1, 1.0 and True differ, and 0.0 and -0.0."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return (type(value).__name__, repr(value))


def table(path: Path) -> list[dict[str, str]]:
    """The file as any program reads it."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.fixture(params=["runs.csv", "runs"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> CsvStore:
    return CsvStore(path=tmp_path / request.param)


@pytest.fixture
def folder(tmp_path: Path) -> CsvStore:
    return CsvStore(path=tmp_path / "runs")


@pytest.fixture
def file(tmp_path: Path) -> CsvStore:
    return CsvStore(path=tmp_path / "runs.csv")


def test_it_is_a_store(store: CsvStore) -> None:
    assert isinstance(store, Store)


def test_it_registers_its_name_and_what_it_takes() -> None:
    assert hpt_store_csv.hpt_stores() == {"csv": "hpt_store_csv.store:CsvStore"}
    assert [hpt_store_csv.hpt_store_for(location=place) for place in ("a.csv", "B.CSV", "results/")] == ["csv"] * 3
    assert hpt_store_csv.hpt_store_for(location="hpt.db") is None


def test_positions_run_from_one_without_gaps(store: CsvStore) -> None:
    assert store.append("a", [{"n": 1}]) == 1
    assert store.append("a", [{"n": 2}, {"n": 3}]) == 3
    assert store.append("a", []) == 3
    assert store.append("nobody", []) == 0
    assert store.read("a") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert [len(store.read("a", after)) for after in range(5)] == [3, 2, 1, 0, 0]
    assert store.read("nobody") == []
    assert store.studies() == ["a"]


def test_a_folder_keeps_many_studies_in_order_of_creation(folder: CsvStore) -> None:
    names = ["z", "a", "'; DROP TABLE", "../../etc", "ünï\n\0code", "", "CON", "\ud800", "x" * 190]
    for name in names:
        folder.append(name, [{"study": name}])
    assert folder.studies() == names
    assert [folder.read(name)[0]["study"] for name in names] == names
    assert {path.parent for path in folder.path.parent.rglob("*.csv")} == {folder.path}


def test_a_file_keeps_one_study_and_says_how_to_keep_more(file: CsvStore) -> None:
    file.append("a", [{"n": 1}])
    with pytest.raises(
        StoreError, match=r"holds the study 'a', and a CSV file can hold only one\. For several studies, give a folder"
    ):
        file.append("b", [{"n": 2}])
    assert file.read("b") == []
    assert file.studies() == ["a"]


def test_a_damaged_file_in_the_folder_hides_no_other_study(folder: CsvStore) -> None:
    for name in ("ill one", "well"):
        folder.append(name, [{"n": 1}])
    ill = folder.path / "ill%20one.csv"
    ill.write_bytes(ill.read_bytes().replace(b"seq", b"sex"))
    assert folder.studies() == ["well", "ill one"]
    assert folder.read("well") == [{"n": 1}]
    with pytest.raises(StoreError, match=r"ill%20one\.csv is damaged in line 1"):
        folder.read("ill one")


def test_other_files_in_the_folder_are_passed_over(folder: CsvStore) -> None:
    folder.append("a", [{"n": 1}])
    (folder.path / "notes.txt").write_text("x")
    (folder.path / "my data.csv").write_text("x,y\n1,2\n")
    assert folder.studies() == ["a"]
    shutil.copy(folder.path / "a.csv", folder.path / "a-backup.csv")
    assert (folder.studies(), folder.read("a-backup")) == (["a"], [])
    (folder.path / "data.csv").write_text("x,y\n1,2\n")
    assert folder.studies() == ["a"]
    CsvStore(path=folder.path / "b.csv").append("x" * 300, [{"n": 1}])  # too long for a file of this folder
    assert folder.studies() == ["a"]
    with pytest.raises(StoreError, match=r"data\.csv is not a store of hpt"):
        folder.read("data")


@pytest.fixture(scope="module")
def one_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exact") / "runs"


@given(batches=st.lists(st.lists(RECORDS, max_size=5), max_size=2))
def test_what_is_read_is_what_was_written_types_included(one_folder: Path, batches: list[list[Record]]) -> None:
    store, reader = CsvStore(path=one_folder), CsvStore(path=one_folder)
    study = f"study {len(list(one_folder.glob('*.csv')))}"
    written: list[Record] = []
    for batch in batches:
        assert store.append(study, batch) == len(written) + len(batch)
        assert typed(reader.read(study, len(written))) == typed(batch)
        written += batch
    assert typed(reader.read(study)) == typed(store.read(study)) == typed(written)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1, 2}, b"x", object(), [float("nan")]])
def test_what_is_no_json_is_refused_and_nothing_of_the_batch_is_kept(store: CsvStore, bad: object) -> None:
    for study_is_there in (False, True):
        if study_is_there:
            store.append("s", [{"n": 0}])
        with pytest.raises(StoreError, match="JSON values only"):
            store.append("s", [{"n": 1}, {"n": bad}])
        assert len(store.read("s")) == study_is_there


# --- what people see ----------------------------------------------------------------------------------------


def test_the_ends_are_a_table_with_a_column_per_parameter(file: CsvStore) -> None:
    file.append("s", [created()])
    file.append("s", [started(0, lr=0.1, model="svm", n=3)])
    file.append("s", [started(1, lr=0.001, model="=1+1")])
    file.append("s", [{"event": "reported", "trial": 1, "step": 1, "value": 0.25}])
    file.append("s", [finished(1, 0.5)])
    other = CsvStore(path=file.path)  # another process, which has not written the start
    other.append("s", [finished(0, 0.75)])
    ends = [row for row in table(file.path) if row["event"] == "finished"]
    assert [row["values.accuracy"] for row in ends] == ["0.5", "0.75"]
    assert [row["params.lr"] for row in ends] == ["0.001", "0.1"]
    assert [row["params.model"] for row in ends] == ["'=1+1", "svm"]
    assert [row["params.n"] for row in ends] == ["", "3"]
    assert [row["date"] for row in ends] == ["2023-11-14T22:13:22Z"] * 2
    assert file.read("s")[-2:] == [finished(1, 0.5), finished(0, 0.75)]


def test_pandas_reads_it(file: CsvStore) -> None:
    pandas = pytest.importorskip("pandas")
    file.append("s", [created(), *(started(n, lr=n / 8, model="svm", n=n) for n in range(5))])
    file.append("s", [finished(n, n / 4) for n in range(5)])
    frame = pandas.read_csv(file.path)
    ends = frame[frame["event"] == "finished"]
    assert ends["params.lr"].tolist() == [0, 0.125, 0.25, 0.375, 0.5]
    assert ends["values.accuracy"].tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_several_objectives_have_a_column_each(file: CsvStore) -> None:
    file.append("s", [created(objectives=("loss", "size")), finished(0, 1.0, 2.0), finished(1, 3.0)])
    assert [(row["values.loss"], row["values.size"]) for row in table(file.path)[1:]] == [("1.0", "2.0"), ("", "")]
    assert file.read("s")[1:] == [finished(0, 1.0, 2.0), finished(1, 3.0)]


def test_an_amended_space_adds_columns_and_readers_follow(file: CsvStore) -> None:
    file.append("s", [created(), started(0, lr=0.1, model=None, n=1), finished(0, 0.5)])
    reader = CsvStore(path=file.path)
    before = list(reader.read("s"))
    wider = Space({"lr": Float(0, 1), "depth": Int(1, 9)})
    amended = created(objectives=("size", "accuracy"), space=wider, event="amended")
    assert file.append("s", [amended]) == 4
    assert reader.read("s", 3) == [amended]
    assert reader.append("s", [started(1, lr=0.2, depth=5), finished(1, 7.0, 0.6)]) == 6
    assert file.read("s") == [*before, amended, started(1, lr=0.2, depth=5), finished(1, 7.0, 0.6)]
    last = table(file.path)[-1]
    assert (last["params.depth"], last["params.lr"], last["params.n"]) == ("5", "0.2", "")
    assert (last["values.size"], last["values.accuracy"]) == ("", "")  # they stand in another order than the columns
    assert [path.name for path in file.path.parent.iterdir() if path.is_file()] == ["runs.csv"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_file_with_new_columns_keeps_its_permissions(file: CsvStore, mode: int) -> None:
    file.append("s", [created()])
    file.path.chmod(mode)
    file.append("s", [created(space=Space({"depth": Int(1, 9)}), event="amended")])
    assert stat.S_IMODE(file.path.stat().st_mode) == mode


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may change owners")
def test_a_file_to_which_root_adds_columns_stays_with_its_owner(file: CsvStore) -> None:
    file.append("s", [created()])
    os.chown(file.path, 1234, 5678)
    file.append("s", [created(space=Space({"depth": Int(1, 9)}), event="amended")])
    found = file.path.stat()
    assert (found.st_uid, found.st_gid) == (1234, 5678)


def test_a_repeated_definition_leaves_the_file_in_place(file: CsvStore) -> None:
    file.append("s", [created()])
    before = file.path.stat().st_ino
    file.append("s", [created(event="amended")])
    assert file.path.stat().st_ino == before


# --- reading ------------------------------------------------------------------------------------------------


def test_reading_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    for place in ("no/runs.csv", "no/runs", "runs.csv", "runs"):
        store = CsvStore(path=tmp_path / place)
        assert (store.read("s"), store.studies(), store.append("s", [])) == ([], [], 0)
        assert store.location == str(tmp_path / place)
        store.close()
        store.close()
    assert CsvStore(path=tmp_path / "runs.csv").folder == tmp_path / "runs.csv.files"
    assert CsvStore(path=tmp_path / "runs").folder == tmp_path / "runs" / "files"
    assert list(tmp_path.iterdir()) == []


def test_reading_changes_no_file(store: CsvStore, tmp_path: Path) -> None:
    store.append("s", [{"n": 1}])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    reader = CsvStore(path=store.path)
    assert (reader.read("s"), reader.studies()) == ([{"n": 1}], ["s"])
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_an_empty_file_is_a_store_without_studies(file: CsvStore) -> None:
    file.path.touch()
    assert (file.studies(), file.read("s")) == ([], [])
    assert file.append("s", [{"n": 1}]) == 1


def test_readers_see_what_others_write(store: CsvStore) -> None:
    reader = CsvStore(path=store.path)
    assert reader.read("s") == []
    for n in range(3):
        store.append("s", [{"n": n}])
        assert reader.read("s", n) == [{"n": n}]
    assert reader.append("s", [{"n": 3}]) == 4
    assert store.read("s", 2) == [{"n": 2}, {"n": 3}]


def test_what_is_appended_lazily_does_not_wait_for_the_disk(file: CsvStore, monkeypatch: pytest.MonkeyPatch) -> None:
    file.append("s", [{"event": "reported", "step": 0}])
    waits: list[int] = []
    monkeypatch.setattr(os, "fsync", waits.append)
    for step in (1, 2, 3):
        file.append_lazily("s", [{"event": "reported", "step": step}])
    assert not waits
    file.append("s", [{"event": "reported", "step": 4}])
    assert len(waits) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot open folders")
def test_a_new_file_is_on_disk_before_it_takes_its_name_and_its_name_after(
    file: CsvStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could leave an empty file in the place of a study."""
    steps: list[tuple[str, int, int]] = []
    fsync, replace = os.fsync, Path.replace

    def synced(fd: int) -> None:
        steps.append(("synced", os.fstat(fd).st_ino, os.fstat(fd).st_size))
        fsync(fd)

    def replaced(path: Path, target: Path) -> Path:
        steps.append(("renamed", path.stat().st_ino, path.stat().st_size))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    for record in (created(), created(space=Space({"depth": Int(1, 9)}), event="amended")):  # it has a new column
        steps.clear()
        file.append("s", [record])
        written, folder = file.path.stat(), file.path.parent.stat()
        assert steps[:2] == [("synced", written.st_ino, written.st_size), ("renamed", written.st_ino, written.st_size)]
        assert steps[2][:2] == ("synced", folder.st_ino)


def test_a_store_does_not_parse_again_what_it_wrote(file: CsvStore, monkeypatch: pytest.MonkeyPatch) -> None:
    file.append("s", [{"event": "reported", "step": 0}])
    list(file.read("s"))
    parsed: list[int] = []

    def counted(data: bytes, *args: Any, **options: Any) -> Any:
        parsed.append(len(data))
        return scan.parse(data, *args, **options)

    monkeypatch.setattr(log, "parse", counted)
    for step in (1, 2, 3):
        assert file.append("s", [{"event": "reported", "step": step}]) == step + 1
        assert list(file.read("s", step + 1)) == []
    assert sum(parsed) == 0


def test_a_file_that_is_replaced_is_read_afresh(file: CsvStore, tmp_path: Path) -> None:
    file.append("s", [{"n": 1}, {"n": 2}])
    other = CsvStore(path=tmp_path / "other.csv")
    other.append("s", [{"n": "other"}, {"n": "more"}, {"n": "last"}])
    assert len(file.read("s")) == 2
    content = other.path.read_bytes()
    file.path.write_bytes(content)  # the same inode, and longer than before
    assert file.read("s", 2) == [{"n": "last"}]
    other.path.replace(file.path)
    assert file.append("s", [{"n": 4}]) == 4
    file.path.unlink()
    assert file.read("s") == []


def test_threads_share_a_store(store: CsvStore) -> None:
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


def test_a_store_travels_by_pickle_as_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = CsvStore(path=Path("runs.csv"), lock_timeout=7)
    relative.append("s", [{"n": 1}])
    moved = pickle.loads(pickle.dumps(relative))
    monkeypatch.chdir("/")
    assert moved.read("s") == relative.read("s") == copy.deepcopy(relative).read("s") == [{"n": 1}]
    assert moved.lock_timeout == 7


@pytest.mark.parametrize("path", [5, "", None])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    with pytest.raises(UsageError, match=r"`path` option of CsvStore must be a path\. Got "):
        CsvStore(path=path)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    for place in ("no/runs.csv", "no/runs"):
        store = CsvStore(path=tmp_path / place)
        with pytest.raises(StoreError, match=r"The folder .*no.* of the store .* does not exist\. Create it"):
            store.append("s", [{}])
        with pytest.raises(StoreError, match=r"The folder .*no.* of the store .* does not exist\. Create it"):
            store.lock("s").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_a_file_is_reported(file: CsvStore) -> None:
    file.path.mkdir()
    for action in (file.studies, lambda: file.read("s"), lambda: file.append("s", [{}])):
        with pytest.raises(StoreError, match="is a folder, but must be a file"):
            action()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_place_of_a_file_is_reported_and_not_waited_for(file: CsvStore) -> None:
    os.mkfifo(file.path)
    for action in (file.studies, lambda: file.read("s"), lambda: file.append("s", [{}])):
        with pytest.raises(StoreError, match="is a pipe, a socket or a device, but must be a file"):
            action()


def test_a_file_in_the_place_of_a_folder_is_reported(folder: CsvStore) -> None:
    folder.path.write_text("x")
    inside = CsvStore(path=folder.path / "s.csv")
    for action in (folder.studies, lambda: folder.append("s", [{}]), lambda: inside.append("s", [{}])):
        with pytest.raises(StoreError, match="runs is a file, not a folder"):
            action()


@pytest.mark.parametrize("ending", [".csv", ""])
def test_a_folder_that_may_not_be_entered_is_reported(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There not even whether it is a folder can be asked."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    store = CsvStore(path=tmp_path / f"runs{ending}")
    for name in ("is_dir", "iterdir", "mkdir", "stat"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "open", refuse)
    for action in (store.studies, lambda: store.append("s", [{}]), lambda: store.lock("s").__enter__()):
        with pytest.raises(StoreError, match=r"cannot be used .*Permission denied.* Allow this user to read and"):
            action()


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.ESTALE])
def test_a_network_drive_that_is_gone_is_reported(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There not even whether there is a file or a folder can be asked."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    store = CsvStore(path=tmp_path / "runs.csv")
    store.append("s", [{}])
    store.close()
    for name in ("open", "stat"):
        monkeypatch.setattr(os, name, fail)
    for action in (store.studies, lambda: store.append("s", [{}]), lambda: store.lock("s").__enter__()):
        with pytest.raises(
            StoreError, match=rf"runs\.csv failed: .*{os.strerror(number)}.*Check the disk, then run again"
        ):
            action()


@pytest.mark.parametrize("ending", [".csv", ""])
def test_a_path_that_is_too_long_is_reported(tmp_path: Path, ending: str) -> None:
    store = CsvStore(path=tmp_path / f"{'long' * 100}{ending}")
    for action in (lambda: store.append("s", [created()]), lambda: store.lock("s").__enter__()):
        with pytest.raises(StoreError, match="is too long for this system"):
            action()


def test_a_failing_disk_is_reported(file: CsvStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    file.append("s", [created()])
    monkeypatch.setattr(os, "read", fail)
    for action in (lambda: CsvStore(path=file.path).read("s"), lambda: file.append("s", [{}])):
        with pytest.raises(StoreError, match=r"runs\.csv failed: .*Input/output error.*Check the disk, then run again"):
            action()
