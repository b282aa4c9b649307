"""`hpt new`: the created plugins pass their kits, linter and type checker; `hpt plugins doctor` and `test`."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

import hpt_core
from hpt_core.cli.group import hpt
from hpt_core.cli.scaffold import scaffold
from hpt_core.cli.session import Session
from hpt_core.components import KINDS as KINDS_OF_COMPONENTS
from hpt_core.errors import StoreError
from hpt_core.hookspecs import hookimpl
from hpt_core.options import option
from hpt_core.plugins.plugins import Plugins

KINDS = ("evaluator", "executor", "sampler", "stopping", "store")


def call(*arguments: str, plugins: Plugins | None = None) -> Result:
    return CliRunner().invoke(hpt, arguments, obj=Session(plugins or Plugins()))


def run(command: Sequence[object], folder: Path) -> None:
    done = subprocess.run([str(item) for item in command], cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def imported(code: str) -> set[str]:
    """The top-level modules that code imports."""
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {item.name for node in found if isinstance(node, ast.Import) for item in node.names}
    return {name.partition(".")[0] for name in names | {str(n.module) for n in found if isinstance(n, ast.ImportFrom)}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a new plugin of each kind, all of them installed in `installed`."""
    place = tmp_path_factory.mktemp("made")
    for kind in KINDS:
        assert call("new", kind, "my-idea", "--into", str(place)).exit_code == 0
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", place / "installed"]
    run([*pip, "--no-deps", "--no-build-isolation", "--no-compile", "--no-index", *place.glob("hpt-*")], place)
    return place


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_new_plugins_pass_their_kits(made: Path) -> None:
    assert len([*made.glob("installed/*.dist-info/entry_points.txt")]) == len(KINDS)
    paths = [str(made / "installed"), str(Path(hpt_core.__file__).parents[1])]
    inside = f"import sys; sys.path[:0] = {paths}; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    run([sys.executable, "-c", inside, *options, *made.glob("hpt-*/tests")], made)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_new_plugins_pass_linter_and_type_checker(made: Path) -> None:
    folders = sorted(made.glob("hpt-*"))
    assert len(folders) == len(KINDS)
    for folder in folders:
        run([sys.executable, "-m", "ruff", "check", "--isolated", "."], folder)
        run([sys.executable, "-m", "ruff", "format", "--isolated", "--check", "--line-length", "120", "."], folder)
        here = ["--config", Path(__file__).parents[2] / "pyproject.toml", "--ignore", "I001,S311"]
        run([sys.executable, "-m", "ruff", "check", *here, "src"], folder)
    sources = [folder / "src" for folder in folders]
    path = ":".join(map(str, [Path(hpt_core.__file__).parents[1], *sources]))
    (made / "mypy.ini").write_text(f"[mypy]\nmypy_path = {path}\n")
    tests = [folder / "tests" for folder in folders]
    run([sys.executable, "-m", "mypy", "--config-file", made / "mypy.ini", "--strict", *sources, *tests], made)


@pytest.mark.parametrize("kind", KINDS)
def test_no_placeholder_of_the_templates_is_left(kind: str) -> None:
    name, files = scaffold(kind, "two-words2")
    assert name == f"hpt-{kind}-two-words2"
    words = {"CLASS", "PACKAGE", "MODULE", "NAME", "KIND", "HOOK", "KIT", "FLAGS", "FIXTURE", "FACTORY", "SIGNATURE"}
    assert not [(path, word) for path, text in files.items() for word in words if word in text.split()]
    project = tomllib.loads(files["pyproject.toml"])["project"]
    package = name.replace("-", "_")
    assert project["entry-points"]["hpt"] == {f"{kind}-two-words2": package}
    assert f"class TwoWords2{'Rule' if kind == 'stopping' else kind.capitalize()}" in "".join(files.values())
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_requires_what_it_imports(kind: str) -> None:
    _, files = scaffold(kind, "my-idea")
    modules = {module for path, text in files.items() if path.startswith("src/") for module in imported(text)}
    required = tomllib.loads(files["pyproject.toml"])["project"]["dependencies"]
    assert {re.split("[<>=]", item)[0].replace("-", "_") for item in required} == modules - sys.stdlib_module_names


def test_a_new_plugin_requires_the_minor_version_of_a_pre_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpt_core.cli.scaffold.__version__", "1.4.0.dev2")
    project = tomllib.loads(scaffold("sampler", "new")[1]["pyproject.toml"])["project"]
    assert "hpt-core>=1.4,<1.5" in project["dependencies"]


def test_a_new_store_reports_a_file_that_it_cannot_read_or_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "template_of_a_store.py").write_text(scaffold("store", "lines")[1]["src/hpt_store_lines/store.py"])
    monkeypatch.syspath_prepend(tmp_path)
    make = import_module("template_of_a_store").LinesStore
    (tmp_path / "damaged").write_text("{no JSON\n")
    for name in ("damaged", "."):
        path = str(tmp_path / name)
        with pytest.raises(StoreError, match=f"Cannot read {re.escape(path)}: .* restore a copy"):
            make(path=path).read("study")
    with pytest.raises(StoreError, match=r"Cannot write .*: .* not JSON serializable"):
        make(path=str(tmp_path / "new")).append("study", [{"event": object()}])


@pytest.mark.parametrize("name", ["My-Idea", "my_idea", "-x", "x-", "a--b", "1st", "a/b", ""])
def test_an_invalid_plugin_name_is_rejected(name: str, tmp_path: Path) -> None:
    result = call("new", "sampler", "--into", str(tmp_path), "--", name)
    assert result.exit_code == 2
    assert "single hyphens, as in my-idea" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_kind_may_be_called_as_the_other_commands_call_it(tmp_path: Path) -> None:
    assert call("new", "stopping rule", "x", "--into", str(tmp_path)).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["hpt-stopping-x"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "hpt-store-x").mkdir()
    result = call("new", "store", "x", "--into", str(tmp_path))
    assert result.exit_code == 2
    assert "already exists" in result.stderr


def test_a_name_that_is_too_long_for_a_folder_is_reported(tmp_path: Path) -> None:
    result = call("new", "store", "x" * 300, "--into", str(tmp_path))
    assert (result.exit_code, result.stderr.startswith("Error: Cannot create ")) == (2, True)


def test_an_installed_name_prints_a_warning(tmp_path: Path) -> None:
    for kind, name, told in (
        ("store", "memory", "a store 'memory'"),
        ("evaluator", "function", "an evaluator 'function'"),
    ):
        result = call("new", kind, name, "--into", str(tmp_path))
        assert result.exit_code == 0
        assert f"Warning: {told} is already installed" in result.stderr


# --- the doctor -----------------------------------------------------------------------------------


class Offers:
    """A plugin whose component cannot be loaded."""

    @hookimpl
    def hpt_samplers(self) -> dict[str, str]:
        return {"lost": "there_is_no_such_module:Sampler"}


class Rival:
    """A plugin that also provides a memory store."""

    @hookimpl
    def hpt_stores(self) -> dict[str, str]:
        return {"memory": "hpt_core.builtin.memory:MemoryStore"}


class Remote:
    """Runs workers on another machine."""

    elsewhere = True

    def run(self, worker: object, count: int, lost: object) -> None: ...

    def check(self, space: object, objectives: object) -> None:
        """Is never called: the core calls it of samplers, evaluators and rules only."""


class OffersRemote:
    """A plugin with an executor."""

    @hookimpl
    def hpt_executors(self) -> dict[str, type]:
        return {"remote": Remote}


def test_the_doctor_lists_what_the_core_uses_of_an_executor() -> None:
    plugins = Plugins(discover=False)
    plugins.register(OffersRemote(), "remote")
    result = call("plugins", "doctor", "--json", plugins=plugins)
    ((component,),) = (plugin["components"] for plugin in json.loads(result.stdout)["plugins"])
    assert component["capabilities"] == ["elsewhere"]


def test_the_doctor_looks_for_all_that_the_contract_of_evaluators_names() -> None:
    documented = re.findall(r"(?m)^ *- ``(\w+)", hpt_core.Evaluator.__doc__ or "")
    assert {"evidence", "finish", "sources"} <= set(documented)
    assert {*documented, "check"} == set(KINDS_OF_COMPONENTS["evaluator"].optional)


def test_the_doctor_loads_everything() -> None:
    plugins = Plugins(discover=False)
    from hpt_core import builtin

    plugins.register(builtin, "builtin")
    result = call("plugins", "doctor", "--json", plugins=plugins)
    assert result.exit_code == 0
    (plugin,) = json.loads(result.stdout)["plugins"]
    components = {item["name"]: item for item in plugin["components"]}
    assert components["function"]["options"] == ["call", "evidence", "steps", "resumable"]
    assert components["function"]["capabilities"] == ["check", "evidence", "resumable", "sources", "steps"]
    plugins.register(Offers(), "offers")
    plugins.register(Rival(), "rival")
    result = call("plugins", "doctor", plugins=plugins)
    assert result.exit_code == 3
    assert "sampler lost: BROKEN: " in result.stdout
    assert "there is no module 'there_is_no_such_module'" in result.stdout
    assert "store memory: BROKEN: provided by builtin and by rival" in result.stdout
    assert "broken: builtin, offers, rival." in result.stderr


class Lacks:
    """Lacks its method."""


def test_the_doctor_examines_each_class() -> None:
    class Offers:
        @hookimpl
        def hpt_samplers(self) -> dict[str, type]:
            annotated = attrs.make_class("Offhand", {"n": option(1, help="Of a type that only checkers see.")})
            annotated.__annotations__ = {"n": "NoSuchType"}
            return {"lacks": Lacks, "offhand": annotated}

    plugins = Plugins(discover=False)
    plugins.register(Offers(), "offers").seconds = 3.21
    result = call("plugins", "doctor", plugins=plugins)
    assert result.exit_code == 3
    assert "sampler lacks: BROKEN: Lacks has no suggest()" in result.stdout
    assert "cannot be evaluated at runtime: name 'NoSuchType' is not defined. Import" in result.stdout
    assert "slow   its module took 3.2 s to import; name components as 'module:Class'" in result.stdout


# --- the kit on what is installed -----------------------------------------------------------------


def test_the_kit_runs_on_an_installed_component(tmp_path: Path) -> None:
    """The options for the author's own tests, such as `-n` of pytest-xdist, are not those of the kit."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -k none_of_the_kit\n")
    command = [sys.executable, "-m", "hpt_core", "plugins", "test", "memory", "--flag", "persistent=false"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Running the conformance kit on the store 'memory'" in done.stderr
    assert "passed" in done.stderr
    assert not done.stdout


def test_the_kit_explains_a_broken_rule(tmp_path: Path) -> None:
    """It says once what happened, with the line of the kit that found it."""
    (tmp_path / "wants.py").write_text(WANTS)
    (tmp_path / "wants-1.dist-info").mkdir()
    (tmp_path / "wants-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: wants\nVersion: 1\n")
    (tmp_path / "wants-1.dist-info" / "entry_points.txt").write_text("[hpt]\nwants = wants\n")
    command = [sys.executable, "-m", "hpt_core", "plugins", "test", "wants"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    for name in ("CI", "BUILD_NUMBER"):  # with these, pytest's summary repeats each message whole
        environment.pop(name, None)
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr.count("What happened: minimizing: ['Stop'], maximizing: []\n") == 1
    assert "    assert minimized == maximized, " in done.stderr
    assert "hidden" not in done.stderr
    assert "test_minimizes_and_maximizes_alike - AssertionError: Broken rule: Maximizing" in done.stderr


def test_a_component_is_shown_and_tested_by_its_import_path(tmp_path: Path) -> None:
    """The module is found in the working folder, as by `hpt run`, although the `hpt` script is elsewhere."""
    (tmp_path / "wants.py").write_text(WANTS)
    command = [sys.executable, "-P", "-m", "hpt_core", "plugins"]
    here: dict[str, Any] = {"cwd": tmp_path, "capture_output": True, "text": True}
    shown = subprocess.run([*command, "show", "wants:Wants"], check=False, **here)
    assert shown.stdout == "stopping rule wants:Wants\nStops at a value in the user's sign.\n  No options.\n"
    shown = subprocess.run([*command, "show", "wants:Wants", "--json"], check=False, **here)
    (described,) = json.loads(shown.stdout)["components"]
    assert (described["kind"], described["class"], described["plugin"]) == ("stopping rule", "wants:Wants", "")
    done = subprocess.run([*command, "test", "wants:Wants"], check=False, **here)
    assert done.returncode == 1
    assert "test_minimizes_and_maximizes_alike" in done.stderr


WANTS = """
from hpt_core import Stop, hookimpl


class Wants:
    "Stops at a value in the user's sign."

    def judge_trial(self, history, trial):
        if trial.reports[-1].value > 0.5 and len(history.complete) > 3:
            return Stop("above a half")


@hookimpl
def hpt_stopping_rules():
    return {"wants": Wants}
"""


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["builtin"], "Name one component", 2),
        (["memory", "--kind", "sampler"], "nothing of that kind", 2),
        (["memory", "--kind", "stopping"], "nothing of that kind", 2),
        (["target", "--kind", "stopping"], "value: This option is required", 2),
        (["target", "--kind", "stopping rule"], "value: This option is required", 2),
        (["function", "-o", "call"], "must look like key.path=value", 2),
        (["function"], "This option is required", 2),
        (["memroy"], "There is no component or plugin 'memroy'. Did you mean 'memory'?", 3),
        (["nonsense"], "There is no component or plugin 'nonsense'", 3),
        (["json:JSONEncoder"], "'json:JSONEncoder' is not the class of a component. The methods of each kind are:", 2),
        (["json:dumps"], "'json:dumps' is not the class of a component.", 2),
        (["json:JSONEncode"], "'json' has no 'JSONEncode'. Did you mean 'JSONEncoder'?", 2),
    ],
)
def test_an_untestable_component_is_reported(arguments: list[str], says: str, code: int) -> None:
    result = call("plugins", "test", *arguments)
    assert result.exit_code == code
    assert says in result.stderr


def test_an_unknown_flag_is_reported() -> None:
    command = [sys.executable, "-m", "hpt_core", "plugins", "test", "memory", "--flag", "persistant=false"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--flag: StoreKit has no attribute 'persistant'. Did you mean 'persistent'?" in done.stderr


def test_a_study_file_without_a_space_is_reported(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    result = call("plugins", "test", "memory", "--study", str(tmp_path / "empty.toml"))
    assert result.exit_code == 2
    assert result.stderr == "Error: space: must have 1 to 1,000 parameters. Got 0.\n"


@pytest.mark.parametrize(("of_pytest", "code"), [(0, 0), (1, 1), (2, 130), (3, 1), (4, 2), (5, 1)])
def test_the_exit_code_of_the_kit_is_one_of_hpt(monkeypatch: pytest.MonkeyPatch, of_pytest: int, code: int) -> None:
    """Pytest returns 2 if the user interrupts it."""
    monkeypatch.setattr(pytest, "main", lambda _: of_pytest)
    assert call("plugins", "test", "memory").exit_code == code


def test_missing_pytest_is_reported_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)
    result = call("plugins", "test", "memory")
    assert result.exit_code == 2
    assert "pip install hpt-core[test]" in result.stderr


@pytest.mark.slow
def test_the_kit_takes_the_space_of_a_study_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def train(params):\n    return params['width'] ** 2\n")
    (tmp_path / "study.toml").write_text("[space]\nwidth = { low = 0.1, high = 0.9 }\n")
    command = [sys.executable, "-P", "-m", "hpt_core", "plugins", "test", "function", "-o", "call=mine:train"]
    for study, code in ((["--study", "study.toml"], 0), ([], 1)):
        done = subprocess.run([*command, *study], cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert ("Broken rule: " in done.stderr) == bool(code)
        assert ("KeyError: 'width'" in done.stderr) == bool(code)
        assert ("name a study file that has them: --study FILE.\n" in done.stderr) == bool(code)


@pytest.mark.slow
def test_the_kit_takes_the_objectives_of_a_study_file(tmp_path: Path) -> None:
    (tmp_path / "picky.py").write_text(PICKY)
    (tmp_path / "study.toml").write_text("objective = { score = 'maximize' }\n[space]\nx = { low = 0, high = 9 }\n")
    command = [sys.executable, "-P", "-m", "hpt_core", "plugins", "test", "picky:Picky", "--study", "study.toml"]
    for flags, code in (([], 0), (["--flag", "objectives={ value = 'minimize' }"], 1)):
        done = subprocess.run([*command, *flags], cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == code, done.stderr


PICKY = """
import attrs
from hpt_core import Mistake, UsageError


@attrs.define
class Picky:
    "Accepts a score only."

    def check(self, space, objectives):
        if objectives != {"score": "maximize"}:
            raise UsageError(Mistake("objective", "Must be a score to maximise."))

    def evaluate(self, trial):
        return {"score": trial.params["x"]}
"""
