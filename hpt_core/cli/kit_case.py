"""Makes the kit's test class for an installed component, and lets pytest collect it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.components import KINDS
from hpt_core.options import option_fields
from hpt_core.spelling import did_you_mean

if TYPE_CHECKING:
    from hpt_core.plugins.plugins import Plugins

__all__ = ["InPlace", "case_of", "values_of"]


class InPlace:
    """A pytest plugin that makes the class when pytest's assertion rewriting is in place, and has it collected."""

    def __init__(self, case: Callable[[], type]) -> None:
        self._case = case
        self._made: type | None = None

    def pytest_configure(self) -> None:
        """Make the class."""
        self._made = self._case()

    def pytest_pycollect_makeitem(self, collector: Any, name: str, obj: object) -> Any:  # noqa: ARG002 - pytest's names
        """Collect the class in place of the placeholder."""
        import pytest

        if name == "Installed":
            collector.obj.Installed = self._made
            return pytest.Class.from_parent(collector, name=name)
        return None


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
) -> Callable[[], type]:
    """A function that makes the kit's test class for a component. It raises `pytest.UsageError` for an unknown flag.

    Raises:
        UsageError: If the component cannot be made with these options.
    """
    import pytest

    kit_name, fixture = KINDS[kind].kit, KINDS[kind].fixture
    spec = {"use": name, **options}
    has_place = any(field.name == "path" for field in option_fields(plugins.component(kind, name)))

    def make(*place: Path) -> Any:
        return plugins.make(kind, {**spec, "path": str(place[0])} if place and has_place else spec)

    plugins.make(kind, spec)  # reports wrong options once, not in every check
    body: dict[str, Any] = {
        **({} if study is None else _settings_from(study, kind)),
        **flags,
        fixture: pytest.fixture(name=fixture)(lambda self: make),  # noqa: ARG005 - a method
    }

    def case() -> type:
        kit = getattr(import_module("hpt_core.testing"), kit_name)
        for flag in flags:
            if not hasattr(kit, flag):
                raise pytest.UsageError(f"--flag: {kit_name} has no attribute {flag!r}.{did_you_mean(flag, dir(kit))}")
        return type(f"Test_{name}", (kit,), body)

    return case


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
