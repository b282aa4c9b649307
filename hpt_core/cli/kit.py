"""``hpt plugins test``: run the conformance kit on a component that is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli.session import Session
from hpt_core.cli.text import say, stdout_to_stderr

if TYPE_CHECKING:
    from hpt_core.plugins import Plugins

__all__ = ["test"]

_KIT_OF = {
    "sampler": ("SamplerKit", "make_sampler"),
    "evaluator": ("EvaluatorKit", "make_evaluator"),
    "stopping rule": ("StoppingRuleKit", "make_rule"),
    "store": ("StoreKit", "make_store"),
    "executor": ("ExecutorKit", "make_executor"),
}
_FAILED = 1


@click.command("test")
@click.argument("name")
@click.option("--kind", type=click.Choice([*_KIT_OF]), help="Which one, where several kinds have that name.")
@click.option("-o", "--option", "given", multiple=True, metavar="KEY=VALUE", help="An option (repeatable).")
@click.option("--flag", "flags", multiple=True, metavar="KEY=VALUE", help="An attribute of the kit, as seeded=false.")
@click.option("--study", type=click.Path(path_type=Path), help="A study file: its space is what an evaluator is given.")
@click.pass_context
def test(
    ctx: click.Context, name: str, kind: str | None, given: Sequence[str], flags: Sequence[str], study: Path | None
) -> None:
    """Run the conformance kit on the component NAME, as installed. Needs pytest.

    Exit code 0: it passes; 1: a rule is broken, which one and why it matters is said.
    """
    from hpt_core.cli.options import matching
    from hpt_core.errors import UsageError

    session = ctx.find_object(Session)
    assert session is not None
    found = [item for item in matching(session.plugins, name) if kind in (None, item[0])]
    if len(found) != 1:
        known = ", ".join(f"{one} {component}" for one, component in found) or "nothing of that kind"
        msg = f"{name!r} means {known}; name one component, with --kind where several kinds have it."
        raise UsageError(msg)
    try:
        import pytest
    except ImportError as err:
        msg = "The conformance kits need pytest: pip install hpt-core[test]."
        raise UsageError(msg) from err
    case = _case(session.plugins, *found[0], _values(given), _values(flags), study)
    say(f"The conformance kit on the {found[0][0]} {found[0][1]!r}:")
    with stdout_to_stderr():
        code = pytest.main(
            [
                "-q",
                "--no-header",
                "--tb=short",
                "-p",
                "no:cacheprovider",
                "--rootdir",
                ".",
                "--pyargs",
                "hpt_core.testing.installed",
            ],
            plugins=[_Plugin(case)],
        )
    ctx.exit(0 if code == 0 else _FAILED)


class _Plugin:
    """Hands the class to the module that pytest collects."""

    def __init__(self, case: type) -> None:
        self._case = case

    def pytest_pycollect_makeitem(self, collector: Any, name: str, obj: object) -> Any:  # noqa: ARG002 - pytest's names
        """Collect the class in place of the one that stands for it."""
        import pytest

        if name == "Installed":
            collector.obj.Installed = self._case
            return pytest.Class.from_parent(collector, name=name)
        return None


def _values(given: Sequence[str]) -> dict[str, Any]:
    from hpt_core.errors import UsageError

    values: dict[str, Any] = {}
    for item in given:
        key, separator, text = item.partition("=")
        if not separator:
            msg = f"An option must look like key=value. Got {item!r}."
            raise UsageError(msg)
        values[key] = _value(text)
    return values


def _value(text: str) -> Any:
    """TOML, or else the text itself."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _case(
    plugins: Plugins, kind: str, name: str, options: dict[str, Any], flags: dict[str, Any], study: Path | None
) -> type:
    """The kit's class for a component."""
    import pytest

    import hpt_core.testing as kits
    from hpt_core.options import option_fields

    kit_name, fixture = _KIT_OF[kind]
    spec = {"use": name, **options}
    has_place = any(field.name == "path" for field in option_fields(plugins.component(kind, name)))

    def make(*place: Path) -> Any:
        return plugins.make(kind, {**spec, "path": str(place[0])} if place and has_place else spec)

    plugins.make(kind, spec)  # so that what is wrong in the options is told once
    body: dict[str, Any] = {**flags, fixture: pytest.fixture(name=fixture)(lambda self: make)}  # noqa: ARG005 - a method
    if study is not None:
        from hpt_core.config import read_study_file
        from hpt_core.space import Space

        space = Space(read_study_file(study, [])["space"])
        body["space"] = pytest.fixture(name="space")(lambda self: space)  # noqa: ARG005 - a method
    return type(f"Test_{name}", (getattr(kits, kit_name),), body)
