"""Several processes on one database: order, the lock, kill -9, forks; and connections that are lost."""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpt_core import StoreError
from hpt_store_postgres.store import PostgresStore

server = runpy.run_path(str(Path(__file__).with_name("test_hpt_store_postgres_server.py")))["server"]

forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

SESSIONS = "FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND application_name LIKE 'process%%'"


@pytest.fixture
def name(server: Any) -> str:
    return str(server.database())


@pytest.fixture
def store(server: Any, name: str) -> Iterator[PostgresStore]:
    with contextlib.closing(PostgresStore(url=server.url(name), lock_timeout=20)) as store:
        yield store


def another(store: PostgresStore, **options: Any) -> contextlib.closing[PostgresStore]:
    return contextlib.closing(PostgresStore(url=store.url, **{"lock_timeout": 20, **options}))


def start(code: str, *args: object) -> subprocess.Popen[str]:
    """Run code in a process of its own that knows `PostgresStore` and the arguments as `args`."""
    head = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}; args = sys.argv[1:]\n"
    body = "from hpt_store_postgres.store import PostgresStore\n" + textwrap.dedent(code)
    command = [sys.executable, "-S", "-c", head + body, *map(str, args)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def holder(store: PostgresStore, action: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has done ``action`` and stays until it is killed."""
    code = f"store = PostgresStore(url=args[0])\n{action}\nprint('done', flush=True)\nsys.stdin.read()\n"
    with start(code, store.url) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            yield process
        finally:
            process.kill()


def terminate(server: Any, name: str) -> int:
    """End all sessions of hpt in a database, and wait until they have ended; returns how many there were."""
    count = len(server.execute(f"SELECT pg_terminate_backend(pid, 10000) {SESSIONS}", name))
    assert not sessions(server, name)
    return count


def sessions(server: Any, name: str) -> list[str]:
    return [row[0] for row in server.execute(f"SELECT application_name {SESSIONS}", name)]


# --- order --------------------------------------------------------------------------------------------------


def test_processes_that_write_the_same_study_lose_nothing_and_leave_no_gap(store: PostgresStore) -> None:
    code = """
        store = PostgresStore(url=args[0])
        sys.stdin.read(1)
        for n in range(150):
            with store.lock("s"):
                before = len(store.read("s"))
                position = store.append("s", [{"by": args[1], "n": n, "before": before}])
            assert position == before + 1
            store.append_lazily("t", [{"by": args[1], "n": n}, {"by": args[1], "n": -n}])
    """
    processes = [start(code, store.url, by) for by in "ab"]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    records, pairs = store.read("s"), store.read("t")
    assert [r["before"] for r in records] == list(range(300))  # nobody came between reading and writing
    assert all(a["by"] == b["by"] and a["n"] == -b["n"] for a, b in zip(pairs[::2], pairs[1::2], strict=True))
    for by in "ab":
        assert [r["n"] for r in records if r["by"] == by] == list(range(150))
        assert [r["n"] for r in pairs[::2] if r["by"] == by] == list(range(150))


def test_several_may_create_the_tables_at_the_same_time(server: Any) -> None:
    """Here threads, each with a connection of its own; for the server these are the same."""

    def create(url: str, gate: threading.Barrier, positions: list[int]) -> None:
        with contextlib.closing(PostgresStore(url=url)) as store:
            assert not store.studies()
            gate.wait()
            positions.append(store.append("s", [{}]))

    for _ in range(5):
        url, gate = server.url(server.database()), threading.Barrier(6)
        positions: list[int] = []
        threads = [threading.Thread(target=create, args=(url, gate, positions)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(positions) == [1, 2, 3, 4, 5, 6]


def test_only_an_append_waits_for_the_disk(store: PostgresStore, server: Any, name: str) -> None:
    """Else a report of a running trial would take as long as a commit; and not even a default may weaken an append."""
    server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store.append("s", [{}])
    server.execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.body := json_build_object('commit', current_setting('synchronous_commit')); RETURN NEW; END $$",
        database=name,
    )
    server.execute(
        "CREATE TRIGGER note BEFORE INSERT ON hpt.events FOR EACH ROW EXECUTE FUNCTION note()", database=name
    )
    for write in (store.append, store.append_lazily, store.append_lazily, store.append):
        write("s", [{}])
    assert [record["commit"] for record in store.read("s", 1)] == ["on", "off", "off", "on"]


# --- the lock -----------------------------------------------------------------------------------------------


def test_the_lock_excludes_processes_and_dies_with_its_holder(store: PostgresStore) -> None:
    with (
        another(store, lock_timeout=0.3) as impatient,
        holder(store, "lock = store.lock('s'); lock.__enter__()") as process,
    ):
        with pytest.raises(
            StoreError, match=rf"Waited 0\.3 s for the study 's' in .*: process {process.pid} on .* holds"
        ):
            impatient.lock("s").__enter__()
        with impatient.lock("another"):  # of another study: free
            assert impatient.append("s", [{}]) == 1  # and appends go on
        process.kill()
        process.wait()
        with store.lock("s"):
            pass


def test_a_lock_timeout_of_zero_does_not_wait(store: PostgresStore) -> None:
    with another(store, lock_timeout=0) as impatient:
        with impatient.lock("s"):
            pass
        with store.lock("s"), pytest.raises(StoreError, match="Waited 0 s for the study"):
            impatient.lock("s").__enter__()


def test_one_thread_at_a_time_holds_the_lock(store: PostgresStore, server: Any, name: str) -> None:
    inside: list[int] = []
    counts: list[int] = []

    def work(me: int) -> None:
        for _ in range(5):
            with store.lock("s"):
                inside.append(me)
                time.sleep(0.002)
                store.append("s", [{"n": me}])
                counts.append(len(inside))
                inside.remove(me)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1] * 20
    assert len(store.read("s")) == 20
    assert len(sessions(server, name)) <= 1 + 4  # connections are used again
    store.close()
    deadline = time.monotonic() + 20
    while sessions(server, name) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not sessions(server, name)


def test_ctrl_c_while_waiting_leaves_no_lock_behind(store: PostgresStore, server: Any, name: str) -> None:
    code = "store = PostgresStore(url=args[0]); print('go', flush=True)\nwith store.lock('s'): pass"
    with store.lock("s"), start(code, store.url) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not server.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            time.sleep(0.01)
        process.send_signal(2)
        process.communicate()
        assert process.returncode != 0
    with another(store, lock_timeout=5) as impatient, impatient.lock("s"):
        pass


# --- forks --------------------------------------------------------------------------------------------------


@forks
def test_a_forked_child_connects_anew_and_holds_no_lock(store: PostgresStore) -> None:
    store.append("s", [{"n": 1}])
    with holder(
        store,
        "import os\nstore.append('s', [{'n': 2}])\nlock = store.lock('s'); lock.__enter__()\n"
        "if not os.fork():\n    assert store.append('s', [{'n': 3}]) == 3\n"
        "    print('done', flush=True); os.read(0, 1); os._exit(0)\nsys.stdin.read()",
    ) as process:
        process.kill()  # the child lives
        with another(store, lock_timeout=5) as impatient, impatient.lock("s"):
            assert impatient.append("s", [{"n": 4}]) == 4


@forks
def test_forks_amid_the_work_of_a_thread_do_no_harm(store: PostgresStore) -> None:
    over = threading.Event()
    written = [0]

    def write() -> None:
        while not over.is_set():
            with store.lock("s"):
                written[0] = store.append("s", [{"n": written[0] + 1}])

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(20):
        child = os.fork()
        if not child:
            store.close()
            store._sessions.clear()  # what the parent had open is closed here, as when the child ends by itself
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    over.set()
    thread.join()
    assert [r["n"] for r in store.read("s")] == list(range(1, written[0] + 1))


@forks
def test_a_child_forked_while_a_thread_uses_the_store_can_use_it(store: PostgresStore) -> None:
    store.append("s", [{"n": 1}])
    inside, over = threading.Event(), threading.Event()

    def use(_: object) -> None:
        inside.set()
        over.wait()

    thread = threading.Thread(target=store._session().connections.run, args=[use])
    thread.start()
    inside.wait()
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(store.append("s", [{"n": 2}]))
    status = os.waitpid(child, 0)[1]
    over.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 2


# --- lost connections ---------------------------------------------------------------------------------------


def uses(store: PostgresStore) -> list[Callable[[], object]]:
    return [
        lambda: store.append("s", [{"n": 1}]),
        lambda: store.append_lazily("s", [{"n": 2}]),
        lambda: store.read("s"),
        store.studies,
        lambda: store.lock("s").__enter__(),
    ]


def test_a_terminated_connection_is_made_again(store: PostgresStore, server: Any, name: str) -> None:
    for use in uses(store):
        use()
        assert terminate(server, name) > 0
    with store.lock("s"):
        assert store.append("s", [{"n": 3}]) == 3
    assert [r["n"] for r in store.read("s")] == [1, 2, 3]


def test_a_server_that_restarts_is_waited_for(store: PostgresStore, server: Any) -> None:
    store.append("s", [{"n": 0}])
    errors: list[BaseException] = []
    over = threading.Event()

    def write() -> None:
        try:
            while not over.is_set():
                records = store.read("s")
                store.append("s", [{"n": len(records)}, {"n": len(records) + 1}])
        except BaseException as err:  # noqa: BLE001 - shown by the assertion
            errors.append(err)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(2):
        count = len(store.read("s"))
        server.stop()
        server.start()
        while len(store.read("s")) < count + 10 and not errors:
            time.sleep(0.01)
    over.set()
    thread.join()
    assert errors == []
    records = store.read("s")
    assert [r["n"] for r in records] == list(range(len(records)))  # none twice, none lost


def test_who_waits_for_a_lock_while_the_server_restarts_gets_it(store: PostgresStore, server: Any) -> None:
    got = threading.Event()

    def wait() -> None:
        with another(store) as other, other.lock("s"):
            got.set()

    with store.lock("s"):
        thread = threading.Thread(target=wait)
        thread.start()
        while not server.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            time.sleep(0.01)
        server.stop()
        server.start()
        assert got.wait(20)
        thread.join()


def test_a_server_that_stays_away_is_reported_with_what_is_unknown(store: PostgresStore, server: Any) -> None:
    with another(store, lock_timeout=0.3) as impatient:
        impatient.append("s", [{}])
        server.stop()
        try:
            with pytest.raises(StoreError, match=r"was lost\. Cannot connect to .* last append were stored is unknown"):
                impatient.append("s", [{}])
        finally:
            server.start()
        assert impatient.append("s", [{}]) == 2


def test_an_outage_is_waited_for_once(store: PostgresStore, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A run that gives up still has to write that its trials have ended, each of which would wait again."""
    with another(store, lock_timeout=0.3) as impatient:
        for outage in (1, 2):
            impatient.append("s", [{}])
            server.stop()
            try:
                for use in [lambda: impatient.append("s", [{}]), *uses(impatient)]:
                    with pytest.raises(StoreError, match="Cannot connect to"):
                        use()
            finally:
                server.start()
            assert sum("Trying again for 0.3 s" in message for message in caplog.messages) == outage


def test_an_append_whose_commit_was_not_acknowledged_is_stored_once(store: PostgresStore) -> None:
    """The statement is executed, then the connection breaks before its answer is read."""
    store.append("s", [{"n": 0}])
    session = store._session()
    session.connections.close()
    connection: Any = CutOff(session.connections._connect())
    session.connections._main = connection
    assert store.append("s", [{"n": 1}, {"n": 2}]) == 3
    assert connection.closed
    assert store.append("s", [{"n": 3}]) == 4
    assert [r["n"] for r in store.read("s")] == [0, 1, 2, 3]
    with store.lock("s"):
        (place,) = session.connections._holders
        breaking: Any = CutOff(session.connections._holders[place])
        session.connections._holders[place] = breaking
        assert store.append("s", [{"n": 4}, {"n": 5}]) == 6  # it was stored while the lock was held
        with pytest.raises(StoreError, match="lost while this process held the lock of the study 's'"):
            store.append("s", [{"n": 6}])
    assert [r["n"] for r in store.read("s")] == list(range(6))


class CutOff:
    """A connection that breaks when it has executed an append."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *arguments: Any) -> Any:
        found = self._connection.execute(sql, *arguments)
        if "INSERT INTO hpt.events" in sql:
            self._connection.close()
            self._connection.execute("SELECT 1")  # raises
        return found


def test_a_lock_that_is_lost_before_there_are_tables(store: PostgresStore, server: Any, name: str) -> None:
    with store.lock("s"):
        terminate(server, name)
        with pytest.raises(StoreError, match="lost while this process held the lock of the study 's'"):
            store.append("s", [{}])
    assert store.append("s", [{}]) == 1


def test_who_has_lost_the_lock_can_no_longer_write_under_it(store: PostgresStore, server: Any, name: str) -> None:
    """Else two processes could start the same trial."""
    store.append("s", [{"n": 1}])
    with another(store) as other:
        with store.lock("s"):
            terminate(server, name)
            with other.lock("s"):
                assert other.append("s", [{"n": 2}]) == 2
                with pytest.raises(
                    StoreError, match=r"lost while this process held the lock of the study 's'.*Run again"
                ):
                    store.append("s", [{"n": 0}])
                assert store.append("another study", [{}]) == 1
        assert [r["n"] for r in store.read("s")] == [1, 2]
        with store.lock("s"):
            assert store.append("s", [{"n": 3}]) == 3
