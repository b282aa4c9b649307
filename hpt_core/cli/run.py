"""``hpt run``: run a study, or resume it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli import render
from hpt_core.cli.group import INTERRUPTED
from hpt_core.cli.reading import default_store
from hpt_core.cli.text import say, stdout_to_stderr, streams_kept
from hpt_core.cli.warm_start import earlier_study, enqueue_best
from hpt_core.components import location_of
from hpt_core.loop.changes import retry_failed
from hpt_core.values import counted

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.study.study import Study

__all__ = ["command"]


@click.command("run", short_help="Run a study, or resume it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--trials", type=click.IntRange(1), metavar="N", help="Total number of trials, earlier runs included.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Number of worker processes.")
@click.option("--store", metavar="PATH|URL", help="Store of the study; overrides the file.")
@click.option("--name", metavar="NAME", help="Name of the study; overrides the file.")
@click.option(
    "--warm-start", metavar="NAME[@STORE]", help="Start with the five best configurations of an earlier study."
)
@click.option(
    "--retry-failed", is_flag=True, help="Start with the configurations of failed trials, which then no longer count."
)
@click.option("--amend", is_flag=True, help="Resume the study although its definition has changed.")
@click.option("--quiet", "-q", is_flag=True, help="Print only the result.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(
    session: Session, /, file: Path, overrides: Sequence[str], quiet: bool, as_json: bool, **options: Any
) -> None:
    """Run the study in FILE, or resume it if the store already has trials of it.

    KEY=VALUE overrides a value of the file, for example  trials=100  sampler=random  space.C.high=10. The same command
    in a second terminal works on the same study in parallel. Ctrl-C stops cleanly; the same command resumes.

    JSON: {store, study, reason, interrupted, new_trials} and the keys of `hpt show --json` from "objectives" to
    "notes"; "new_trials" counts the trials that this run started.
    """
    from hpt_core.cli.interrupts import Interrupts
    from hpt_core.cli.progress import showing
    from hpt_core.cli.refusals import store_elsewhere
    from hpt_core.cli.run_report import RunReport

    with ExitStack() as stack:
        with stdout_to_stderr(as_json):  # the user's modules may print when they are imported
            given = {key: options[key] for key in ("trials", "workers", "store", "name") if options[key] is not None}
            study, settings = session.make_study(file, overrides, given, store=default_store(), amend=options["amend"])
        stack.callback(study.close)
        study.workers = settings.workers
        wanted = options["warm_start"]
        earlier = None if wanted is None else earlier_study(session, study, wanted)
        for warning in store_elsewhere(study.store, file):
            say(f"Warning: {warning}")
        before = study.decisions.ledger.history.next_number  # which records or resumes it
        tell = (lambda _: None) if quiet else say
        tell(_greeting(study, before))
        if earlier is not None:
            tell(enqueue_best(study, *earlier))
        if options["retry_failed"]:
            count = retry_failed(study.decisions.ledger)
            tell(f"Retrying {counted(count, 'failed trial')}." if count else "There is no failed trial to retry.")
        interrupted = False
        try:
            with streams_kept(), Interrupts(), showing(study, settings.trials, quiet=quiet), stdout_to_stderr(as_json):
                study.run(trials=settings.trials, workers=settings.workers)
        except KeyboardInterrupt:
            interrupted = True
        one_time = ("amend", "retry_failed", "warm_start")  # not repeated in the command that resumes the study
        flags = [f"--{name}={value}" for name, value in options.items() if value and name not in one_time]
        report = RunReport(study, [str(file), *overrides, *flags], before, interrupted=interrupted)
        with suppress(BrokenPipeError):  # as with `| head`: the exit code still says how the study ended
            if as_json:
                report.emit_json()
            else:
                report.print(quiet=quiet)
        if interrupted:
            click.get_current_context().exit(INTERRUPTED)
        report.check(quiet=quiet)


def _greeting(study: Study, before: int) -> str:
    lost = sum(1 for trial in study.history.open.values() if trial.state == "waiting" and trial.attempt)
    where = f"study {study.name!r} in {location_of(study.store)}"
    if before:
        again = f" ({lost} to be run again)" if lost else ""
        return f"Resuming the {where} with {counted(before, 'trial')}{again}."
    resumes = "; the same command resumes it" * render.is_kept(study)
    return f"Running the {where}. Ctrl-C stops it cleanly{resumes}."
