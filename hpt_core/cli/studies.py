"""``hpt studies``: list the studies in a store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli import render
from hpt_core.cli.reading import json_option, open_store, store_option
from hpt_core.cli.text import data, emit_json, number, say, table
from hpt_core.components import location_of
from hpt_core.errors import StoreError

if TYPE_CHECKING:
    from hpt_core.components import Store

__all__ = ["command"]


@click.command("studies", short_help="List the studies in a store.")
@store_option
@json_option
@click.pass_context
def command(ctx: click.Context, store: str | None, as_json: bool) -> None:
    """List the studies in a store.

    Exit code 4 if a study cannot be read; the others are still listed.

    JSON: {store, studies: [{study, objectives, trials, states, best, elapsed, last, stopped}], unreadable: [{study,
    problem}]}; "best" is the best value of the first objective or null, "elapsed" the seconds that the study ran,
    "last" the Unix time of its last record.
    """
    found, unreadable = [], []
    with open_store(ctx.obj, store) as opened:
        where = location_of(opened)
        for name in opened.studies():
            try:
                found.append(_study(opened, name))
            except StoreError as err:
                unreadable.append({"study": name, "problem": str(err)})
    if as_json:
        emit_json("studies", {"store": where, "studies": found, "unreadable": unreadable})
    elif found:
        rows = [_row(study) for study in found]
        data(table(["study", "objectives", "trials", "complete", "best", "last change (UTC)", "stop reason"], rows))
    elif not unreadable:
        say(f"There is no study in {where}.")
    for study in unreadable:
        say(f"Error: {study['problem']}")
    ctx.exit(StoreError.exit_code if unreadable else 0)


def _study(store: Store, name: str) -> dict[str, Any]:
    from hpt_core.export import summary
    from hpt_core.ledger import history_of

    history = history_of(store, name)
    about = summary(history)
    best = history.best
    return {
        "study": name,
        **{key: about[key] for key in ("objectives", "trials", "states")},
        "best": None if best is None else best.value,
        **{key: about[key] for key in ("elapsed", "stopped")},
        "last": store.read(name, history.position - 1)[-1]["time"],
    }


def _row(study: dict[str, Any]) -> list[str]:
    changed = datetime.fromtimestamp(study["last"], UTC).strftime("%Y-%m-%d %H:%M")
    return [
        study["study"],
        render.objectives(study["objectives"]),
        str(study["trials"]),
        str(study["states"].get("complete", 0)),
        "" if study["best"] is None else number(study["best"]),
        changed,
        study["stopped"] or "",
    ]
