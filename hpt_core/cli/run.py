"""``hpt run``: run a study, or go on with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli.group import INTERRUPTED
from hpt_core.cli.reading import default_store
from hpt_core.cli.text import say, stdout_to_stderr, streams_kept
from hpt_core.cli.warm_start import begin_with, earlier_study
from hpt_core.components import location_of

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.study import Study

__all__ = ["command"]


@click.command("run", short_help="Run a study, or go on with it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--trials", type=click.IntRange(1), metavar="N", help="How many trials the study may have in all.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="How many processes evaluate at once.")
@click.option("--store", metavar="PATH|URL", help="Where to keep it, whatever the file says.")
@click.option("--name", metavar="NAME", help="The study's name, whatever the file says.")
@click.option(
    "--warm-start", metavar="NAME[@STORE]", help="Begin with the best five configurations of an earlier study."
)
@click.option("--amend", is_flag=True, help="Go on with the recorded study under a changed definition.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, no talk: only the result.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for programs.")
@click.pass_obj
def command(
    session: Session, /, file: Path, overrides: Sequence[str], quiet: bool, as_json: bool, **options: Any
) -> None:
    """Run the study in FILE, or go on with it: what was done before counts.

    KEY=VALUE puts a value over one of the file, as in  trials=100  sampler=random  space.C.high=10. The
    same command in a second terminal joins in. Ctrl-C stops cleanly, and the same command goes on.

    JSON: {store, study, reason, interrupted, new_trials} and what `hpt show --json` has of how the study stands.
    """
    from hpt_core.cli.ending import Ending

    with ExitStack() as stack:
        with stdout_to_stderr(as_json):  # modules of the user's may print when imported
            study, trials, workers = _study(session, file, overrides, options)
        stack.callback(study.close)
        study.workers = workers
        earlier = earlier_study(session, study, options["warm_start"]) if options["warm_start"] else None
        before = study.history.next_number
        if not quiet:
            _greet(study, before)
        if earlier is not None:
            told = begin_with(study, *earlier)
            if not quiet:
                say(told)
        interrupted = False
        try:
            with streams_kept(), _watched(study, trials, quiet=quiet), stdout_to_stderr(as_json):
                study.run(trials=trials, workers=workers)
        except KeyboardInterrupt:
            interrupted = True
        once = ("amend", "warm_start")
        given = [f"--{name}={value}" for name, value in options.items() if value and name not in once]
        ending = Ending(study, [str(file), *overrides, *given], before, interrupted=interrupted)
        if as_json:
            ending.emit()
        else:
            ending.tell(quiet=quiet)
        if interrupted:
            click.get_current_context().exit(INTERRUPTED)
        ending.check()


def _study(
    session: Session, file: Path, overrides: Sequence[str], options: dict[str, Any]
) -> tuple[Study, int | None, int]:
    from hpt_core.config import make_study, read_study_file

    data = read_study_file(file, overrides)
    session.subject = str(file)
    data |= {key: options[key] for key in ("trials", "workers", "store", "name") if options[key] is not None}
    study, settings = make_study(
        data, folder=file.parent, store=default_store(), amend=options["amend"], plugins=session.plugins
    )
    return study, settings.trials, settings.workers


def _greet(study: Study, before: int) -> None:
    lost = sum(1 for trial in study.history.open.values() if trial.state == "waiting" and trial.attempt)
    where = f"study {study.name!r} in {location_of(study.store)}"
    if before:
        again = f", {lost} of them taken up again" if lost else ""
        there = "1 trial is" if before == 1 else f"{before} trials are"
        say(f"Going on with the {where}: {there} there already{again}.")
    else:
        say(f"Running the {where}. Ctrl-C stops it cleanly, the same command goes on.")


@contextmanager
def _watched(study: Study, trials: int | None, *, quiet: bool) -> Iterator[None]:
    """Show progress and listen for Ctrl-C."""
    from hpt_core.cli.interrupts import Interrupts
    from hpt_core.cli.progress import progress_for
    from hpt_core.cli.tally import Tally

    with ExitStack() as stack:
        stack.enter_context(Interrupts())
        if not quiet:
            progress = stack.enter_context(progress_for(Tally(study.history, trials)))
            study.plugins.register(progress, "cli-progress")
            stack.callback(study.plugins.unregister, progress)
        yield
