"""``hpt plugins test``: run the conformance kit on a component."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpt_core.cli import kit_case
from hpt_core.cli.group import INTERRUPTED
from hpt_core.cli.text import say, stdout_to_stderr
from hpt_core.components import KINDS
from hpt_core.errors import UsageError

if TYPE_CHECKING:
    from hpt_core.cli.session import Session

__all__ = ["test"]

_FAILED = 1


@click.command("test", short_help="Run the conformance kit on a component.")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice([*KINDS, "stopping"]), help="Kind of the component, if several kinds have that name."
)
@click.option(
    "-o", "--option", "given", multiple=True, metavar="KEY=VALUE", help="Option of the component (repeatable)."
)
@click.option(
    "--flag",
    "flags",
    multiple=True,
    metavar="KEY=VALUE",
    help="Attribute of the kit, for example seeded=false (repeatable).",
)
@click.option("--study", type=click.Path(path_type=Path), help="Study file whose space and objectives the kit uses.")
@click.pass_context
def test(
    ctx: click.Context, name: str, kind: str | None, given: Sequence[str], flags: Sequence[str], study: Path | None
) -> None:
    """Run the conformance kit on the component NAME: an installed one, or an import path module:Class. Needs pytest.

    Exit code 0 if it passes, 1 if it breaks a rule. Each broken rule is shown with the reason why it matters.
    """
    from hpt_core.cli.options import matching

    session: Session = ctx.obj
    found = [item for item in matching(session.plugins, name) if kind is None or item[0].split()[0] == kind.split()[0]]
    if len(found) != 1:
        matches = ", ".join(f"{one} {component}" for one, component in found) or "nothing of that kind"
        msg = f"{name!r} matches {matches}. Name one component, and its --kind if several kinds have that name."
        raise UsageError(msg)
    try:
        import pytest
    except ImportError as err:
        msg = "The conformance kits need pytest: pip install hpt-core[test]."
        raise UsageError(msg) from err
    options, attributes = kit_case.values_of(given), kit_case.values_of(flags)
    kit_case.Installed = kit_case.case_of(session.plugins, *found[0], options, attributes, study)
    say(f"Running the conformance kit on the {found[0][0]} {found[0][1]!r}:")
    with stdout_to_stderr(True):
        # without the `addopts` of the author's own tests: with -n, other processes would collect, which lack the class
        arguments = "-q --no-header --tb=short -p no:cacheprovider --rootdir . -o addopts= -o python_classes=Installed"
        code = pytest.main([*arguments.split(), "--pyargs", kit_case.__name__])
    if code == pytest.ExitCode.TESTS_FAILED and found[0][0] == "evaluator" and study is None:
        say("The kit used parameters and an objective of its own.")
        say("If the evaluator needs others, name a study file that has them: --study FILE.")
    interrupted, usage = int(pytest.ExitCode.INTERRUPTED), int(pytest.ExitCode.USAGE_ERROR)
    ctx.exit({0: 0, interrupted: INTERRUPTED, usage: UsageError.exit_code}.get(int(code), _FAILED))
