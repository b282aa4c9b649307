"""``hpt import``: import a finished search of Optuna or scikit-learn as a study."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hpt_core import Space

__all__ = ["command"]


@click.command("import", short_help="Import an Optuna study or a cv_results_ of scikit-learn.")
@click.argument("source")
@click.option("--format", "kind", type=click.Choice(["optuna", "cv-results"]), help="Default: by the file name.")
@click.option("--from", "name", metavar="NAME", help="The Optuna study, if there are several.")
@click.option("--metric", metavar="NAME", help="The score of scikit-learn, if there are several.")
@click.option(
    "--space",
    "space_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A study file whose [space] to use instead of the one inferred from the trials.",
)
@click.option("--store", metavar="PATH|URL", help="The store to write to. Default: $HPT_STORE, else hpt.db.")
@click.option("--study", "into", metavar="NAME", help="The name of the new study. Default: that of the imported one.")
def command(
    source: str,
    *,
    kind: str | None,
    name: str | None,
    metric: str | None,
    space_file: Path | None,
    store: str | None,
    into: str | None,
) -> None:
    """Import the finished search SOURCE as a new study: trials, values, reports, failures.

    SOURCE is an Optuna storage (a URL, a SQLite file, or a journal file .log), or the cv_results_ of a scikit-learn
    search as .csv or .json. The times of its trials are not kept.
    """
    from hpt_core import Study
    from hpt_sampler_optuna.imported import record

    kind = kind or ("cv-results" if source.endswith((".csv", ".json")) else "optuna")
    space = None if space_file is None else _space(space_file)
    if kind == "optuna":
        from hpt_sampler_optuna.from_optuna import read_study

        found = read_study(source, name, space)
    else:
        from hpt_sampler_optuna.from_cv_results import read_cv_results

        found = read_cv_results(Path(source), metric, space)
    where = os.environ.get("HPT_STORE") or "hpt.db" if store is None else store
    limits = found.constraints or None
    study = Study(found.space, objective=found.objective, constraints=limits, name=into or found.name, store=where)
    try:
        record(found, study)
    finally:
        study.close()
    for sentence in found.left_out:
        click.echo(f"Left out: {sentence}", err=True)
    waiting = f", {len(found.waiting)} still to be evaluated" if found.waiting else ""
    click.echo(f"{len(found.trials)} trials{waiting} are now in the study {study.name!r} in {where}.", err=True)


def _space(path: Path) -> Space:
    import tomllib

    from hpt_core import Space, UsageError

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as err:
        raise UsageError(f"Cannot read {path}: {err.strerror}.") from err
    except (RecursionError, ValueError) as err:
        raise UsageError(f"{path} is not valid TOML: {err}") from err
    if "space" not in data:
        raise UsageError(f"{path} has no [space].")
    return Space(data["space"])
