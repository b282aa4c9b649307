"""The pages for plugin authors: their plugins pass the kits, and the page on the kits is what the tests say.

HPT_WRITE_DOCS=1 pytest tests/test_testing_kits_docs.py    writes that page.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hpt_core.plugins import Plugins
from hpt_core.testing import checks, examples

PAGES = Path(__file__).parents[1] / "docs" / "plugin-authors"
KINDS = {
    "sampler": "sampler",
    "evaluator": "evaluator",
    "stopping": "stopping rule",
    "store": "store",
    "executor": "executor",
}
HEAD = """<!-- Written by tests/test_testing_kits_docs.py from the kits and their tests; do not edit. -->

# The conformance kits

Inherit the kit of your kind, override one fixture, and pytest runs these checks; a failing one says the rule and why it
matters. Each check is itself tested: beside it stands a deliberately wrong plugin that this check rejects, and no other
check of the kit does (`tests/test_testing_kits_*.py`).
"""


def loaded(kind: str) -> ModuleType:
    spec = spec_from_file_location(f"kits_of_{kind}", Path(__file__).with_name(f"test_testing_kits_{kind}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(kind: str) -> str:
    module = loaded(kind)
    lines = [f"## {module.KIT.__name__}", "", (module.KIT.__doc__ or "").partition("\n")[0], ""]
    lines += ["| check | rule | why | a wrong plugin that only it rejects |", "| --- | --- | --- | --- |"]
    for name in checks.checks_of(module.KIT):
        rule, why = checks.rule_of(getattr(module.KIT, name).__wrapped__)
        wrong = (module.WRONG[name].__doc__ or "").strip()
        cells = [f"`{name}`", rule, why[:1].upper() + why[1:], wrong]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("``", "`") for cell in cells) + " |")
    return "\n".join(lines)


def test_the_page_on_the_kits_is_in_step() -> None:
    text = "\n\n".join([HEAD.strip(), *map(section, KINDS)]) + "\n"
    page = PAGES / "kits.md"
    if os.environ.get("HPT_WRITE_DOCS"):
        page.write_text(text, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == text, "run HPT_WRITE_DOCS=1 pytest tests/test_testing_kits_docs.py"


def blocks(kind: str) -> tuple[str, str]:
    text = (PAGES / f"{kind}.md").read_text(encoding="utf-8")
    (plugin,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (test,) = re.findall(r"^```python test\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return plugin, test


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[tuple[ModuleType, Any]]:
    """The plugin of a page as a module, and its kit."""
    plugin, test = blocks(request.param)
    module = ModuleType(f"page_on_a_{request.param}")
    sys.modules[module.__name__] = module  # as an import does; pickle looks there
    exec(compile(plugin, f"{request.param}.md", "exec"), module.__dict__)
    names: dict[str, Any] = {**module.__dict__}
    exec(compile(test, f"{request.param}.md", "exec"), names)
    (kit,) = [item for name, item in names.items() if name.startswith("Test")]
    yield module, kit
    del sys.modules[module.__name__]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("written", KINDS, indirect=True)
def test_the_plugin_of_a_page_is_complete_and_passes_its_kit(written: Any, tmp_path: Path) -> None:
    module, kit = written
    plugins = Plugins(discover=False)
    info = plugins.register(module)
    kind = next(kind for kind in KINDS.values() if plugins.names(kind))
    ((name,),) = [plugins.names(kind)]
    assert info.components == {kind: [name]}
    fixture = "make_rule" if kind == "stopping rule" else f"make_{kind}"
    make = getattr(kit, fixture)(None)
    given = {fixture: make, "make_component": make, "space": examples.FLOATS}
    if kind == "store":
        given["make_component"] = lambda: make(tmp_path / "log")
    assert checks.broken_rules(kit, given) == {}
    assert plugins.component(kind, name).__doc__


def test_the_property_of_the_first_page_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("hpt_sampler_coin")
    exec(blocks("sampler")[0], module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (block,) = re.findall(r"^```python\n(.*?)^```$", (PAGES / "index.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    names["test_stays_inside"]()


def test_the_smallest_sampler_takes_less_than_fifteen_lines() -> None:
    assert len([line for line in blocks("sampler")[0].splitlines() if line.strip()]) < 15
