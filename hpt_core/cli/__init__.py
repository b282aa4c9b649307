"""The command line: ``hpt``. One file per command, loaded when it is called."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run ``hpt`` with the arguments of this process and exit with its code."""
    from hpt_core.cli.group import hpt

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    hpt.main(prog_name="hpt")
