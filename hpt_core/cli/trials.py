"""``hpt trials``: list the trials of a study as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli.reading import json_option, open_study, store_option, study_option
from hpt_core.cli.text import data, duration, number, put, say, shorten, table
from hpt_core.errors import Mistake, UsageError
from hpt_core.history.export import rows
from hpt_core.history.trial import State
from hpt_core.liveness import is_alive, owner_of
from hpt_core.spelling import did_you_mean

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.history.history import History

__all__ = ["command"]

_STATES = tuple(state.value for state in State)
_REMARK = 60

Row = dict[str, Any]


@click.command("trials", short_help="List the trials of a study.")
@store_option
@study_option
@click.option(
    "--state", "states", type=click.Choice(_STATES), multiple=True, help="Only trials in this state (repeatable)."
)
@click.option(
    "--sort",
    default="number",
    metavar="COLUMN",
    help="Sort by an objective (best first), a parameter, a metric, duration, started, ... Default: number.",
)
@click.option("--reverse", is_flag=True, help="Reverse the order.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Show only the first N trials.")
@json_option
@click.pass_obj
def command(
    session: Session, /, store: str | None, study: str | None, states: Sequence[str], as_json: bool, **order: Any
) -> None:
    """List the trials of a study.

    JSON: {store, study, objectives, trials: [row]}. A row is flat: number, state, each objective, feasible (if the
    study has constraints), "params.NAME" (null if inactive), "metrics.NAME", reason, rule, failure_kind,
    failure_message, invalid, partial, started and ended (Unix seconds), duration, steps, source, attempt, worker.
    """
    from hpt_core.cli import export_formats

    with open_study(session, store, study) as opened:
        history = opened.history
        found = [row for row in rows(history) if not states or row["state"] in states]
        chosen = _ordered(found, history, **order)
        if as_json:
            put(export_formats.as_json(opened, chosen))
        elif chosen:
            data(_table(chosen, history, order["sort"]))
        else:
            say("There are no matching trials." if len(history.trials) else "The study has no trials yet.")


def _ordered(rows: list[Row], history: History, *, sort: str, reverse: bool, limit: int | None) -> list[Row]:
    if not rows:
        return []
    known = list(dict.fromkeys(key for row in rows for key in row))
    column = next((key for key in (sort, f"params.{sort}", f"metrics.{sort}") if key in known), None)
    if column is None:
        hint = did_you_mean(sort, known)
        raise UsageError(Mistake("--sort", f"There is no column {sort!r}.{hint} Columns: {', '.join(known)}."))
    best_first = history.definition["objectives"].get(column) == "maximize"
    filled = [row for row in rows if row.get(column) is not None]
    numeric = all(isinstance(row[column], (int, float)) for row in filled)
    filled.sort(key=lambda row: row[column] if numeric else str(row[column]), reverse=best_first != reverse)
    return [*filled, *(row for row in rows if row.get(column) is None)][:limit]


def _table(rows: Sequence[Row], history: History, sort: str) -> str:
    several = dict.fromkeys(key for row in rows for key in row if key.startswith("params."))
    bounded = [f"metrics.{bound.metric}" for bound in history.constraints]
    sorted_by = f"metrics.{sort.removeprefix('metrics.')}"  # the table has no other metrics
    keys = dict.fromkeys((*bounded, *several, sorted_by))
    shown = [key for key in keys if any(row.get(key) is not None for row in rows)]
    shown += ["source"] * (len({row["source"] for row in rows}) > 1)
    names = [key.partition(".")[2] or key for key in shown]
    header = ["trial", "state", *history.objectives, *names, "duration", "remark"]
    return table(header, [_cells(row, history, shown) for row in rows])


def _cells(row: Row, history: History, shown: Sequence[str]) -> list[str]:
    values = ["" if row.get(key) is None else number(row[key]) for key in (*history.objectives, *shown)]
    took = "" if row["duration"] is None else duration(row["duration"])
    return [str(row["number"]), row["state"], *values, took, shorten(_remark(row, history), _REMARK)]


def _remark(row: Row, history: History) -> str:
    if row["invalid"] is not None:
        return f"invalid: {row['invalid']}"
    if row["state"] == "running" and not is_alive(owner_of(row["worker"]), 0.0):
        return "its process is gone; `hpt run` resumes it"
    if row["failure_kind"]:
        return f"{row['failure_kind']}: {row['failure_message']}"
    if row["rule"]:
        return f"{row['rule']}: {row['reason']}"
    excess = zip(history.constraints, history.excess[row["number"]], strict=True)
    violated = [f"{bound.metric} {bound}" for bound, above in excess if above > 0.0]
    return f"violates {', '.join(violated)}" if violated else row["reason"]
