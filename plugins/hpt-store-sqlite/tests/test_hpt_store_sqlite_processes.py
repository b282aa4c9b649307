"""Several processes on one SQLite file: order, the lock, forks, kill -9, a full disk."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpt_core import StoreError, locks
from hpt_store_sqlite.store import SqliteStore

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")


def start(code: str, *args: object) -> subprocess.Popen[str]:
    """Run code in a light process of its own that knows `SqliteStore` and the arguments as `args`."""
    head = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}; args = sys.argv[1:]\n"
    body = "from pathlib import Path\nfrom hpt_store_sqlite.store import SqliteStore\n" + textwrap.dedent(code)
    command = [sys.executable, "-S", "-c", head + body, *map(str, args)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def holder(path: Path, action: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has done ``action`` and stays until it is killed."""
    code = f"store = SqliteStore(path=Path(args[0]))\n{action}\nprint('done', flush=True)\nsys.stdin.read()\n"
    with start(code, path) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            yield process
        finally:
            process.kill()


def test_four_processes_lose_nothing_and_leave_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "hpt.db"
    code = """
        store = SqliteStore(path=Path(args[0]))
        for n in range(100):
            with store.lock("s"):
                before = len(store.read("s"))
                position = store.append("s", [{"by": args[1], "n": n, "before": before}])
            assert position > before
    """
    processes = [start(code, path, name) for name in "abcd"]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 4
    store = SqliteStore(path=path)
    records = store.read("s")
    assert [r["before"] for r in records] == list(range(400))  # nobody came between reading and writing
    for name in "abcd":
        assert [r["n"] for r in records if r["by"] == name] == list(range(100))
    store.close()


def test_the_lock_excludes_processes_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "hpt.db"
    impatient = SqliteStore(path=path, lock_timeout=0.3)
    with holder(path, "lock = store.lock('s'); lock.__enter__()") as process:
        with pytest.raises(StoreError, match=rf"study 's' in .*process {process.pid} holds it.*`lock_timeout`"):
            impatient.lock("s").__enter__()
        with impatient.lock("another"):  # of another study: free
            assert impatient.append("s", [{}]) == 1  # and appends go on
        process.kill()
        process.wait()
        with impatient.lock("s"):
            pass
    impatient.close()


def test_the_lock_excludes_threads(tmp_path: Path) -> None:
    assert most_at_once(tmp_path) == 1


def test_without_the_lock_the_test_of_threads_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_try_lock", lambda _: True)
    assert most_at_once(tmp_path) > 1


def most_at_once(folder: Path) -> int:
    inside: list[int] = []
    counts: list[int] = []
    store = SqliteStore(path=folder / "hpt.db")

    def work(name: int) -> None:
        for _ in range(5):
            with store.lock("s"):
                inside.append(name)
                time.sleep(0.002)
                counts.append(len(inside))
                inside.remove(name)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(counts)


def test_an_error_under_the_lock_passes_unchanged_and_frees_it(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path / "hpt.db", lock_timeout=0)
    with pytest.raises(FileNotFoundError, match="mine"), store.lock("s"):
        raise FileNotFoundError("mine")
    with store.lock("s"):
        pass


def test_appending_lazily_waits_for_the_writer_of_another_process(tmp_path: Path) -> None:
    """Else both could give their records the same positions."""
    path = tmp_path / "hpt.db"
    writes = "store.append('s', [{}]); writing = store._session().writing(); writing.__enter__()"
    with contextlib.closing(SqliteStore(path=path, lock_timeout=0.2)) as store:
        with holder(path, writes), pytest.raises(StoreError, match=r"Waited 0\.2 s for .*hpt\.db for writing"):
            store.append_lazily("s", [{}])
        assert store.append_lazily("s", [{}]) == 2


def test_waiting_is_logged_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds), time_ns=time.time_ns
    )
    monkeypatch.setattr(locks, "time", clock)
    monkeypatch.setattr(locks, "_NOTICE_SECONDS", 0.1)
    path = tmp_path / "hpt.db"
    held_up = SqliteStore(path=path, lock_timeout=0.35)
    held_up.append("s", [{}])
    stuck = "import sqlite3; c = sqlite3.connect(args[0], isolation_level=None); c.execute('BEGIN EXCLUSIVE')"
    with holder(path, stuck), caplog.at_level(logging.WARNING, "hpt"):
        for action in (lambda: held_up.append("s", [{}]), lambda: held_up.read("s")):
            with pytest.raises(StoreError, match=r"Waited 0.35 s for .*hpt\.db: another process holds it"):
                action()
    assert len([r for r in caplog.records if r.getMessage().startswith("Waiting for")]) >= 2
    assert held_up.append("s", [{}]) == 2
    held_up.close()


def test_whoever_waits_does_so_anew_for_each_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda _: now.__setitem__(0, now[0] + 1))
    with pytest.raises(StoreError, match="process 29 holds it"):  # 30 holders of two seconds each, then one for ever
        locks.wait_for(lambda: False, "x", 10, lambda: f"process {min(29, int(now[0] // 2))}")
    assert 58 + 10 <= now[0] <= 58 + 21


def test_a_deleted_lock_file_is_not_trusted(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path / "hpt.db", lock_timeout=0.2)
    waiting = threading.Event()
    inside: list[str] = []

    def second() -> None:
        waiting.set()
        with SqliteStore(path=tmp_path / "hpt.db").lock("s"):
            inside.append("second")

    thread = threading.Thread(target=second)
    with store.lock("s"):
        thread.start()
        waiting.wait()
        time.sleep(0.05)  # it has opened the file by now
        (lock_file,) = (tmp_path / ".hpt-locks").iterdir()
        lock_file.unlink()
    thread.join()
    assert inside == ["second"]
    with store.lock("s"):
        assert lock_file.exists()


@posix
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_opens_the_file_anew_and_holds_no_lock(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path / "hpt.db", lock_timeout=20)
    store.append("s", [{"n": 1}])
    with store.lock("s"):
        read_end, write_end = os.pipe()
        child = os.fork()
        if not child:
            os.close(write_end)
            code = 1
            with contextlib.suppress(BaseException):
                assert store.append("s", [{"n": 2}]) in (2, 3)
                os.read(read_end, 1)  # until the parent closes its end
                code = 0
            os._exit(code)
        os.close(read_end)
    with store.lock("s"):  # the child lives and has a copy of the lock's descriptor no more
        assert store.append("s", [{"n": 3}]) in (2, 3)
    os.close(write_end)
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(r["n"] for r in store.read("s")) == [1, 2, 3]
    store.close()


@posix
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_waits_for_the_transaction_of_another_thread(tmp_path: Path) -> None:
    """If a child inherited an open transaction, closing its copy would roll it back."""

    def fork() -> None:
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)

    thread = threading.Thread(target=fork)
    with contextlib.closing(SqliteStore(path=tmp_path / "hpt.db")) as store:
        with store._session().writing():
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
        thread.join()


@posix
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forks_amid_the_writes_of_a_thread_do_no_harm(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path / "hpt.db")
    over = threading.Event()
    written = [0]

    def write() -> None:
        while not over.is_set():
            written[0] = store.append("s", [{"n": written[0] + 1}])

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(30):
        child = os.fork()
        if not child:
            store.close()
            store._sessions.clear()  # what the parent had open is closed here, as when the child ends by itself
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    over.set()
    thread.join()
    assert [r["n"] for r in store.read("s")] == list(range(1, written[0] + 1))
    store.close()


# --- crashes ------------------------------------------------------------------------------------------------


@posix
def test_200_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    found = kill_writers(tmp_path, 200)
    assert found["lost"] == found["twice"] == found["changed by reading"] == 0
    assert found["acknowledged"] > 100
    assert found["cut off in a commit"] > 0  # the kills hit where it hurts


@posix
def test_the_test_of_kills_sees_what_is_acknowledged_too_early(tmp_path: Path) -> None:
    assert kill_writers(tmp_path, 40, "early")["lost"] > 0


def test_a_file_whose_writer_died_in_a_commit_is_read_as_it_was_before(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path / "hpt.db")
    records = [{"n": n, "text": "x" * 3000} for n in range(20)]
    store.append("s", records)
    store.close()
    half_done = """import sqlite3
c = sqlite3.connect(args[0], isolation_level=None)
c.executescript('PRAGMA cache_size = 2; BEGIN; UPDATE events SET body = 1; DELETE FROM events WHERE seq > 10')
"""
    with holder(store.path, half_done) as process:
        process.kill()
        process.wait()
        before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        assert len(before) == 2
        reader = SqliteStore(path=store.path)
        assert (reader.read("s"), reader.studies()) == (records, ["s"])
        assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
        if sys.platform == "linux":
            descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - no paths are needed
            for _ in range(3):  # as a dashboard does
                again = SqliteStore(path=store.path)
                assert again.read("s") == records
                again.close()
            assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
        assert store.append("s", [{"n": 20}]) == 21  # a writer puts it right
        assert reader.read("s", 20) == [{"n": 20}]
        reader.close()
        store.close()


def kill_writers(folder: Path, kills: int, *flags: str) -> dict[str, int]:
    code = f"import runpy; runpy.run_path({str(KILL_WRITERS)!r}, run_name='__main__')"
    with start(code, folder / "hpt.db", kills, *flags) as process:
        told, _ = process.communicate()
    assert process.returncode == 0
    found: dict[str, int] = json.loads(told)
    return found


KILL_WRITERS = Path(__file__).with_name("test_hpt_store_sqlite_kills.py")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("needs root on Linux, to mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(store: SqliteStore, count: int) -> int:
    """Append until that fails; returns what the last append that worked said."""
    with contextlib.suppress(StoreError):
        while True:
            write = store.append_lazily if count % 3 else store.append
            count = write("s", [{"n": count + 1, "text": "x" * 200}])
    return count


def test_a_full_disk_costs_only_what_was_not_acknowledged(small_disk: Path) -> None:
    store = SqliteStore(path=small_disk / "hpt.db")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(100_000))
    acknowledged = 0
    for _ in range(3):
        acknowledged = fill(store, acknowledged)
        with pytest.raises(StoreError, match=r"The disk is full: nothing could be added to .*hpt\.db.*Free some space"):
            store.append("s", [{"n": 0, "text": "x" * 200}])
        assert [r["n"] for r in store.read("s")] == list(range(1, acknowledged + 1))
        filler.write_bytes(filler.read_bytes()[:-30_000])
        assert store.append("s", [{"n": acknowledged + 1}]) == acknowledged + 1
        acknowledged += 1
    store.close()
    with contextlib.closing(sqlite3.connect(small_disk / "hpt.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_read_only_disk_can_be_read_and_writing_is_reported(small_disk: Path) -> None:
    store = SqliteStore(path=small_disk / "hpt.db")
    store.append("s", [{"n": 1}])
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert store.read("s") == [{"n": 1}]
    actions: list[Callable[[], object]] = [lambda: store.append("s", [{}]), lambda: store.lock("s").__enter__()]
    for action in actions:
        with pytest.raises(StoreError, match=r"hpt\.db cannot be used .*Allow this user"):
            action()
    store.close()
