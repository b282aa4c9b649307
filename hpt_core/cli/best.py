"""``hpt best``: show the best configuration, in a choice of formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpt_core.cli import render
from hpt_core.cli.formats import FORMATS
from hpt_core.cli.reading import Opened, json_option, open_study, store_option, study_option
from hpt_core.cli.text import data, emit_json
from hpt_core.errors import NothingSucceededError, UsageError
from hpt_core.history.export import outcome, row, shortfall
from hpt_core.history.trial import State

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.history.history import History
    from hpt_core.history.trial import Trial

__all__ = ["command"]

_LISTED = 20


@click.command("best", short_help="Show the best configuration.")
@store_option
@study_option
@click.option(
    "--as",
    "format_",
    type=click.Choice(["table", *FORMATS]),
    default="table",
    help="Format of the configuration: a table, or text to paste into a file, a program or a command line.",
)
@click.option(
    "--trial",
    type=click.IntRange(0),
    metavar="N",
    help="Show this trial instead of the best one. For a failed trial this includes its error.",
)
@json_option
@click.pass_obj
def command(
    session: Session, store: str | None, study: str | None, format_: str, trial: int | None, as_json: bool
) -> None:
    """Show the best configuration and its result, or the Pareto front of a study with several objectives.

    If the study has constraints, only trials that satisfy them are considered.

    JSON: {store, study, objectives, trials: [row]}: the best trial, the trials of the front, or the one given by
    --trial, as rows of `hpt trials --json`. `--as json` prints the configuration alone.
    """
    if as_json and format_ != "table":
        raise UsageError(f"--json (the whole answer) and --as {format_} (the configuration alone) exclude each other.")
    with open_study(session, store, study) as opened:
        history = opened.history
        chosen = _chosen(opened, trial)
        if as_json:
            about = {"objectives": history.definition["objectives"]}
            emit_json("best", {**opened.head, **about, "trials": [row(history, one) for one in chosen]})
        elif format_ != "table":
            data(FORMATS[format_](_single(chosen).params))
        elif len(chosen) == 1:
            (one,) = chosen
            data(_headline(history, one))
            data(render.params_table(one.params))
            if one.metrics:
                data(render.params_table(one.metrics, "metric"))
            if one.failure is not None:
                data(f"{one.failure.kind}: {one.failure.message}\n{one.failure.detail}".rstrip())
        else:
            data(render.front_table(history, chosen))


def _headline(history: History, trial: Trial) -> str:
    """The result of a trial, and why it is none that counts, if it was stopped early or declared invalid."""
    result = outcome(history, trial)
    notes = [f"trial {trial.number}"]
    if result and trial.state is not State.COMPLETE:
        notes.append(f"{trial.state}{trial.rule and f' by {trial.rule}: {trial.reason}'}")
    if trial.invalid is not None:
        notes.append(f"invalid: {trial.invalid}")
    return f"{result or trial.state} ({', '.join(notes)})"


def _chosen(opened: Opened, number: int | None) -> list[Trial]:
    history = opened.history
    if number is not None:
        if number >= len(history.trials):
            msg = f"There is no trial {number}; the study {opened.name!r} has {len(history.trials)}."
            raise UsageError(msg)
        return [history.trials[number]]
    several = len(history.objectives) > 1
    found = history.front if several else [history.best] if history.best is not None else []
    if not found:
        counts = render.counts(render.states(history))
        nothing = f"No trial of the study {opened.name!r} is complete yet (trials: {counts})"
        failed = "".join(f"\nFailed: {line}" for line in render.failures(history))
        raise NothingSucceededError(f"{shortfall(history) or nothing}.{failed}")
    return found


def _single(chosen: list[Trial]) -> Trial:
    if len(chosen) > 1:
        more = f" and {len(chosen) - _LISTED} more" if len(chosen) > _LISTED else ""
        numbers = ", ".join(str(trial.number) for trial in chosen[:_LISTED]) + more
        msg = f"The Pareto front has {len(chosen)} trials. Choose one of them with --trial: {numbers}."
        raise UsageError(msg)
    return chosen[0]
