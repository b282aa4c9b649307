"""A replaced file is whole, and belongs to whom it belonged to."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from hpt_core import replace_file

no_modes = pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
root_only = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files to others"
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@no_modes
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o750, 0o444])
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    file.chmod(mode)
    replace_file(file, b"new")
    assert (file.read_bytes(), mode_of(file)) == (b"new", mode)


@no_modes
def test_a_new_file_has_the_permissions_of_any_new_file_or_of_the_given_one(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    (tmp_path / "private").touch(mode=0o600)
    replace_file(tmp_path / "one", b"new")
    replace_file(tmp_path / "other", b"new", like=tmp_path / "private")
    assert mode_of(tmp_path / "one") == mode_of(tmp_path / "usual")
    assert mode_of(tmp_path / "other") == 0o600


@root_only
def test_a_file_that_root_replaces_stays_with_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.touch()
    os.chown(file, 1234, 5678)
    replace_file(file, b"new")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 5678)


def test_a_link_stays_and_the_file_that_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="Windows has no paths of open files")
def test_a_pipe_is_written_to_by_the_path_of_an_open_file() -> None:
    """What the shell gives for ``>(gzip)``: a link to something that has no path."""
    reader, writer = os.pipe()
    try:
        replace_file(Path(f"/dev/fd/{writer}"), b"new")
        assert os.read(reader, 9) == b"new"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_file_is_replaced_where_files_have_no_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, Python has `os.fchmod` from 3.13 on, and no `os.fchown`."""
    monkeypatch.delattr(os, "fchown", raising=False)
    (tmp_path / "report.html").write_text("old")
    replace_file(tmp_path / "report.html", b"new")
    assert (tmp_path / "report.html").read_bytes() == b"new"


def test_the_whole_content_is_on_disk_before_the_file_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    synced: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((os.fstat(fd).st_size, path.exists())))
    replace_file(path, b"new")
    assert synced == [(3, False)]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = tmp_path / "report.html"
    file.write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        replace_file(file, b"new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
