"""Checkpoints of one trial: written atomically, few, and read without executing code."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["Checkpoints", "write_atomically"]

_LOG = logging.getLogger("hpt")
_NAME = re.compile(r"checkpoint-(\d+)\.pt")


class Checkpoints:
    """The checkpoints in a folder.

    Args:
        folder: Made when the first one is saved.
        identity: Plain values that identify the trial; checkpoints with other values are ignored.
        keep: How many checkpoints are kept.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], keep: int = 2) -> None:
        self.folder = folder
        self._identity = dict(identity)
        self._keep = keep

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write the state after a step durably, and remove all but the newest checkpoints.

        If it cannot be written, this is logged, and the training goes on: only a trial that resumes misses it, and
        repeats some epochs.
        """
        path = self.folder / f"checkpoint-{step:06d}.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically({"identity": self._identity, "step": step, "state": dict(state)}, path)
        except OSError as err:
            _LOG.warning("The checkpoint %s cannot be written: %s", path, err)
            return
        self.prune(self._keep)

    def load(self, at_most: int) -> tuple[int, dict[str, Any]] | None:
        """Read the newest intact checkpoint of this trial.

        Args:
            at_most: The last step that may be in it.

        Returns:
            Its step and state; None if there is none. A broken checkpoint is skipped with a warning.
        """
        for step, path in reversed(self.steps()):
            if step > at_most:
                continue
            try:
                found = torch.load(path, map_location="cpu", weights_only=True)
                if found["identity"] == self._identity and found["step"] == step:
                    return step, found["state"]
            except Exception as err:  # noqa: BLE001 - a broken file may raise anything
                # torch's own message recommends to run the code in it
                unsafe = type(err).__name__ == "UnpicklingError"
                reason = "it is damaged, or holds more than tensors and plain values" if unsafe else err
                _LOG.warning("The checkpoint %s cannot be read and is skipped: %s", path, reason)
        return None

    def steps(self) -> list[tuple[int, Path]]:
        """(step, file) of all checkpoints, ascending."""
        found = [(_NAME.fullmatch(path.name), path) for path in self.folder.glob("checkpoint-*.pt")]
        return sorted((int(match[1]), path) for match, path in found if match)

    def prune(self, keep: int) -> None:
        """Remove all but the newest ``keep``, and partial files that a killed process left."""
        steps = self.steps()
        for _, path in steps[: max(0, len(steps) - keep)]:
            path.unlink(missing_ok=True)
        for path in self.folder.glob("*.pt.tmp"):
            path.unlink(missing_ok=True)

    def clear(self, *, all_files: bool) -> None:
        """Remove the checkpoints; with ``all_files`` the folder, too."""
        if all_files:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.prune(0)


def write_atomically(content: Any, path: Path) -> None:
    """Save with torch, atomically: after a crash the file is either complete or as it was before.

    Raises:
        OSError: If the file cannot be written, for example because the disk is full.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as err:
        with contextlib.suppress(OSError):
            temporary.unlink()  # a full disk needs the space, for the study's records
        if isinstance(err, RuntimeError) and isinstance(err.__context__, OSError):  # so torch reports a full disk
            raise err.__context__ from None
        raise
    with contextlib.suppress(OSError):  # some file systems know no fsync of folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
