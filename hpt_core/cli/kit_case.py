"""Makes the kit's test class for a component. Pytest collects it from this module."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.components import KINDS
from hpt_core.errors import Mistake, UsageError
from hpt_core.options import option_fields
from hpt_core.spelling import did_you_mean

if TYPE_CHECKING:
    from hpt_core.plugins.plugins import Plugins

__all__ = ["Installed", "case_of", "values_of"]

Installed: type
"""The test class to collect, once it is made."""


def values_of(given: Sequence[str]) -> dict[str, Any]:
    """Parse ``key=value`` arguments; a value is TOML, or else text.

    Raises:
        UsageError: If one has no ``=``.
    """
    from hpt_core.study.config import put_over

    values: dict[str, Any] = {}
    for item in given:
        put_over(values, item)
    return values


def case_of(
    plugins: Plugins, kind: str, name: str, options: dict[str, Any], flags: dict[str, Any], study: Path | None
) -> type:
    """The kit's test class for a component.

    Raises:
        UsageError: If the component cannot be made with these options, or the kit has no such attribute.
    """
    import pytest

    kit_name, fixture = KINDS[kind].kit, KINDS[kind].fixture
    spec = {"use": name, **options}
    has_place = any(field.name == "path" for field in option_fields(plugins.component(kind, name)))

    def make(*place: Path) -> Any:
        return plugins.make(kind, {**spec, "path": str(place[0])} if place and has_place else spec)

    plugins.make(kind, spec)  # reports wrong options once, not in every check
    kit = getattr(import_module("hpt_core.testing"), kit_name)
    for flag in flags:
        if not hasattr(kit, flag):
            message = f"{kit_name} has no attribute {flag!r}.{did_you_mean(flag, dir(kit))}"
            raise UsageError(Mistake("--flag", message))
    body = {
        **({} if study is None else _settings_from(study, kind)),
        **flags,
        fixture: pytest.fixture(name=fixture)(lambda self: make),  # noqa: ARG005 - a method
    }
    return type(f"Test_{name}", (kit,), body)


def _settings_from(study: Path, kind: str) -> dict[str, Any]:
    """The attributes of the kit that a study file determines: the space, and the objectives of an evaluator."""
    import pytest

    from hpt_core.history.definition import parse_objectives
    from hpt_core.space.space import Space
    from hpt_core.study.config import read_study_file

    content = read_study_file(study)
    space = Space(content.get("space", {}))
    body: dict[str, Any] = {"space": pytest.fixture(name="space")(lambda self: space)}  # noqa: ARG005 - a method
    if kind == "evaluator":
        body["objectives"] = parse_objectives(content.get("objective", "minimize"))
    return body
