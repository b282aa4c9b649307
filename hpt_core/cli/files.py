"""Writes the file that a user named."""

from __future__ import annotations

from pathlib import Path

from hpt_core.errors import UsageError
from hpt_core.files import replace_file

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all, see `hpt_core.replace_file`.

    Raises:
        UsageError: If it cannot be written.
    """
    try:
        replace_file(path, content)
    except OSError as err:
        msg = f"Cannot write {path}: {err.strerror}."
        raise UsageError(msg) from err
