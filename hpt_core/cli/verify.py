"""``hpt verify``: recompute every decision of a study and compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli.reading import json_option, open_study, store_option, study_option
from hpt_core.cli.text import data, emit_json, say, stdout_to_stderr
from hpt_core.values import counted

if TYPE_CHECKING:
    from hpt_core.cli.session import Session

__all__ = ["command"]


@click.command("verify", short_help="Recompute every decision of a study and compare.")
@store_option
@study_option
@click.option(
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take the sampler and the rules from this study file, not from the log.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, store: str | None, study: str | None, file: Path | None, as_json: bool) -> None:
    """Recompute every suggestion and every stop of a study from its log and seed, and compare with the record.

    Needs the sampler and the rules of the study. Code is never imported because a log names it: if the log names a
    component by import path, give the study file. Exit code 0 if everything is the same, 1 if there are differences.

    JSON: {store, study, checked, differences: [text]}.
    """
    from hpt_core.study.verify import verify

    session: Session = ctx.obj
    with open_study(session, store, study) as opened:
        given: dict[str, Any] = {}
        if file is not None:
            with stdout_to_stderr(as_json):  # the user's modules may print when they are imported
                made, _ = session.make_study(file, store="memory")
            given = {"sampler": made.sampler, "rules": made.named_rules}
        result = verify(opened.store, opened.name, session.plugins, **given)
    if as_json:
        found = {"checked": result.checked, "differences": result.differences}
        emit_json("verify", {**opened.head, **found}, version=2)
    else:
        for line in result.differences:
            data(line)
        verdict = f"{len(result.differences)} differ" if result.differences else "all are the same"
        say(f"{counted(result.checked, 'decision')} of the study {opened.name!r} recomputed: {verdict}.")
    ctx.exit(1 if result.differences else 0)
