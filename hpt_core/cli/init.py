"""``hpt init``: create a study file that is ready to run."""

from __future__ import annotations

import json
import os
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


_HELP = """Create FILE (default: study.toml), a commented study file that is ready to run.

\b
Evaluators:
  sklearn   cross-validate a scikit-learn model on one of its data sets
  function  call a Python function; creates an example train.py
  command   run a program; creates an example train.py
  torch     train a torch model; creates an example train.py
"""


@click.command("init", help=_HELP, short_help="Create a study file that is ready to run.")
@click.argument("file", type=click.Path(path_type=Path), default=Path("study.toml"))
@click.option("--evaluator", type=click.Choice(EVALUATORS), help="Default: sklearn if it is installed, else function.")
@click.pass_obj
def command(session: Session, file: Path, evaluator: str | None) -> None:
    """Write the files, using only components that are installed."""
    from hpt_core.cli.files import write_whole
    from hpt_core.errors import UsageError

    if file.suffix != ".toml":
        msg = f"A study file must have the extension .toml. Got {file}."
        raise UsageError(msg)
    installed = {kind: session.plugins.names(kind) for kind in ("evaluator", "sampler", "store", "stopping rule")}
    chosen = evaluator or ("sklearn" if "sklearn" in installed["evaluator"] else "function")
    if chosen not in installed["evaluator"]:
        session.plugins.component("evaluator", chosen, "--evaluator")  # raises an error that names its distribution
    training = file.with_name("train.py")
    if os.path.exists(file):  # noqa: PTH110 - Path raises for a long name
        msg = f"{file} already exists. Choose another name, for example `hpt init other.toml`."
        raise UsageError(msg)
    kept = chosen != "sklearn" and training.exists()
    written = [file] if kept or chosen == "sklearn" else [file, training]
    name = re.sub(r"[^\w.-]+", "-", file.stem) or "study"
    python = json.dumps(sys.executable)[1:-1]
    text = study_file(chosen, str(file), name, training, python, installed)
    write_whole(file, text.encode(errors="backslashreplace"))  # a file name may be no text
    if training in written:
        write_whole(training, training_file(chosen).encode())
    if kept:
        say(f"{training} already exists and was not changed. Adapt the space and the evaluator in {file} to it.")
    say(f"Wrote {' and '.join(map(str, written))}. Next:")
    say(f"  hpt check {shlex.quote(str(file))}    check it")
    say(f"  hpt run {shlex.quote(str(file))}      run it")
