"""``hpt check``: validate a study file and describe the study, or list every error in the file."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli import render
from hpt_core.cli.reading import default_store, json_option
from hpt_core.cli.refusals import refusals, store_elsewhere
from hpt_core.cli.text import data, emit_json, paragraph, say, stdout_to_stderr
from hpt_core.components import location_of
from hpt_core.plugins.checks import check_evidence
from hpt_core.values import counted, without_passwords

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.study.settings import RunSettings
    from hpt_core.study.study import Study

__all__ = ["command"]


@click.command("check", short_help="Check a study file and list every error in it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@json_option
@click.pass_obj
def command(session: Session, file: Path, overrides: Sequence[str], as_json: bool) -> None:
    """Check the study in FILE: describe it, or list every error. Nothing is evaluated or written.

    The evaluator checks its options. To do so it may import the code and read the data that they name. A warning says
    if a run would be refused, because the store has the study with another definition or cannot be used, or if it would
    create a store here although there is one beside FILE.

    JSON: {file, name, store, objectives, constraints, size, space, components: [{kind, name, plugin, options}], trials,
    workers}; "size" is the number of configurations, null if infinite or not counted.
    """
    with stdout_to_stderr(as_json):  # the user's modules may print when they are imported
        study, settings = session.make_study(file, overrides, store=default_store())
        study.workers = settings.workers
        warnings, refused = check_evidence(study.evaluator, study.rules_by_path), refusals(study)
        components = list(_components(study))
    for warning in [*warnings, *refused, *store_elsewhere(study.store, file)]:
        say(f"Warning: {warning}")
    if as_json:
        about = {
            "file": str(file),
            "name": study.name,
            "store": location_of(study.store),
            "objectives": study.objectives,
            "constraints": study.constraints,
            "size": study.space.size,
            "space": study.space.to_json(),
            "trials": settings.trials,
            "workers": settings.workers,
        }
        emit_json("check", {**about, "components": components})
        return
    for line in _lines(study, settings, components):
        data(line)
    run = without_passwords(shlex.join(["hpt", "run", str(file), *overrides]))
    say(f"{file} is valid." if refused else f"{file} is valid. Run it with `{run}`.")


def _lines(study: Study, settings: RunSettings, components: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield paragraph("study", f"{study.name}, stored in {location_of(study.store)}")
    yield paragraph("objective", render.objectives(study.objectives))
    if study.constraints:
        yield paragraph("constraints", render.constraints(study.constraints))
    yield paragraph("space", render.size_of(study.space))
    yield render.space_table(study.space)
    for found in components:
        origin = f", from {found['plugin']}" if found["plugin"] else ""
        yield paragraph(found["kind"], render.component({"use": found["name"], **found["options"]}) + origin)
    yield paragraph("budget", _budget(study, settings))


def _components(study: Study) -> Iterator[dict[str, Any]]:
    """The components, each with the options that differ from their defaults."""
    rules = [("stopping rule", rule) for rule in study.rules]
    places = [("store", study.store), ("executor", study.executor)]
    for kind, component in [("sampler", study.sampler), ("evaluator", study.evaluator), *rules, *places]:
        options = study.plugins.describe(component, brief=True)
        name = options.pop("use")
        owner = study.plugins.owner(kind, name)
        plugin = f"{owner.distribution or owner.name} {owner.version}".strip() if owner else ""
        yield {"kind": kind, "name": name, "plugin": plugin, "options": options}


def _budget(study: Study, settings: RunSettings) -> str:
    limit = "no limit on trials" if settings.trials is None else f"{counted(settings.trials, 'trial')} in total"
    pace = "one at a time" if settings.workers == 1 else f"{settings.workers} at a time"
    timeout = study.settings.trial_timeout
    each = "" if timeout is None else f", each at most {timeout:g} s"
    endless = settings.trials is None and study.space.size is None and not study.rules
    return f"{limit}, {pace}{each}{'; it runs until Ctrl-C' if endless else ''}"
