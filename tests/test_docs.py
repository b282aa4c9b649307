"""The documentation is true: its blocks run, its reference is what the code says, its translation has the same code.

What is run of a page, from top to bottom in one folder of its own: see CONTRIBUTING.md, "Documentation".
"""

from __future__ import annotations

import contextlib
import difflib
import gc
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import attrs
import click
import pytest
from click.testing import CliRunner

import hpt_core
from hpt_core.cli.group import hpt
from hpt_core.cli.session import Session
from hpt_core.components import KINDS
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.config import make_study

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OTHERS = ("reference", "plugin-authors")  # generated; checked by tests of their own
WRITTEN = [path for path in sorted(DOCS.rglob("*.md")) if path.relative_to(DOCS).parts[0] not in OTHERS]
PAGES = [ROOT / "README.md", *WRITTEN]

FOREIGN = {"bayes_opt", "catboost", "lightgbm", "mlflow", "xgboost"}
"""Libraries that hpt does not install: where one is absent, a block that uses it is only parsed."""

KNOWN = {"console", "python", "text", "toml"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
BASE = {"space": {"x": {"low": 0.0, "high": 1.0}}, "evaluator": {"use": "function", "call": "math:sqrt"}}
RATE = {"low": 1e-5, "high": 0.1}
NAMED = {"C": RATE, "act": ["a", "b", "c"], "gamma": RATE, "layers": {"low": 0, "high": 8}, "lr": RATE}
"""The parameters that the READMEs of samplers name."""
STUDY_KEYS = {"name", "objective", "seed", "trials", "workers", "space", "evaluator", "sampler", "store", "stop"} | {
    *("constraints", "executor", "duplicates", "reproducible", "retries", "max_failures", "trial_timeout"),
}

INSTALLED = "installed"
PIP = [
    *(sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--target", INSTALLED),
    *("--no-deps", "--no-build-isolation", "--no-index"),
]
"""``pip install`` on a page: into the page's folder, from what is there."""

PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
(INSTALL,) = re.findall(r"^pip install (.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
README_INSTALLS = {Path(word).name for word in INSTALL.split()}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


@attrs.frozen
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str:
        """The file that its first line names, ``# train.py``; empty for none."""
        named = FILE.match(self.text)
        return named[1] if named else ""


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    return [Block(name, text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in FENCE.finditer(text)]


# --- running a page -------------------------------------------------------------------------------


class Reader:
    """Does what a page says, in the working folder."""

    def __init__(self) -> None:
        self.module = types.ModuleType("page")
        self.study = BASE

    def follow(self, block: Block) -> None:
        assert block.language in KNOWN, f"{block.place}: say what it is, one of {sorted(KNOWN)}"
        if block.file and block.language != "console":
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            self.run_python(block)
        elif block.language == "toml":
            self.check_toml(block)
        elif block.language == "console":
            self.run_console(block)

    def run_python(self, block: Block) -> None:
        code = compile("\n" * block.line + block.text, block.place, "exec")
        if any(re.search(rf"^(import|from) {name}\b", block.text, re.MULTILINE) for name in FOREIGN if absent(name)):
            return
        if "/" in block.file:
            return  # of a package, which is to be installed
        if block.file:
            importlib.invalidate_caches()
            importlib.import_module(block.file.removesuffix(".py"))
        else:
            exec(code, vars(self.module))

    def check_toml(self, block: Block) -> None:
        data = tomllib.loads(block.text)
        if not data.keys() <= STUDY_KEYS:
            assert "space" not in data, block.place
            return
        if any(f'"{name}:' in block.text for name in FOREIGN if absent(name)):
            return
        alone = {"objective", "space", "evaluator"} <= data.keys()
        whole = data if alone else {**self.study, **data}  # a part is put over what the page said before
        study, _ = make_study({"name": "page", **whole}, folder=Path.cwd())
        study.close()
        self.study = whole

    def run_console(self, block: Block) -> None:
        for line, expected in commands_of(block.text):
            if line.startswith("$ "):
                output = run(line.removeprefix("$ "), block.place)
                assert_said(expected, output, f"{block.place}: {line}")
            else:
                assert_exists(line, block.place)


def absent(module: str) -> bool:
    return find_spec(module) is None


def commands_of(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block and the output that is shown below it, which only ``$`` commands have."""
    parts = re.split(r"^(?=\$ )", text, flags=re.MULTILINE)
    yield from ((line, "") for line in parts[0].splitlines() if line)
    for part in parts[1:]:
        command, _, output = part.replace("\\\n", "").partition("\n")
        yield command, output


def run(line: str, place: str) -> str:
    """Run a command: ``hpt`` in this process, ``python`` and ``pip install`` in another.

    The comment ``# exit code N`` behind it says that it fails.
    """
    code = re.search(r"# exit code (\d+)$", line)
    words = shlex.split(line, comments=True)
    given = dict(word.partition("=")[::2] for word in words if re.match(r"[A-Z_]+=", word))
    words = [word for word in words if not re.match(r"[A-Z_]+=", word)]
    if words[0] in ("pip", "python"):
        start = PIP if words[0] == "pip" else [sys.executable]
        done = subprocess.run(
            [*start, *words[2 if words[0] == "pip" else 1 :]], check=False, capture_output=True, text=True
        )
        status, output = done.returncode, done.stdout + done.stderr
    else:
        assert words[0] == "hpt", f"{place}: only hpt, pip and python are run"
        importlib.invalidate_caches()
        default_plugins.cache_clear()
        disabled = os.environ["HPT_DISABLE_PLUGINS"]
        result = CliRunner().invoke(hpt, words[1:], prog_name="hpt", env=given)
        os.environ["HPT_DISABLE_PLUGINS"] = disabled  # `--no-plugin` sets it for the processes of workers
        status, output = result.exit_code, result.output
    assert status == (int(code[1]) if code else 0), f"{place}: {line}\n{output}"
    return output


def assert_said(expected: str, output: str, place: str) -> None:
    """What is shown is a part of what was said; ``...`` stands for anything, spaces and line ends are all alike."""
    pattern = ".*?".join(re.escape(" ".join(part.split())) for part in expected.split("..."))
    said = " ".join(output.split())
    assert re.search(pattern.replace(r"\ .*?", ".*?").replace(r".*?\ ", ".*?"), said), f"{place}\n{output}"


def assert_exists(line: str, place: str) -> None:
    """A command that is not run: hpt takes such arguments, or make has such a target."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["make"]:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = [word for word in words[1:] if "=" not in word]
        assert all(f"\n{word}:" in makefile for word in targets), f"{place}: {line}"
    elif words[:1] == ["hpt"]:
        session = Session()
        with click.Context(hpt, info_name="hpt", obj=session, **hpt.context_settings) as ctx:
            ctx.call_on_close(session.close)  # it would go on printing what other tests log
            command = hpt.get_command(ctx, words[1])
            assert command is not None, f"{place}: {line}"
            command.make_context(words[1], words[2:], parent=ctx)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, and a process that is afterwards as it was."""
    before = set(sys.modules)
    (tmp_path / INSTALLED).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / INSTALLED), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("HPT_DISABLE_PLUGINS", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(tmp_path / INSTALLED))))
    monkeypatch.delenv("HPT_STORE", raising=False)
    default_plugins.cache_clear()
    yield tmp_path
    default_plugins.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@every_page
@pytest.mark.filterwarnings("ignore:.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning")
def test_what_a_page_says_works(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the plugins that the README installs, and those that the page names outside its tables."""
    text = "\n".join(line for line in page.read_text(encoding="utf-8").splitlines() if not line.startswith("|"))
    others = [plugin for plugin in PLUGINS if plugin not in README_INSTALLS and plugin not in text]
    monkeypatch.setenv("HPT_DISABLE_PLUGINS", ",".join(others))
    reader = Reader()
    monkeypatch.setitem(sys.modules, "page", reader.module)
    for block in blocks_of(page):
        reader.follow(block)
    assert Path.cwd() == folder
    vars(reader.module).clear()
    gc.collect()  # Optuna leaves its connections open, which Python tells of from 3.13 on


@pytest.mark.parametrize(
    "page",
    [path for kind in ("sampler", "stopping") for path in sorted(ROOT.glob(f"plugins/hpt-{kind}-*/README.md"))],
    ids=lambda path: path.parent.name,
)
def test_what_the_readme_of_a_sampler_or_a_rule_says_works(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader()
    monkeypatch.setitem(sys.modules, "page", reader.module)
    reader.study = {
        "space": NAMED,
        "evaluator": {"use": "command", "command": "true {params_json}", "evidence": "folds"},
    }
    for block in blocks_of(page):
        if block.language in ("python", "toml"):
            reader.follow(block)
    assert Path.cwd() == folder


class PauseOnce:
    """A rule that pauses each trial at its first step, and resumes it at once."""

    def judge_trial(self, history: hpt_core.History, trial: hpt_core.Trial) -> hpt_core.Pause | None:
        return hpt_core.Pause("the first step") if trial.reports[-1].step == 1 else None

    def promote(self, history: hpt_core.History) -> int | None:
        paused = (trial.number for trial in history.open.values() if trial.state is hpt_core.State.PAUSED)
        return next(paused, None)


def test_the_observers_of_the_page_on_tracking_count_a_paused_trial_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow, bar = MagicMock(), MagicMock()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)

    def train(params: hpt_core.Params, trial: hpt_core.TrialContext) -> Iterator[float]:
        yield from (1 / step for step in range(trial.resume_step + 1, 3))

    evaluator = {"use": "function", "call": train, "resumable": True}
    study = hpt_core.Study(
        {"x": hpt_core.Float(0, 1)}, sampler="random", stop=[PauseOnce()], plugins=hpt_core.Plugins(), seed=0
    )
    tracker = types.ModuleType("tracker")
    names = {"hpt": hpt_core, "study": study, "train": evaluator, "tqdm": lambda total: bar}
    for block in blocks_of(DOCS / "howto" / "track.md"):
        if block.file:
            exec(block.text, vars(tracker))
            study.plugins.register(tracker)
        elif "class " in block.text:
            exec(block.text, names)  # the last of them runs 100 trials
    assert [trial.attempt for trial in study.trials] == [2] * 100
    assert mlflow.start_run.call_count == 100
    assert sum(call.args[0] for call in bar.update.call_args_list) == 100
    assert len(Path("tracked.jsonl").read_text(encoding="utf-8").splitlines()) == 100


def test_the_mlflow_example_shows_the_result_of_a_trial_and_not_its_last_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[str, int, float]] = []
    stand_in = types.SimpleNamespace(
        start_run=lambda run_name: contextlib.nullcontext(),
        log_params=dict,
        log_metric=lambda name, value, step: logged.append((name, step, value)),
        log_metrics=lambda values: logged.extend((name, 0, value) for name, value in values.items()),
        set_tag=lambda name, value: None,
    )
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    (block,) = [block for block in blocks_of(DOCS / "howto" / "track.md") if "import mlflow" in block.text]

    def train(params: hpt_core.Params) -> Generator[float, None, dict[str, float]]:
        yield from (0.25, 0.75)
        return {"loss": 0.5, "seconds": 2.0}

    space = {"x": hpt_core.Float(0, 1)}
    study = hpt_core.Study(space, objective={"loss": "minimize"}, sampler="random", plugins=hpt_core.Plugins())
    exec(compile(block.text, block.place, "exec"), {"hpt": hpt_core, "study": study})
    study.run(train, trials=1)
    shown = {name: value for name, _, value in sorted(logged)}  # MLflow shows the value of the highest step
    assert shown == {"loss": 0.5, "report": 0.75, "seconds": 2.0}


# --- what the pages are ---------------------------------------------------------------------------


def test_the_reference_is_what_the_code_says(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wanted, there = (
        {path.name: path.read_text(encoding="utf-8").splitlines() for path in folder.glob("*")}
        for folder in (tmp_path, DOCS / "reference")
    )
    differences = [
        line
        for name in sorted({*wanted, *there})
        for line in difflib.unified_diff(
            there.get(name, []), wanted.get(name, []), name, "as the code has it", n=1, lineterm=""
        )
    ]
    assert not differences, "Run `python docs/generate.py`.\n" + "\n".join(differences[:60])


def test_the_reference_writes_signatures_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    signature = importlib.import_module("as_markdown").signature

    def example(a: int, b: str = "x", *rest: float, c: bool = False, **more: object) -> list[int]:
        return [a, len(b), len(rest), c, len(more)]

    for function in (example, make_study, run):
        text = "".join(signature(function.__name__, function).split()).replace(",)", ")")
        shown = str(inspect.signature(function, eval_str=False)).replace("'", '"')
        plain = re.sub(r': "([^"]*)"', r": \1", re.sub(r'-> "([^"]*)"', r"-> \1", shown))
        assert "".join(f"{function.__name__}{plain}".split()) in text.replace("'", '"')


def test_a_cell_of_the_reference_shows_code_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    cell = importlib.import_module("as_markdown").cell
    assert cell('a < b, as in `{"ms": "<= 50"}`') == 'a &lt; b, as in `{"ms": "<= 50"}`'


def test_what_the_readme_installs_has_all_that_it_names() -> None:
    plugins = default_plugins()
    known = {name for kind in KINDS for name in plugins.names(kind)}
    installed = README_INSTALLS | {"hpt-core"}
    offered = {
        name
        for info in plugins.plugins
        if info.distribution in installed
        for names in info.components.values()
        for name in names
    }
    named = set(re.findall(r'\b(?:use|sampler) ?= ?"?(\w+)', "".join(b.text for b in blocks_of(ROOT / "README.md"))))
    assert known & named <= offered


def test_the_sampler_of_the_readme_works_where_the_best_point_has_no_neighbour() -> None:
    (block,) = [block for block in blocks_of(ROOT / "README.md") if "class Hill" in block.text]
    names: dict[str, Any] = {"__name__": "hill"}
    exec(block.text, names)
    space = {"x": hpt_core.Int(0, 10, requires="x == 2 * y"), "y": hpt_core.Int(0, 5)}
    study = hpt_core.Study(space, sampler=names["Hill"](explore=0.0), seed=0)
    assert "space exhausted" in study.run(lambda params: params["x"], trials=10)
    assert sorted(trial.params["x"] for trial in study.trials) == [0, 2, 4, 6, 8, 10]


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "example" not in path.parts]
    assert not [page for page in pages if page not in navigation]


@pytest.mark.parametrize(
    "page",
    [*WRITTEN, *sorted(path for part in ("", "examples/", "plugins/*/") for path in ROOT.glob(f"{part}*.md"))],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_links_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    assert not [link for link in LINK.findall(prose) if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_site_draws_every_fence(page: Path) -> None:
    fences = re.findall(r"^```.*", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert not [fence for fence in fences if not re.fullmatch(r"```\w*", fence)]  # more words make it a paragraph


def test_the_translation_has_the_code_of_the_original() -> None:
    original, translated = blocks_of(ROOT / "README.md"), blocks_of(ROOT / "README.zh-CN.md")
    assert [(b.language, b.text) for b in translated] == [(b.language, b.text) for b in original]


def test_the_translation_names_what_the_original_names() -> None:
    original, translated = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    code = re.compile(r"`(hpt[ -][^`]*)`")
    assert set(code.findall(original)) == set(code.findall(translated))
