"""Whether processes are alive, with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpt_core import liveness
from hpt_core.liveness import LEASE_SECONDS, is_alive, owner_of, this_process


def started(code: str, *within: str) -> subprocess.Popen[str]:
    command = [*within, sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


TELL = "from hpt_core.liveness import this_process; print(this_process(), flush=True); input()"


def test_this_process_is_alive() -> None:
    me = this_process()
    assert me == this_process()
    assert int(me.rsplit(":", 2)[1]) == os.getpid()
    assert is_alive(me, 1e9)  # silence does not matter if a process can be looked up


def test_a_process_is_alive_until_it_is_killed_and_not_as_a_zombie() -> None:
    process = started(TELL)
    try:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        assert owner != this_process()
        assert is_alive(owner, 0.0)
        process.kill()
        end = time.monotonic() + 10
        while is_alive(owner, 0.0):  # it is not waited for, so it stays a zombie
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    assert not is_alive(owner, 0.0)


def test_a_reused_process_id_is_another_process() -> None:
    host, pid, start = this_process().rsplit(":", 2)
    assert not is_alive(f"{host}:{pid}:{int(start) + 1}", 0.0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_name_of_a_process_may_be_any_bytes() -> None:
    cut = "étude-étude-étude".encode()[:15]  # the system cuts names there, in the middle of a character
    with pytest.raises(UnicodeDecodeError):
        cut.decode()
    process = started(f"open('/proc/self/comm', 'wb').write({cut!r})\n{TELL}")
    try:
        assert process.stdout is not None
        assert is_alive(process.stdout.readline().strip(), 1e9)
    finally:
        process.communicate("\n")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_hidden_process_of_another_user_is_alive_during_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    process = started(TELL)
    try:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda path: (path / "hidden").stat())  # as with hidepid=2
            assert is_alive(owner, LEASE_SECONDS - 1)
            assert not is_alive(owner, LEASE_SECONDS + 1)
            process.communicate("\n")
            assert not is_alive(owner, 0.0)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_a_name_of_its_own() -> None:
    me = this_process()
    child = os.fork()
    if not child:
        os._exit(me == this_process() or not is_alive(me, 0.0))
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("silent", "alive"), [(0.0, True), (LEASE_SECONDS - 1, True), (LEASE_SECONDS + 1, False)])
def test_a_process_on_another_machine_is_alive_during_its_lease(silent: float, alive: bool) -> None:
    assert is_alive("another-host:1:1", silent) is alive


@pytest.mark.skipif(sys.platform != "linux", reason="needs namespaces")
def test_a_container_with_the_name_of_this_machine_counts_as_another_machine() -> None:
    """Its processes cannot be looked up: a number names another process here, or none."""
    container = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    try:
        subprocess.run([*container, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f"no namespaces here: {err}")
    process = started(TELL, *container)
    try:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        assert is_alive(owner, LEASE_SECONDS - 1)
        assert not is_alive(owner, LEASE_SECONDS + 1)
    finally:
        process.kill()
        process.communicate()


def test_on_windows_processes_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(liveness, "_CAN_LOOK_UP", False)
    monkeypatch.setattr(os, "kill", lambda pid, _: asked.append(pid))
    host = this_process().rpartition(":")[0].rpartition(":")[0]
    assert is_alive(this_process(), 1e9)
    assert is_alive(f"{host}:1:0", LEASE_SECONDS - 1)
    assert not is_alive(f"{host}:1:0", LEASE_SECONDS + 1)
    assert asked == []


@pytest.mark.parametrize(
    "owner",
    [
        "",
        "w",
        "a:b",
        "a:b:c",
        "::",
        *(pytest.param(this_process().replace(":", to), id=to[:9]) for to in (":x", ":" + "9" * 5000)),
    ],
)
def test_an_unreadable_name_counts_as_another_machine(owner: str) -> None:
    assert is_alive(owner, 0.0)
    assert not is_alive(owner, LEASE_SECONDS + 1)


@pytest.mark.parametrize("worker", ["h:1:2", "h:1:2/1", "h:1:2/17"])
def test_the_supervisor_owns_its_workers(worker: str) -> None:
    assert owner_of(worker) == "h:1:2"
