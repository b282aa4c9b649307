"""Checkpoints are written atomically, few are kept, and reading one runs no code."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from hpt_evaluator_torch.checkpoints import Checkpoints, write_atomically

IDENTITY = {"params": "x", "seed": 1}


def filled(folder: Path, steps: int = 3) -> Checkpoints:
    made = Checkpoints(folder / "trial-0", IDENTITY)
    for step in range(1, steps + 1):
        made.save(step, {"weights": torch.full((100,), float(step))})
    return made


def names(made: Checkpoints) -> list[str]:
    return sorted(path.name for path in made.folder.iterdir())


def loaded(made: Checkpoints, at_most: int = 99) -> tuple[int, float] | None:
    found = made.load(at_most)
    return None if found is None else (found[0], found[1]["weights"][0].item())


def test_the_last_two_are_kept_and_the_newest_allowed_one_is_read(tmp_path: Path) -> None:
    made = filled(tmp_path, 4)
    assert names(made) == ["checkpoint-000003.pt", "checkpoint-000004.pt"]
    assert loaded(made) == (4, 4.0)
    assert loaded(made, 3) == (3, 3.0)
    assert loaded(made, 2) is None


def test_a_truncated_file_is_skipped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = filled(tmp_path)
    newest = made.folder / "checkpoint-000003.pt"
    whole = newest.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        newest.write_bytes(whole[:length])
        assert loaded(made) == (2, 2.0)
    assert "checkpoint-000003.pt cannot be read and is skipped" in caplog.text


def test_a_partial_temporary_file_is_ignored_and_removed(tmp_path: Path) -> None:
    made = filled(tmp_path)
    (made.folder / "checkpoint-000009.pt.tmp").write_bytes(b"PK half")
    assert loaded(made) == (3, 3.0)
    made.save(4, {"weights": torch.zeros(1)})
    assert names(made) == ["checkpoint-000003.pt", "checkpoint-000004.pt"]


def test_an_interrupted_write_leaves_the_old_file_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pt"
    write_atomically({"a": 1}, path)

    def die(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        write_atomically({"a": 2}, path)
    assert torch.load(path, weights_only=True) == {"a": 1}


@pytest.mark.parametrize("by_torch", [True, False])
def test_a_checkpoint_that_a_full_disk_refuses_is_left_out_with_a_warning(
    by_torch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = filled(tmp_path, 2)

    def sync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def save(_: Any, file: Any) -> None:
        file.write(b"PK half")
        hidden = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")
        hidden.__context__ = OSError(errno.ENOSPC, "No space left on device")
        raise hidden  # as torch's own writer of archives does

    monkeypatch.setattr(*((torch, "save", save) if by_torch else (os, "fsync", sync)))
    made.save(3, {"weights": torch.zeros(100)})
    assert names(made) == ["checkpoint-000001.pt", "checkpoint-000002.pt"]
    assert "checkpoint-000003.pt cannot be written: [Errno 28] No space left on device" in caplog.text
    with pytest.raises(OSError, match="No space left"):  # weights that the user wants to keep
        write_atomically({}, made.folder / "weights.pt")
    assert loaded(made) == (2, 2.0)
    assert len(names(made)) == 2


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_reading_a_checkpoint_runs_no_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = filled(tmp_path, 1)
    bomb = {"identity": IDENTITY, "step": 2, "state": Bomb(tmp_path / "exploded")}
    torch.save(bomb, made.folder / "checkpoint-000002.pt")
    assert loaded(made) == (1, 1.0)
    assert not (tmp_path / "exploded").exists()
    (line,) = caplog.text.splitlines()  # torch's whole message recommends to run the code
    assert "checkpoint-000002.pt cannot be read and is skipped: it is damaged, or holds more than" in line


def test_a_checkpoint_with_another_identity_is_not_loaded(tmp_path: Path) -> None:
    filled(tmp_path)
    assert Checkpoints(tmp_path / "trial-0", {"params": "y", "seed": 1}).load(99) is None


def test_clear_removes_the_checkpoints_or_the_whole_folder(tmp_path: Path) -> None:
    made = filled(tmp_path)
    (made.folder / "weights.pt").write_bytes(b"")
    made.clear(all_files=False)
    assert names(made) == ["weights.pt"]
    made.clear(all_files=True)
    made.clear(all_files=True)
    assert not made.folder.exists()
