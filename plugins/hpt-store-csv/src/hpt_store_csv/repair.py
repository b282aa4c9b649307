"""Restore line endings that an editor or git changed: ``python -m hpt_store_csv.repair runs.csv``.

A byte order mark, Windows line endings and blank lines are removed. If the checksum of a line shows that anything else
was changed, the file is left unchanged.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hpt_core import StoreError, file_lock
from hpt_store_csv.files import opened, read, replace
from hpt_store_csv.layout import is_whole
from hpt_store_csv.log import Log
from hpt_store_csv.problems import explained
from hpt_store_csv.scan import BYTE_ORDER_MARK, parse, read_header

__all__ = ["main", "repair"]

_LOCK_SECONDS = 60.0


def repair(path: Path) -> None:
    """Restore the original line endings of a file.

    Raises:
        StoreError: If anything else was changed, or if the file cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link must share the lock, and stay a link
    with explained(path):
        if not path.exists():
            raise StoreError(f"{path} does not exist.")
        lock_file = Log(path, "").write_lock
        with file_lock(lock_file, f"{path} for writing", _LOCK_SECONDS):  # or what a study appends now would be lost
            with opened(path, os.O_RDONLY) as fd:
                content = b"" if fd is None else read(fd, 0, os.fstat(fd).st_size)
            replace(path, _repaired(content, path))


def _repaired(content: bytes, path: Path) -> bytes:
    lines = [line.removesuffix(b"\r") for line in content.removeprefix(BYTE_ORDER_MARK).split(b"\n")]
    wrong = [str(number) for number, line in enumerate(lines, 1) if line.strip() and not is_whole(line)]
    if wrong:
        where = ", ".join(wrong[:10])
        raise StoreError(f"{path} cannot be repaired: the text was changed in line {where}. Restore a copy.")
    header, *rest = [line + b"\n" for line in lines if line.strip()] or [b""]
    # check that all lines are present and in order
    parse(b"".join(rest), read_header(header, path), 0, path, offset=len(header))
    return b"".join([header, *rest])


def main(arguments: Sequence[str]) -> int:
    """Repair files; returns the exit code."""
    parser = argparse.ArgumentParser("python -m hpt_store_csv.repair", description=__doc__)
    parser.add_argument("file", nargs="+", type=Path, help="a CSV file of hpt")
    try:
        for path in parser.parse_args(arguments).file:
            repair(path)
    except StoreError as err:
        sys.stderr.write(f"{err}\n")
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
