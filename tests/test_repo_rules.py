"""What holds for every distribution in this tree: names, versions, files, and what gets into a wheel."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import hpt_core
from hpt_core.cli.session import Session
from hpt_core.components import KINDS as KINDS_OF_COMPONENTS
from hpt_core.plugins.distributions import COMMANDS as OFFERED
from hpt_core.plugins.distributions import DEFAULTS, provider, store_provider
from hpt_core.plugins.plugins import Plugins, default_plugins

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
KINDS = "evaluator|executor|report|sampler|space|stopping|store|tracker"

DISTRIBUTION_OF = {"sklearn": "scikit-learn"}
"""Where a module has another name than its distribution."""

every_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
every_distribution = pytest.mark.parametrize("folder", [ROOT, *PLUGINS], ids=lambda path: path.name)


def metadata(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def package_of(plugin: Path) -> str:
    return plugin.name.replace("-", "_")


def lines(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


@every_distribution
def test_all_distributions_have_one_version(folder: Path) -> None:
    assert metadata(folder)["project"]["version"] == hpt_core.__version__


@every_distribution
def test_metadata_says_the_same_everywhere(folder: Path) -> None:
    project = metadata(folder)["project"]
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "MIT"
    assert project["readme"] == "README.md"
    assert not project["description"].endswith(".")
    core = metadata(ROOT)["project"]
    assert project["authors"] == core["authors"]
    assert project["classifiers"] == core["classifiers"]
    assert project["keywords"] == sorted(project["keywords"])


@every_plugin
def test_a_plugin_is_named_after_its_kind_and_folder(plugin: Path) -> None:
    assert re.fullmatch(rf"hpt-({KINDS})(-[a-z0-9]+)+", plugin.name)
    assert metadata(plugin)["project"]["name"] == plugin.name


@every_plugin
def test_a_plugin_asks_for_the_core_of_its_minor_version(plugin: Path) -> None:
    major, minor, _ = hpt_core.__version__.split(".")
    wanted = f"hpt-core>={major}.{minor},<{major}.{int(minor) + 1}"
    assert wanted in metadata(plugin)["project"]["dependencies"]


@every_plugin
@pytest.mark.parametrize(
    "name", ["README.md", "CHANGELOG.md", "LICENSE", "src/{package}/__init__.py", "src/{package}/py.typed"]
)
def test_a_plugin_has_the_file(plugin: Path, name: str) -> None:
    assert (plugin / name.format(package=package_of(plugin))).is_file()


@every_plugin
def test_the_changelog_of_a_plugin_has_its_version(plugin: Path) -> None:
    changelog = (plugin / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {hpt_core.__version__}" in changelog.replace("[", "").replace("]", "")


@every_plugin
def test_a_plugin_has_one_entry_point_to_its_package(plugin: Path) -> None:
    points = metadata(plugin)["project"]["entry-points"]
    assert points == {"hpt": {plugin.name.removeprefix("hpt-"): package_of(plugin)}}


@every_plugin
def test_a_plugin_brings_no_tool_settings_but_where_its_package_lies(plugin: Path) -> None:
    wheel = {"packages": [f"src/{package_of(plugin)}"]}
    assert metadata(plugin).get("tool") == {"hatch": {"build": {"targets": {"wheel": wheel}}}}
    strays = {"setup.cfg", "tox.ini", "pytest.ini", "ruff.toml", ".ruff.toml", "mypy.ini", "conftest.py"}
    assert not [path for path in plugin.rglob("*") if path.name in strays]


@every_plugin
def test_the_tests_of_a_plugin_carry_its_name(plugin: Path) -> None:
    names = [path.name for path in plugin.glob("tests/**/*.py")]
    assert names
    assert not [name for name in names if not name.startswith(f"test_{package_of(plugin)}_")]


def test_no_two_test_files_share_a_name() -> None:
    found = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("plugins/*/tests/**/*.py")]
    counts = Counter(path.name for path in found)
    assert not [name for name, count in counts.items() if count > 1]


def test_the_working_set_lists_every_distribution_in_order() -> None:
    listed = [line.removeprefix("-e ") for line in lines("requirements-dev.txt") if line.startswith("-e ")]
    assert listed == [".[rich,test]", *(f"plugins/{plugin.name}" for plugin in PLUGINS)]


def test_import_linter_looks_at_every_package() -> None:
    linter = metadata(ROOT)["tool"]["importlinter"]
    packages = [package_of(plugin) for plugin in PLUGINS]
    assert linter["root_packages"] == ["hpt_core", *packages]
    contracts = {contract["id"]: contract for contract in linter["contracts"]}
    assert contracts["strangers"]["modules"] == packages
    assert [name for name in contracts["light-core"]["forbidden_modules"] if name.startswith("hpt_")] == packages


def test_mypy_looks_at_every_file() -> None:
    checked = [path for pattern in metadata(ROOT)["tool"]["mypy"]["files"] for path in ROOT.glob(pattern)]
    folders = [ROOT / name for name in ("hpt_core", "plugins", "tests", "examples", "benchmarks", "docs")]
    files = [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]
    assert not [path for path in files if not any(path.is_relative_to(place) for place in checked)]


def test_constraints_are_exact_and_sorted() -> None:
    pins = [line for line in lines("constraints.txt") if not line.startswith("#")]
    assert not [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", pin)]
    names = [pin.partition("==")[0].lower().replace("_", "-") for pin in pins]
    assert names == sorted(set(names))


@every_distribution
def test_torch_is_never_asked_for_in_another_version_than_the_pinned_one(folder: Path) -> None:
    asked = requirements(metadata(folder)["project"])
    pin = next(line for line in lines("constraints.txt") if line.startswith("torch=="))
    assert not [item for item in asked if re.match(r"torch\b", item) and item.replace(" ", "") != pin]


def requirements(project: dict[str, Any]) -> list[str]:
    """What a project requires, with its own extras, and without the extras of what it requires."""
    extras = project.get("optional-dependencies", {}).values()
    items = [*project["dependencies"], *(item for extra in extras for item in extra)]
    return [re.sub(r"\[.*?\]", "", item) for item in items]


def needed(project: dict[str, Any]) -> set[str]:
    """The distributions that a project names, those of its extras included, without versions."""
    return {re.split(r"[^A-Za-z0-9_.-]", item)[0] for item in requirements(project)}


def test_a_dependency_has_the_same_bounds_in_every_distribution() -> None:
    """Otherwise `make test-lowest`, which has one environment, would leave the lower of two bounds untested."""
    bounds: dict[str, set[str]] = {}
    for folder in (ROOT, *PLUGINS):
        for item in requirements(metadata(folder)["project"]):
            name = re.split(r"[^A-Za-z0-9_.-]", item)[0]
            if name != "hpt-core":
                bounds.setdefault(name, set()).add(item.removeprefix(name))
    assert not {name: found for name, found in bounds.items() if len(found) > 1}
    assert not [name for name, found in bounds.items() if not min(found).startswith((">=", "=="))]


def test_the_lowest_versions_tested_are_all_bounds_but_those_of_hpt_itself(tmp_path: Path) -> None:
    """A plugin's bound on the core may be lower than the version in this tree, which is the one to test."""
    plan = ["make", "-nB", f"LOWEST={tmp_path}", f"{tmp_path}/.stamp"]
    planned = subprocess.run(plan, cwd=ROOT, check=True, capture_output=True, text=True)
    (command,) = [line for line in planned.stdout.splitlines() if line.endswith(f">{tmp_path}/constraints.txt")]
    subprocess.run(["sh", "-c", command], cwd=ROOT, check=True)
    asked = {item for folder in (ROOT, *PLUGINS) for item in requirements(metadata(folder)["project"])}
    asked |= {item for folder in (ROOT, *PLUGINS) for item in metadata(folder)["build-system"]["requires"]}
    bounds = {re.sub(">=", "==", item.split(",")[0]) for item in asked if ">=" in item and not item.startswith("hpt-")}
    assert set((tmp_path / "constraints.txt").read_text(encoding="utf-8").split()) == bounds
    (install,) = [line for line in planned.stdout.splitlines() if f"-r {tmp_path}/requirements.txt" in line]
    assert "--no-build-isolation" in install  # pip would build with the newest hatchling otherwise


def imported(files: Iterable[Path]) -> set[str]:
    """The distributions that these files import, wherever the import stands."""
    found: set[str] = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {item.name.partition(".")[0] for item in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return {DISTRIBUTION_OF.get(name, name.replace("_", "-")) for name in found - sys.stdlib_module_names}


@every_distribution
def test_a_distribution_asks_for_all_that_it_imports_and_no_more(folder: Path) -> None:
    source = ROOT / "hpt_core" if folder == ROOT else folder / "src"
    project = metadata(folder)["project"]
    plain = {re.split(r"[^A-Za-z0-9_.-]", item)[0] for item in project["dependencies"]}
    used = imported(source.rglob("*.py")) - {project["name"]}
    assert not used - needed(project)
    assert not plain - used


def test_the_working_set_holds_all_that_tests_import() -> None:
    tests = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("plugins/*/tests/**/*.py")]
    projects = [metadata(folder)["project"] for folder in (ROOT, *PLUGINS)]
    listed = {line for line in lines("requirements-dev.txt") if not line.startswith(("#", "-"))}
    there = listed.union(*(needed(project) | {project["name"]} for project in projects))
    assert not imported(tests) - there


@pytest.mark.slow
@every_distribution
def test_a_wheel_holds_its_own_package_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    run = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    package = "hpt_core" if folder == ROOT else package_of(folder)
    source = folder if folder == ROOT else folder / "src"
    files = {path for path in (source / package).rglob("*") if path.is_file() and path.suffix != ".pyc"}
    expected = {path.relative_to(source).as_posix() for path in files}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert f"{package}-{hpt_core.__version__}.dist-info/licenses/LICENSE" in names
    assert f"{package}/py.typed" in expected


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_lists_every_distribution_once(name: str) -> None:
    rows = [line.split("`")[1] for line in lines(name) if re.match(r"\| \[?`hpt-", line)]
    assert sorted(rows) == ["hpt-core", *(plugin.name for plugin in PLUGINS)]


def test_a_message_can_name_the_distribution_of_every_component() -> None:
    plugins = default_plugins()
    of_core = {("evaluator", "function"), ("store", "memory"), ("executor", "local")}
    for kind in KINDS_OF_COMPONENTS:
        for name in plugins.names(kind):
            owner = plugins.owner(kind, name)
            assert owner is not None
            assert (kind, name) in of_core or provider(kind, name) == owner.distribution


def test_a_message_can_name_a_distribution_with_a_default_sampler() -> None:
    for kind, distribution in DEFAULTS.items():
        only = Plugins(discover=False)
        only.register(importlib.import_module(distribution.replace("-", "_")))
        owner = default_plugins().owner(kind, only.default(kind))
        assert owner is not None
        assert owner.distribution == distribution


@pytest.mark.parametrize("path", ["a.csv", "A.CSV", "hpt.db", "hpt.sqlite", "hpt.sqlite3"])
def test_a_message_can_name_the_distribution_of_a_store(path: str) -> None:
    plugins = Plugins()
    assert store_provider(path) == f"hpt-store-{plugins.name_of(type(plugins.make_store(path)))}"


def test_a_message_can_name_the_distribution_of_every_command() -> None:
    offered: dict[str, str] = {}
    plugins = [info for info in default_plugins().plugins if "hpt_commands" in info.hooks]
    for plugin in plugins:
        only = Plugins(disabled=[other.name for other in plugins if other is not plugin])
        offered |= dict.fromkeys(Session(only).commands, plugin.distribution)
    assert offered == OFFERED
