"""``hpt new``: create a plugin distribution that passes its conformance kit."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpt_core.cli.text import say

if TYPE_CHECKING:
    from hpt_core.cli.session import Session

__all__ = ["command"]

_KINDS = {
    "sampler": "suggests configurations",
    "evaluator": "evaluates a configuration",
    "stopping": "a stopping rule: stops trials or the study",
    "store": "keeps the log of studies",
    "executor": "runs workers",
}
"""First word of a kind -> what it does. Written here, so that ``hpt new --help`` need not load the components."""

_HELP = """Create a plugin distribution with a component of KIND called NAME that passes its conformance kit.

\b
Kinds:
""" + "\n".join(f"  {kind:<9}  {does}" for kind, does in _KINDS.items())


@click.command("new", help=_HELP, short_help="Create a plugin that passes its conformance kit.")
@click.argument("kind", type=click.Choice([*_KINDS, "stopping rule"]), metavar="KIND")
@click.argument("name")
@click.option(
    "--into", type=click.Path(path_type=Path), default=Path(), help="Parent directory. Default: the current one."
)
@click.pass_obj
def command(session: Session, kind: str, name: str, into: Path) -> None:
    """Write the files and print the next steps."""
    from hpt_core.cli.files import write_whole
    from hpt_core.cli.scaffold import scaffold, title_of
    from hpt_core.errors import UsageError
    from hpt_core.plugins.checks import with_article

    kind = kind.split(maxsplit=1)[0]  # of "stopping rule", as other commands call it
    distribution, files = scaffold(kind, name)
    folder = into / distribution
    if os.path.exists(folder):  # noqa: PTH110 - Path raises for a long name
        msg = f"{folder} already exists. Choose another name, or another directory with --into."
        raise UsageError(msg)
    for path, text in files.items():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            msg = f"Cannot create {target.parent}: {err.strerror}."
            raise UsageError(msg) from err
        write_whole(target, text.encode())
    if name in session.plugins.names(title_of(kind)):
        taken = f"{with_article(title_of(kind))} {name!r} is already installed"
        say(f"Warning: {taken}. Studies cannot use the name while both are installed.")
    say(f"Wrote {folder} ({len(files)} files). Next:")
    say(f"  cd {shlex.quote(str(folder))}")
    say("  pip install -e '.[test]'")
    say("  pytest                      run the conformance kit")
    say(f"  hpt plugins show {name}")
