"""The pages for plugin authors: their plugins pass the kits, and the page on the kits is up to date.

HPT_WRITE_DOCS=1 pytest tests/testing/test_testing_kits_docs.py    writes that page.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hpt_core.errors import StoreError
from hpt_core.plugins.plugins import Plugins
from hpt_core.testing import checks

PAGES = Path(__file__).parents[2] / "docs" / "plugin-authors"
KINDS = {
    "sampler": "sampler",
    "evaluator": "evaluator",
    "stopping": "stopping rule",
    "store": "store",
    "executor": "executor",
}
HEAD = """<!-- Written by tests/testing/test_testing_kits_docs.py from the kits and their tests; do not edit. -->

# The conformance kits

Inherit from the kit for your kind of component and override one fixture; pytest then runs these checks. A failed check
says which rule was broken and why it matters. The checks are tested themselves: for each one there is a deliberately
wrong plugin that this check rejects and no other check of the kit does (`tests/testing/test_testing_kits_*.py`).
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
    lines += ["| check | rule | why | a wrong plugin that only this check rejects |", "| --- | --- | --- | --- |"]
    for name in checks.checks_of(module.KIT):
        rule, why = checks.rule_of(getattr(module.KIT, name).__wrapped__)
        wrong = (module.WRONG[name].__doc__ or "").strip()
        cells = [f"`{name}`", rule, why[:1].upper() + why[1:], wrong]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("``", "`") for cell in cells) + " |")
    return "\n".join(lines)


def test_the_page_on_the_kits_is_up_to_date() -> None:
    text = "\n\n".join([HEAD.strip(), *map(section, KINDS)]) + "\n"
    page = PAGES / "kits.md"
    if os.environ.get("HPT_WRITE_DOCS"):
        page.write_text(text, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == text, (
        "run HPT_WRITE_DOCS=1 pytest tests/testing/test_testing_kits_docs.py"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_wrong_plugin(kind: str) -> None:
    module = loaded(kind)
    assert sorted(module.WRONG) == sorted(checks.checks_of(module.KIT))


def blocks(page: str) -> list[str]:
    """The Python blocks of a page: first the plugin and its test, then further plugins with their tests."""
    return re.findall(r"^```python\n(.*?)^```$", (PAGES / f"{page}.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("kind", KINDS)
def test_the_plugins_of_a_page_are_complete_and_pass_their_kit(kind: str, tmp_path: Path) -> None:
    for text in blocks(kind):
        Path(tmp_path, text.split()[1]).write_text(text, encoding="utf-8")  # the first line names the file
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert [text.startswith("# test_") for text in blocks(kind)] == [False, True] * (len(blocks(kind)) // 2)


def test_further_plugins_of_the_pages_are_found() -> None:
    assert any(len(blocks(kind)) > 2 for kind in KINDS)


@pytest.mark.parametrize("page", KINDS)
def test_the_plugin_of_a_page_offers_one_component_of_its_kind(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(f"page_on_a_{page}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # as an import does
    exec(compile(blocks(page)[0], f"{page}.md", "exec"), module.__dict__)
    plugins = Plugins(discover=False)
    info = plugins.register(module)
    (name,) = plugins.names(KINDS[page])
    assert info.components == {KINDS[page]: [name]}
    assert plugins.component(KINDS[page], name).__doc__


@pytest.mark.parametrize("line", ["5", '{"loss": 1.0, "step": 1, "time": 0.0}'])
def test_the_store_of_a_page_refuses_json_lines_of_another_program(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("hpt_store_jsonl")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(blocks("store")[0], module.__dict__)
    path = tmp_path / "metrics.jsonl"
    path.write_text(f"{line}\n")
    store = module.JsonLines(path=path)
    for read in (store.studies, lambda: store.read("s")):
        with pytest.raises(StoreError, match=r"Cannot read .*metrics\.jsonl: "):
            read()


def test_the_property_of_the_first_page_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("hpt_sampler_coin")
    exec(blocks("sampler")[0], module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (block,) = blocks("index")
    names: dict[str, Any] = {}
    exec(block, names)
    names["test_stays_inside"]()


def test_the_smallest_sampler_takes_less_than_fifteen_lines() -> None:
    assert len([line for line in blocks("sampler")[0].splitlines() if line.strip()]) < 15
