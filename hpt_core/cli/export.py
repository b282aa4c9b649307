"""``hpt export``: the trials as a file for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpt_core.cli.reading import Opened, open_study, store_option, study_option
from hpt_core.cli.text import put, say

if TYPE_CHECKING:
    from hpt_core.cli.session import Session

__all__ = ["command"]

_FORMATS = ("csv", "json", "jsonl", "parquet")
_ENDINGS = {"ndjson": "jsonl", "pq": "parquet"}


@click.command("export", short_help="Write the trials as CSV, JSON, JSON Lines or Parquet.")
@store_option
@study_option
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Default: by the file's ending; csv on stdout.")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of stdout.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.pass_obj
def command(
    session: Session, store: str | None, study: str | None, form: str | None, output: Path | None, force: bool
) -> None:
    """Write the trials, one row each, with the columns of `hpt trials --json`.

    csv is for spreadsheets: a text that would be taken for a formula gets a ' in front; numbers stay as they are.
    json is the document of `hpt trials --json`, jsonl has a row per line, parquet needs pandas and pyarrow.
    """
    from hpt_core.cli.files import write_whole
    from hpt_core.errors import UsageError

    if output is not None and output.exists() and not force:
        msg = f"{output} is there already. --force replaces it."
        raise UsageError(msg)
    with open_study(session, store, study) as opened:
        content = _content(opened, form or _by_ending(output))
        count = len(opened.history.trials)
    if output is None:
        put(content)
    else:
        write_whole(output, content)
        say(f"{count} trials are in {output}.")


def _by_ending(output: Path | None) -> str:
    from hpt_core.errors import UsageError

    ending = output.suffix.lower().removeprefix(".") if output else "csv"
    form = _ENDINGS.get(ending, ending)
    if form not in _FORMATS:
        msg = f"The ending of {output} says no format that is known. Give --format: {', '.join(_FORMATS)}."
        raise UsageError(msg)
    return form


def _content(opened: Opened, form: str) -> bytes:
    from hpt_core.cli import files
    from hpt_core.export import rows

    if form == "parquet":
        return files.as_parquet(opened.history)
    found = rows(opened.history)
    if form == "csv":
        return files.as_csv(found)
    if form == "jsonl":
        return files.as_json_lines(found)
    about = {"schema": "hpt/trials/1", **opened.head, "objectives": opened.history.definition["objectives"]}
    return (json.dumps({**about, "trials": found}, indent=2, allow_nan=False) + "\n").encode()
