"""``hpt report``, ``hpt dashboard`` and ``hpt importance``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hpt_report_html.importance import Importance

__all__ = ["dashboard", "importance", "report"]

_PAGE = b"<!doctype html>"
_BAR = 30  # characters of the longest bar

F = TypeVar("F", bound=Callable[..., Any])


def _reading(command: F) -> F:
    """Add the options that select a study."""
    store = "Path or URL of the store. Default: $HPT_STORE, else hpt.db in the current directory."
    study = "Name of the study. Not needed if the store has only one."
    command = click.option("--study", metavar="NAME", help=study)(command)
    return click.option("--store", metavar="PATH|URL", help=store)(command)


def _place(store: str | None) -> str:
    return os.environ.get("HPT_STORE") or "hpt.db" if store is None else store


def _file(place: str) -> str:
    """The last part of a path or URL, without a password that the URL may contain."""
    scheme, separator, rest = place.partition("://")
    if separator:  # leave out the user and the parameters
        place = re.sub("^[^@/]*@", "", rest).partition("?")[0].rstrip("/") or scheme
    return place.rpartition("/")[2]


@click.command("report", short_help="Write a study as one page of HTML that opens offline.")
@_reading
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The file to write.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing page.")
def report(store: str | None, study: str | None, output: Path, force: bool) -> None:
    """Write a study as one page of HTML: how it went, what matters, learning curves, all trials.

    Runs no code of the study. The page needs no network. In Python: hpt_report_html.report(study).
    """
    from hpt_core import UsageError, load_history, replace_file

    if os.path.exists(output) and not force:  # noqa: PTH110 - Path raises for a long name
        raise UsageError(f"{output} already exists. Use --force to overwrite it.")
    history = load_history(_place(store), study)
    from hpt_report_html.page import report as page

    try:
        if output.is_file() and not _is_replaceable(output):
            raise UsageError(f"{output} is not an HTML page, so --force does not overwrite it.")  # it may be the store
        replace_file(output, page(history, study or f"The study in {_file(_place(store))}").encode())
    except OSError as err:
        raise UsageError(f"{output} cannot be written: {err.strerror}.") from err
    count = len(history.trials)
    click.echo(f"{count} trial{'s' * (count != 1)} written to {output}.", err=True)


def _is_replaceable(path: Path) -> bool:
    """Whether a file is a page, or empty."""
    with path.open("rb") as file:
        return file.read(len(_PAGE)) in (_PAGE, b"")


@click.command("dashboard", short_help="Show a study in the browser while it runs.")
@_reading
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to serve at; 0: any free one."
)
def dashboard(store: str | None, study: str | None, port: int) -> None:
    """Show a study in the browser while it runs: the page of `hpt report`, updated every few seconds.

    It runs until Ctrl-C, only reads the store, and runs no code of the study. Only browsers on this machine can open
    it; from another one, forward the port: ssh -L 8080:localhost:8080 HOST.
    """
    from hpt_core import UsageError, load_history

    place = _place(store)
    load_history(place, study)  # a mistake is told here, not in the browser
    from hpt_report_html.dashboard import Dashboard

    try:
        server = Dashboard(lambda: load_history(place, study), study or f"The study in {_file(place)}", port)
    except OSError as err:
        raise UsageError(f"Port {port} cannot be used: {err.strerror}. Choose another one with --port.") from err
    click.echo(f"The dashboard is at http://127.0.0.1:{server.server_port}/ until Ctrl-C.", err=True)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("", err=True)


@click.command("importance", short_help="Show which parameters matter.")
@_reading
@click.option("--objective", metavar="NAME", help="Objective to explain. Default: the first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def importance(store: str | None, study: str | None, objective: str | None, as_json: bool) -> None:
    """Show which share of the variance, over the whole space, each parameter explains on its own.

    By functional ANOVA on a random forest of the complete trials. The difference between the sum of the shares and
    100 % is due to interactions. Each share comes with its standard deviation over the trees of the forest.

    JSON: {schema, objective, importances}; "importances" holds {parameter, share, sd}, the most important first.
    """
    from hpt_core import load_history
    from hpt_report_html.importance import importances

    history = load_history(_place(store), study)
    found = importances(history, objective)
    if as_json:
        rows = [{"parameter": name, "share": share.mean, "sd": share.sd} for name, share in found.items()]
        about = {"schema": "hpt/importance/1", "objective": objective or history.objectives[0]}
        click.echo(json.dumps({**about, "importances": rows}, indent=2, allow_nan=False))
    else:
        if objective is None and len(history.objectives) > 1:
            click.echo(f"Importances for {history.objectives[0]}. Use --objective for another objective.", err=True)
        click.echo("\n".join(_lines(found)))


def _lines(found: dict[str, Importance]) -> list[str]:
    wide = max(map(len, found), default=0)
    most = max((share.mean for share in found.values()), default=0.0) or 1.0
    return [
        f"{name:{wide}}  {share.mean:6.1%} +- {share.sd:5.1%}  {'#' * round(_BAR * share.mean / most)}".rstrip()
        for name, share in found.items()
    ]
