"""The command line: ``hpt``. One file per command, loaded when it is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Run ``hpt`` with the arguments of this process and exit with its code."""
    _open_streams()
    try:
        Path.cwd()
    except FileNotFoundError:
        sys.stderr.write("Error: The folder that this is called in is not there any more. Change to another one.\n")
        sys.exit(2)
    try:
        from hpt_core.cli.group import hpt

        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no failure
        hpt.main(prog_name="hpt")
    except KeyboardInterrupt:  # while it was loading: commands see to their own
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)


def _open_streams() -> None:
    """Put an empty file where a stream is closed, as by ``2>&-``, before the file of a store gets its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
