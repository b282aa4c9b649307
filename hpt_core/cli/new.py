"""``hpt new``: write a plugin distribution that passes its conformance kit as it is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpt_core.cli.text import say

if TYPE_CHECKING:
    from hpt_core.cli.session import Session

__all__ = ["command"]

_KINDS = ("sampler", "evaluator", "stopping", "store", "executor")

_HELP = """Write a plugin distribution of KIND called NAME, which passes its conformance kit as it is.

\b
sampler    proposes configurations
evaluator  fits or scores one
stopping   says enough: a stopping rule
store      keeps the log of studies
executor   runs workers
"""


@click.command("new", help=_HELP, short_help="Write a plugin that passes its kit as it is.")
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="The folder to make it in (here).")
@click.pass_obj
def command(session: Session, kind: str, name: str, into: Path) -> None:
    """Write the files and say what to do next."""
    from hpt_core.cli.files import write_whole
    from hpt_core.cli.scaffold import scaffold, title_of
    from hpt_core.components import one
    from hpt_core.errors import UsageError

    distribution, files = scaffold(kind, name)
    folder = into / distribution
    if folder.exists():
        msg = f"{folder} is there already, and nothing is overwritten. Choose another name, or --into another folder."
        raise UsageError(msg)
    for path, text in files.items():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            msg = f"Cannot make {target.parent}: {err.strerror}."
            raise UsageError(msg) from err
        write_whole(target, text.encode())
    if name in session.plugins.names(title_of(kind)):
        say(f"Warning: {one(title_of(kind))} {name!r} is installed already; with both, studies cannot name it.")
    say(f"Wrote {folder} ({len(files)} files). Next:")
    say(f"  cd {shlex.quote(str(folder))}")
    say("  pip install -e .[test]")
    say("  pytest                      the conformance kit: green as it is")
    say(f"  hpt plugins show {name}")
