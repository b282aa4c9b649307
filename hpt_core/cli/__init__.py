"""The ``hpt`` command line. Each command has a file of its own, which is imported when the command is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Run ``hpt`` with the arguments of this process and exit with its exit code."""
    _open_streams()
    try:
        Path.cwd()
    except FileNotFoundError:
        sys.stderr.write("Error: The current directory does not exist any more. Change to another one.\n")
        sys.exit(2)
    try:
        from hpt_core.cli.group import hpt

        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot encode must not raise
        hpt.main(prog_name="hpt")
    except KeyboardInterrupt:  # while the CLI is loading; the commands handle theirs
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)


def _open_streams() -> None:
    """Open the null device in place of a closed stream (``2>&-``), or a store's file would get its descriptor."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - kept open
