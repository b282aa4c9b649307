"""``hpt export``: write the trials to a file for other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpt_core.cli.reading import Opened, open_study, store_option, study_option
from hpt_core.cli.text import put, say
from hpt_core.errors import UsageError
from hpt_core.history.export import columns, row
from hpt_core.values import counted

if TYPE_CHECKING:
    from hpt_core.cli.session import Session

__all__ = ["command"]

_FORMATS = ("csv", "json", "jsonl", "parquet")
_EXTENSIONS = {"ndjson": "jsonl", "pq": "parquet"}


@click.command("export", short_help="Export the trials as CSV, JSON, JSON Lines or Parquet.")
@store_option
@study_option
@click.option("--format", "format_", type=click.Choice(_FORMATS), help="Default: by the file extension; csv on stdout.")
@click.option("--json", "format_", flag_value="json", help="Short for --format json.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file instead of stdout."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.pass_obj
def command(
    session: Session, store: str | None, study: str | None, format_: str | None, output: Path | None, force: bool
) -> None:
    """Export the trials, one row each, with the columns of `hpt trials --json`.

    csv is safe for spreadsheets: text that would be read as a formula is prefixed with a '; numbers are unchanged.
    json is the document that `hpt trials --json` prints, jsonl has one row per line, parquet needs pandas and pyarrow.
    """
    from hpt_core.cli.files import write_whole

    if output is not None and not force and os.path.exists(output):  # noqa: PTH110 - Path raises for a long name
        msg = f"{output} already exists. Use --force to overwrite it."
        raise UsageError(msg)
    with open_study(session, store, study) as opened:
        content = _content(opened, format_ or _by_extension(output))
        count = len(opened.history.trials)
    if output is None:
        put(content)
    else:
        write_whole(output, content)
        say(f"Wrote {counted(count, 'trial')} to {output}.")


def _by_extension(output: Path | None) -> str:
    extension = output.suffix.lower().removeprefix(".") if output else "csv"
    found = _EXTENSIONS.get(extension, extension)
    if found not in _FORMATS:
        msg = f"{output} has no extension of a known format. Give --format: {', '.join(_FORMATS)}."
        raise UsageError(msg)
    return found


def _content(opened: Opened, format_: str) -> bytes:
    from hpt_core.cli import export_formats

    if format_ == "parquet":
        return export_formats.as_parquet(opened.history)
    rows = (row(opened.history, trial) for trial in opened.history.trials)
    if format_ == "csv":
        return export_formats.as_csv(list(rows), columns(opened.history))
    return export_formats.as_json(opened, rows) if format_ == "json" else export_formats.as_json_lines(rows)
