"""``hpt init``: write a study file that runs as it is."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpt_core.cli.templates import EVALUATORS, study_file, training_file
from hpt_core.cli.text import say

if TYPE_CHECKING:
    from hpt_core.cli.session import Session

__all__ = ["command"]


_HELP = """Write a commented study file, FILE (study.toml), that runs as it is.

\b
sklearn   cross-validates a scikit-learn model on data of its own
function  calls a Python function; a small train.py is written, too, unless there is one
command   runs a program; a small train.py is written, too, unless there is one
"""


@click.command("init", help=_HELP, short_help="Write a study file that runs as it is.")
@click.argument("file", type=click.Path(path_type=Path), default=Path("study.toml"))
@click.option("--evaluator", type=click.Choice(EVALUATORS), help="What evaluates. Default: sklearn if installed.")
@click.pass_obj
def command(session: Session, file: Path, evaluator: str | None) -> None:
    """Write the files that fit what is installed."""
    from hpt_core.cli.files import write_whole
    from hpt_core.errors import UsageError

    if file.suffix != ".toml":
        msg = f"A study file ends in .toml. Got {file}."
        raise UsageError(msg)
    installed = {kind: session.plugins.names(kind) for kind in ("evaluator", "sampler", "store", "stopping rule")}
    chosen = evaluator or ("sklearn" if "sklearn" in installed["evaluator"] else "function")
    if chosen not in installed["evaluator"]:
        session.plugins.component("evaluator", chosen, "--evaluator")  # says which distribution has it
    training = file.with_name("train.py")
    if file.exists():
        msg = f"{file} is there already, and nothing is overwritten. Choose another name, as in `hpt init other.toml`."
        raise UsageError(msg)
    kept = chosen != "sklearn" and training.exists()
    written = [file] if kept or chosen == "sklearn" else [file, training]
    name = re.sub(r"[^\w.-]+", "-", file.stem) or "study"
    python = json.dumps(sys.executable)[1:-1]
    text = study_file(chosen, str(file), name, training, python, installed)
    write_whole(file, text.encode())
    if training in written:
        write_whole(training, training_file(chosen).encode())
    if kept:
        say(f"{training} is there already and was left as it is: make the space and the evaluator in {file} fit it.")
    say(f"Wrote {' and '.join(map(str, written))}. Next:")
    say(f"  hpt check {shlex.quote(str(file))}    says what it means")
    say(f"  hpt run {shlex.quote(str(file))}      runs it")
