"""Writes a file atomically."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hpt_core.errors import UsageError

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: it appears whole or not at all. A pipe or a device is written to, not replaced.

    Raises:
        UsageError: If it cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        target = Path(os.path.realpath(path))  # a link stays, and the file that it names is replaced
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as err:
        msg = f"Cannot write {path}: {err.strerror}."
        raise UsageError(msg) from err
