"""``hpt studies``: list the studies in a store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli import render
from hpt_core.cli.reading import json_option, open_store, store_option
from hpt_core.cli.text import data, emit_json, number, say, table
from hpt_core.components import location_of
from hpt_core.errors import StoreError
from hpt_core.history.export import summary

if TYPE_CHECKING:
    from hpt_core.components import Store
    from hpt_core.history.history import History
    from hpt_core.history.trial import Trial

__all__ = ["command"]


@click.command("studies", short_help="List the studies in a store.")
@store_option
@click.option(
    "--at",
    "counts",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="Also show the best value of the first N trials (repeatable).",
)
@json_option
@click.pass_context
def command(ctx: click.Context, store: str | None, counts: tuple[int, ...], as_json: bool) -> None:
    """List the studies in a store.

    To compare studies, for example of several samplers, show the best of their first trials: --at 20 --at 40.

    Exit code 4 if a study cannot be read; the others are still listed.

    JSON: {store, studies: [{study, objectives, trials, states, best, best_at, elapsed, last, stopped}], unreadable:
    [{study, problem}]}; "states" is {state, or "invalid": number of trials}, "best" the best value of the first
    objective or null, "best_at" {N: best of the first N trials, or null}, "elapsed" the seconds that the study ran,
    "last" the Unix time of its last record.
    """
    found, unreadable = [], []
    with open_store(ctx.obj, store) as opened:
        where = location_of(opened)
        for name in opened.studies():
            try:
                found.append(_study(opened, name, counts))
            except StoreError as err:
                unreadable.append({"study": name, "problem": str(err)})
    if as_json:
        emit_json("studies", {"store": where, "studies": found, "unreadable": unreadable})
    elif found:
        rows = [_row(study) for study in found]
        at = [f"best of {count}" for count in dict.fromkeys(counts)]
        head = ["study", "objectives", "trials", "complete", *at, "best", "last change (UTC)", "stop reason"]
        data(table(head, rows))
    elif not unreadable:
        say(f"There is no study in {where}.")
    for study in unreadable:
        say(f"Error: {study['problem']}")
    ctx.exit(StoreError.exit_code if unreadable else 0)


def _study(store: Store, name: str, counts: Iterable[int]) -> dict[str, Any]:
    from hpt_core.loop.ledger import history_of

    history = history_of(store, name)
    about = summary(history)
    return {
        "study": name,
        **{key: about[key] for key in ("objectives", "trials")},
        "states": dict(render.states(history)),
        "best": _value(history.best),
        "best_at": {str(count): _best_of_first(history, count) for count in counts},
        **{key: about[key] for key in ("elapsed", "stopped")},
        "last": store.read(name, history.position - 1)[-1]["time"],
    }


def _best_of_first(history: History, count: int) -> float | None:
    """The best value of the first trials; None if there are not so many."""
    return None if len(history.trials) < count else _value(history.as_seen_by(count - 1, 1).best)


def _value(best: Trial | None) -> float | None:
    return None if best is None else best.value


def _row(study: dict[str, Any]) -> list[str]:
    changed = datetime.fromtimestamp(study["last"], UTC).strftime("%Y-%m-%d %H:%M")
    return [
        study["study"],
        render.objectives(study["objectives"]),
        str(study["trials"]),
        str(study["states"].get("complete", 0)),
        *("" if value is None else number(value) for value in (*study["best_at"].values(), study["best"])),
        changed,
        study["stopped"] or "",
    ]
