"""Every problem is one `StoreError` that names the database, the cause and the remedy, and never the password."""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hpt_core import StoreError
from hpt_store_postgres.address import Address
from hpt_store_postgres.store import PostgresStore

server = runpy.run_path(str(Path(__file__).with_name("test_hpt_store_postgres_server.py")))["server"]

PASSWORD = "s3cr%25t"


@pytest.fixture
def name(server: Any) -> str:
    return str(server.database())


@contextmanager
def opened(url: str, **options: Any) -> Iterator[PostgresStore]:
    with closing(PostgresStore(url=url, **{"lock_timeout": 1, **options})) as store:
        yield store


def told(action: Callable[[], object]) -> str:
    """The message of the `StoreError` that an action raises."""
    with pytest.raises(StoreError) as raised:
        action()
    assert "s3cr" not in "".join(traceback.format_exception(raised.value))
    return str(raised.value)


def all_told(store: PostgresStore) -> set[str]:
    """The message that all actions give."""
    actions: list[Callable[[], object]] = [
        lambda: store.append("s", [{}]),
        lambda: store.append_lazily("s", [{}]),
        lambda: store.read("s"),
        store.studies,
        lambda: store.lock("s").__enter__(),
    ]
    return {told(action) for action in actions}


@pytest.fixture
def guest(server: Any, name: str) -> str:
    """A new user with the password and no rights."""
    user = f"guest_{name}"
    server.execute(f"CREATE ROLE {user} LOGIN PASSWORD 's3cr%t'")
    return user


def test_no_server(tmp_path: Path) -> None:
    for host in (str(tmp_path).replace("/", "%2F"), "127.0.0.1:1"):
        with opened(f"postgresql://ann:{PASSWORD}@{host}/db") as store:
            (text,) = all_told(store)
            assert text.startswith(f"Cannot connect to postgresql://ann@{host}/db: ")
            assert "Check that the server runs" in text
            assert "Is the server running" not in text  # libpq's hint says the same


def test_a_name_that_is_no_host() -> None:
    with opened(f"postgresql://ann:{PASSWORD}@no-such-host.invalid/db") as store:
        assert "no-such-host.invalid" in told(store.studies)


def test_a_database_that_does_not_exist(server: Any) -> None:
    with opened(server.url("nowhere")) as store:
        (text,) = all_told(store)
        assert 'database "nowhere" does not exist' in text
        assert "Create it (createdb, createuser), or correct the URL." in text


def test_a_wrong_password(server: Any, name: str, guest: str) -> None:
    for user in (f"{guest}:s3cret", guest):
        with opened(server.url(name, user)) as store:
            (text,) = all_told(store)
            assert text.startswith(f"Cannot connect to {server.url(name, guest)}: ")
            assert "Check the user and the password." in text
            assert "PGPASSWORD" in text


def test_the_right_password_from_the_url_the_environment_and_a_file(
    server: Any, name: str, guest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def works(user: str) -> bool:
        with opened(server.url(name, user)) as store:
            return store.studies() == []

    assert works(f"{guest}:{PASSWORD}")
    with monkeypatch.context() as patch:
        patch.setenv("PGPASSWORD", "s3cr%t")
        assert works(guest)
    file = tmp_path / "pgpass"
    file.write_text(f"*:*:*:{guest}:s3cr%t\n", encoding="utf-8")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    assert works(guest)


def test_all_parts_of_the_url_may_come_from_the_environment(
    server: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(server.url(name)) as store:
        store.append("s", [{"n": 1}])
        for part, value in (
            ("HOST", Address.parse(store.url).parameters["host"]),
            ("USER", "postgres"),
            ("DATABASE", name),
        ):
            monkeypatch.setenv(f"PG{part}", value)
    with opened("postgresql://") as store:
        assert store.read("s") == [{"n": 1}]


def test_a_user_who_may_only_read(server: Any, name: str, guest: str) -> None:
    with opened(server.url(name)) as store, opened(server.url(name, f"{guest}:{PASSWORD}")) as reader:
        text = told(lambda: reader.append("s", [{}]))
        assert f"permission denied for database {name}" in text
        assert "GRANT CREATE ON DATABASE" in text
        store.append("s", [{"n": 1}])
        assert "permission denied for schema hpt" in told(lambda: reader.read("s"))
        server.execute(f"GRANT USAGE ON SCHEMA hpt TO {guest}", database=name)
        server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA hpt TO {guest}", database=name)
        assert (reader.read("s"), reader.studies()) == ([{"n": 1}], ["s"])
        for write in (reader.append, reader.append_lazily):
            assert "USAGE ON SCHEMA hpt and SELECT, INSERT, UPDATE" in told(partial(write, "s", [{}]))
        server.execute(f"GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA hpt TO {guest}", database=name)
        assert (reader.append("s", [{}]), reader.append("new", [{}])) == (2, 1)  # what the message asks for is enough


def test_a_user_for_whom_an_administrator_has_made_the_schema(server: Any, name: str, guest: str) -> None:
    server.execute(f"CREATE SCHEMA hpt AUTHORIZATION {guest}", database=name)
    with opened(server.url(name, f"{guest}:{PASSWORD}")) as store:
        assert store.append("s", [{}]) == 1


def test_an_empty_schema_of_another_owner(server: Any, name: str, guest: str) -> None:
    server.execute("CREATE SCHEMA hpt", database=name)
    server.execute(f"ALTER DATABASE {name} OWNER TO {guest}")
    with opened(server.url(name, f"{guest}:{PASSWORD}")) as store:
        assert "GRANT USAGE, CREATE ON SCHEMA hpt" in told(lambda: store.append("s", [{}]))
        server.execute(f"GRANT USAGE, CREATE ON SCHEMA hpt TO {guest}", database=name)
        assert store.append("s", [{}]) == 1  # what the message asks for is enough


def test_a_standby_can_be_read(server: Any, name: str) -> None:
    with opened(server.url(name)) as store:
        store.append("s", [{"n": 1}])
    with opened(server.url(name, query="?options=-cdefault_transaction_read_only%3Don")) as store:
        assert store.read("s") == [{"n": 1}]
        with store.lock("s"):
            text = told(lambda: store.append("s", [{}]))
        assert "can only be read" in text
        assert "connect to the primary" in text


def test_too_many_connections(server: Any, name: str, guest: str) -> None:
    server.execute(f"ALTER ROLE {guest} CONNECTION LIMIT 0")
    with opened(server.url(name, f"{guest}:{PASSWORD}")) as store:
        (text,) = all_told(store)
        assert "too many connections" in text
        assert "Each run needs two connections, whatever its number of workers. Start fewer runs" in text


@pytest.mark.parametrize("act", ["SELECT pg_advisory_unlock_all()", "PREPARE _pg3_0 AS SELECT 1"])
def test_a_pooler_that_gives_a_session_to_others(server: Any, name: str, act: str) -> None:
    """What others do in the session of a lock: release it, or prepare statements under psycopg's names."""

    def work() -> None:
        with store.lock("s"):
            (connection,) = store._session().connections._holders.values()
            connection.execute(act.encode())
            for _ in range(9):  # psycopg prepares a statement that is often used
                store.append("s", [{}])

    with opened(server.url(name)) as store:
        text = told(work)
        assert "a pooler in transaction mode" in text
        assert "pool_mode = session" in text
        with store.lock("s"):
            pass


def test_a_statement_timeout(server: Any, name: str) -> None:
    with opened(server.url(name, query="?options=-cstatement_timeout%3D300")) as store:
        store.append("s", [{}])
        with holding_the_row(server, name):
            text = told(lambda: store.append("s", [{}]))
        assert "statement timeout" in text
        assert "statement_timeout%3D0 to the URL" in text
    with opened(server.url(name, query="?options=-cstatement_timeout%3D0")) as store:
        assert store.append("s", [{}]) == 2


def test_a_transaction_timeout_does_not_end_who_waits_for_a_lock(server: Any, name: str) -> None:
    url = server.url(name, query="?options=-ctransaction_timeout%3D300")
    with opened(server.url(name)) as store, opened(url, lock_timeout=0.6) as waiting, store.lock("s"):
        assert "Waited 0.6 s for the study 's'" in told(lambda: waiting.lock("s").__enter__())


def test_a_session_that_holds_the_row_of_the_study(server: Any, name: str) -> None:
    with opened(server.url(name), lock_timeout=0.2) as store:
        store.append("s", [{}])
        with holding_the_row(server, name):
            assert "raise the store's option `lock_timeout`" in told(lambda: store.append("s", [{}]))
            assert store.append("another", [{}]) == 1
        assert store.append("s", [{}]) == 2


@contextmanager
def holding_the_row(server: Any, name: str) -> Iterator[None]:
    with psycopg.connect(server.url(name)) as connection:
        connection.execute("UPDATE hpt.studies SET size = size")
        yield
        connection.rollback()


def test_a_newer_format_is_left_unchanged(server: Any, name: str) -> None:
    with opened(server.url(name)) as store:
        store.append("s", [{}])
    server.execute("UPDATE hpt.format SET version = 2", database=name)
    with opened(server.url(name)) as store:
        with store.lock("s"):
            text = told(lambda: store.append("s", [{}]))
        assert "was written by a newer hpt-store-postgres (format 2, known: 1). Update that package." in text
        assert {told(lambda: store.read("s")), told(store.studies)} == {text}
    assert server.execute("SELECT size FROM hpt.studies", database=name) == [(1,)]


@pytest.mark.parametrize(
    "tables",
    [
        "CREATE TABLE hpt.studies (x int)",
        "CREATE TABLE hpt.format (x int)",
        "CREATE TABLE hpt.format (version int)",
        "CREATE TABLE hpt.format AS SELECT 1 AS version; CREATE TABLE hpt.studies (x int)",
        "CREATE TABLE hpt.format AS SELECT 1 AS version; CREATE VIEW hpt.events AS SELECT 1 AS x",
    ],
)
def test_a_schema_of_another_program_is_left_unchanged(server: Any, name: str, tables: str) -> None:
    server.execute("CREATE SCHEMA hpt", database=name)
    for table in tables.split("; "):
        server.execute(table, database=name)
    with opened(server.url(name)) as store:
        text = told(lambda: store.append("s", [{}]))
        assert "The schema hpt of" in text
        assert "damaged or belongs to another program" in text
    count = "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'hpt'"
    assert server.execute(count, database=name) == [(tables.count("CREATE"),)]


def test_another_encoding(server: Any) -> None:
    name = server.database(options="ENCODING 'LATIN1' TEMPLATE template0")
    record = {"text": "漢 \x00 \udc80", "ü": "😀"}
    with opened(server.url(name)) as store:
        assert store.append("grün", [record]) == 1
        assert (store.read("grün"), store.studies()) == ([record], ["grün"])
        text = told(lambda: store.append("漢", [record]))
        assert "cannot hold the name of the study" in text
        assert "UTF8" in text


def test_a_record_or_a_name_that_cannot_be_stored(server: Any, name: str) -> None:
    with opened(server.url(name)) as store:
        for wrong in (float("nan"), object(), {1, 2}):
            assert "A record must hold JSON values only" in told(partial(store.append, "s", [{}, {"x": wrong}]))
        for bad in ("a\0b", "a\udc80"):
            for action in (
                store.read,
                lambda name: store.lock(name).__enter__(),
                lambda name: store.append(name, [{}]),
            ):
                assert "The name of a study must" in told(partial(action, bad))
        assert store.studies() == []
        long = "".join(chr(0x4E00 + n % 20_000) for n in range(5000))
        assert "Shorten the name of the study" in told(partial(store.append, long, [{}]))
        assert store.append(long[:666], [{}]) == 1


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DELETE FROM hpt.events WHERE seq = 2", "record 2 of the study 's': it is missing"),
        ("UPDATE hpt.events SET body = '{' WHERE seq = 2", "record 2 of the study 's': it is not valid JSON"),
        ("UPDATE hpt.events SET body = '{\"x\":NaN}' WHERE seq = 3", "record 3 .*NaN is not a finite number"),
        ("UPDATE hpt.events SET body = '1' WHERE seq = 1", "record 1 of the study 's': it is not a JSON object"),
    ],
)
def test_damage(server: Any, name: str, damage: str, said: str) -> None:
    with opened(server.url(name)) as store:
        store.append("s", [{"n": n} for n in range(1, 4)])
        server.execute(damage, database=name)
        with pytest.raises(StoreError, match=said) as raised:
            store.read("s")
        position = int(str(raised.value).split("record ")[1].split()[0])
        server.execute(f"DELETE FROM hpt.events WHERE seq >= {position}", database=name)  # the remedy
        server.execute(f"UPDATE hpt.studies SET size = {position - 1}", database=name)
    with opened(server.url(name)) as store:
        assert store.append("s", [{"n": position}]) == position
        assert store.read("s") == [{"n": n} for n in range(1, position + 1)]


def test_a_size_that_is_too_small(server: Any, name: str) -> None:
    with opened(server.url(name)) as store:
        store.append("s", [{}, {}])
    server.execute("UPDATE hpt.studies SET size = 1", database=name)
    with opened(server.url(name)) as store:
        text = told(lambda: store.append("s", [{}]))
    assert "is damaged" in text
    assert "events_pkey" in text
    assert server.execute("SELECT size FROM hpt.studies", database=name) == [(1,)]


def test_a_study_that_lost_records_while_in_use_is_left_unchanged(server: Any, name: str) -> None:
    with opened(server.url(name)) as store, opened(server.url(name)) as other:
        store.append("s", [{}, {}])
        assert len(other.read("s")) == 2
        server.execute("DELETE FROM hpt.studies WHERE name = 's'", database=name)
        assert server.execute("SELECT count(*) FROM hpt.events", database=name) == [(0,)]
        for used in (store, other):
            assert "lacks records of the study 's' that it had before" in told(partial(used.append, "s", [{}]))
        assert store.studies() == []
        with opened(server.url(name)) as new:
            assert new.append("s", [{}]) == 1
        assert "lacks records" in told(lambda: store.append("s", [{}]))


def test_who_has_seen_records_that_a_crash_of_the_server_lost_writes_nothing_more(server: Any, name: str) -> None:
    """Others may have written in their place since; with the old records in mind, a trial would be started twice."""
    with opened(server.url(name)) as writer, opened(server.url(name)) as reader, opened(server.url(name)) as other:
        writer.append("s", [{"n": 1}, {"n": 2}])
        assert len(other.read("s")) == 2
        writer.append_lazily("s", [{"n": 3}])
        assert len(reader.read("s", 2)) == 1
        server.execute("DELETE FROM hpt.events WHERE seq = 3", database=name)
        server.execute("UPDATE hpt.studies SET size = 2", database=name)
        assert other.append("s", [{"other": n} for n in range(5)]) == 7
        for used in (writer, reader):
            assert "its server crashed" in told(partial(used.append, "s", [{"n": 4}]))
        assert other.append("s", [{}]) == 8
