"""The file lock: whoever holds it excludes all others, also after its file was deleted or its process forked."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from hpt_core import StoreError, file_lock, locks

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def is_free(path: Path, timeout: float = 0.0) -> bool:
    try:
        with file_lock(path, "the test", timeout):
            return True
    except StoreError:
        return False


def test_a_holder_excludes_everyone_else_until_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with file_lock(path, "the test", 1.0):
        assert not is_free(path)
    assert is_free(path)


@posix
def test_a_lock_on_a_file_that_was_deleted_meanwhile_is_acquired_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, try_lock = tmp_path / "a.lock", locks._try_lock

    def deleted_first(fd: int) -> bool:
        monkeypatch.setattr(locks, "_try_lock", try_lock)
        path.unlink()
        return try_lock(fd)

    monkeypatch.setattr(locks, "_try_lock", deleted_first)
    with file_lock(path, "the test", 1.0):
        assert not is_free(path)


@posix
def test_a_released_lock_is_free_although_a_child_that_is_being_forked_has_a_copy(tmp_path: Path) -> None:
    path, before = tmp_path / "a.lock", set(locks._open_files)
    with file_lock(path, "the test", 1.0):
        (held,) = locks._open_files - before
        copy = os.dup(held)
    try:
        assert is_free(path)
    finally:
        os.close(copy)


@posix
@forks
def test_a_forked_child_can_leave_the_block_and_its_parent_keeps_the_lock(tmp_path: Path) -> None:
    path, process = tmp_path / "a.lock", os.getpid()
    with file_lock(path, "the test", 1.0):
        try:
            with file_lock(tmp_path / "b.lock", "the test", 1.0):
                child = os.fork()
        except BaseException:  # noqa: BLE001 - it must not reach the test runner in the child
            os._exit(1)
        if os.getpid() != process:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert not is_free(path)


@posix
@forks
def test_a_fork_of_a_forked_child_closes_no_file_that_came_in_the_place_of_a_lock(tmp_path: Path) -> None:
    def exit_code(child: Callable[[], object]) -> int:
        process = os.fork()
        if not process:
            with contextlib.suppress(BaseException):
                child()
                os._exit(0)
            os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def fork_again() -> None:
        (fd,) = held
        os.dup2(os.open(os.devnull, os.O_RDONLY), fd)
        assert exit_code(lambda: os.fstat(fd)) == 0

    before = set(locks._open_files)
    with file_lock(tmp_path / "a.lock", "the test", 1.0):
        held = locks._open_files - before
        assert exit_code(fork_again) == 0


@posix
def test_the_lock_of_a_killed_process_is_free_while_a_child_of_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    code = """
        import os, sys
        from pathlib import Path
        from hpt_core import file_lock

        with file_lock(Path(sys.argv[1]), "the test", 1.0):
            child = os.fork()
            if child:
                print("forked", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "forked\n"
        assert not is_free(path)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert is_free(path, timeout=5.0)  # the child ends when the pipe is closed


@posix
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_reported(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What NFS without its lock service, Lustre and some FUSE file systems answer."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    before = set(locks._open_files)
    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(StoreError, match=r"Cannot lock the test: its file system has no working locks .*another one"),
        file_lock(tmp_path / "a.lock", "the test", 1.0),
    ):
        pass
    assert set(locks._open_files) == before


def test_what_a_network_file_system_could_not_write_of_the_lock_file_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def fail(fd: int) -> None:
        close(fd)
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "close", fail)
    path = tmp_path / "a.lock"
    with file_lock(path, "the test", 1.0):
        assert not is_free(path)
    assert is_free(path)


@posix
@pytest.mark.parametrize("mode", [0o700, 0o2775, 0o1777])
def test_whoever_may_write_in_the_folder_of_a_store_may_lock_it(tmp_path: Path, mode: int) -> None:
    store = tmp_path / "shared"
    store.mkdir()
    store.chmod(mode)
    path = store / ".hpt-locks" / "a.lock"
    umask = os.umask(0o077)  # of the user who comes first
    try:
        assert is_free(path)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.parent.stat().st_mode) == mode
    assert stat.S_IMODE(path.stat().st_mode) == mode & 0o666


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may change owners")
def test_a_lock_that_root_creates_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 5678)
    path = tmp_path / ".hpt-locks" / "a.lock"
    assert is_free(path)
    assert {(found.st_uid, found.st_gid) for found in (path.parent.stat(), path.stat())} == {(1234, 5678)}
