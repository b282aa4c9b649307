"""Takes back what an editor or git did to the ends of lines: ``python -m hpt_store_csv.repair runs.csv``.

A byte order mark, Windows line ends and blank lines go. Each line's checksum tells whether anything else was changed;
then the file is left as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hpt_core import StoreError
from hpt_store_csv.files import replace
from hpt_store_csv.layout import is_whole
from hpt_store_csv.problems import explain
from hpt_store_csv.scan import BYTE_ORDER_MARK, parse, read_header

__all__ = ["main", "repair"]


def repair(path: Path) -> None:
    """Give a file the ends of lines that it was written with.

    Raises:
        StoreError: If more than those was changed, or the file cannot be written.
    """
    try:
        content = path.read_bytes()
    except OSError as err:
        raise explain(err, path) from err
    lines = [line.removesuffix(b"\r") for line in content.removeprefix(BYTE_ORDER_MARK).split(b"\n")]
    wrong = [str(number) for number, line in enumerate(lines, 1) if line.strip() and not is_whole(line)]
    if wrong:
        where = ", ".join(wrong[:10])
        raise StoreError(f"{path} cannot be repaired: line {where} was changed before its end. Go back to a copy.")
    header, *rest = [line + b"\n" for line in lines if line.strip()]
    # are all lines there, in their order?
    parse(b"".join(rest), read_header(header, path), 0, path, offset=len(header))
    replace(path, b"".join([header, *rest]))


def main(arguments: Sequence[str]) -> int:
    """Repair files; returns the exit code."""
    try:
        for name in arguments:
            repair(Path(name))
    except StoreError as err:
        sys.stderr.write(f"{err}\n")
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
