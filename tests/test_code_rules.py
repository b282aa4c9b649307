"""What holds for every line of the packages: no code from data, small functions, docstrings, public names."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import hpt_core

ROOT = Path(__file__).parents[1]
CORE = sorted(ROOT.glob("hpt_core/**/*.py"))
PLUGINS = sorted(ROOT.glob("plugins/*/src/**/*.py"))
FILES = [*CORE, *PLUGINS]

MAX_FILE = 400
MAX_FUNCTION = 60
MAX_NUMERICS = 70  # a derivation reads worse in pieces

FORBIDDEN_MODULES = {
    "_pickle", "cloudpickle", "dill", "marshal", "multiprocessing", "pickle", "shelve",
}  # fmt: skip
FORBIDDEN_CALLS = {
    "__import__", "compile", "eval", "exec", "joblib.load", "os.popen", "os.system", "pandas.read_pickle",
    "yaml.full_load", "yaml.load", "yaml.load_all", "yaml.unsafe_load",
}  # fmt: skip
POOL = "plugins/hpt-evaluator-sklearn/src/hpt_evaluator_sklearn/search/pool.py"
DASK = "plugins/hpt-executor-dask/src/hpt_executor_dask"
WRAP = "plugins/hpt-evaluator-wrap/src/hpt_evaluator_wrap"
ALLOWED = {
    ("hpt_core/builtin/children.py", "multiprocessing"): "it starts, watches and ends processes",
    ("hpt_core/builtin/local.py", "multiprocessing"): "the executor talks to processes that it started itself",
    ("hpt_core/builtin/worker_process.py", "multiprocessing"): "it starts the process of a worker",
    ("hpt_core/builtin/worker_process.py", "pickle"): "a worker gets what it cannot import from its own parent",
    ("hpt_core/loop/serving.py", "multiprocessing"): "an executor talks to workers that it started itself",
    ("hpt_core/loop/serving.py", "pickle"): "whether an error of its own can travel",
    ("hpt_core/loop/serving.py", "pickle.loads"): "reads what it has just written",
    (f"{DASK}/pool.py", "multiprocessing"): "an executor talks to workers that know the key of the run",
    (f"{DASK}/process.py", "multiprocessing"): "a worker talks over the connection that its Dask task authenticated",
    (f"{DASK}/task.py", "multiprocessing"): "a worker talks to the study's process, which knows the key of the run",
    ("hpt_core/pickling.py", "cloudpickle"): "only writes, for processes that are started for a study",
    ("hpt_core/testing/component.py", "pickle"): "a check that a component can travel to workers",
    ("hpt_core/testing/component.py", "pickle.loads"): "reads what it has just written",
    ("hpt_core/testing/processes.py", "multiprocessing"): "a kit talks to a process that it started itself",
    ("hpt_core/testing/processes.py", "pickle"): "a check that a component decides the same in another process",
    ("hpt_core/testing/processes.py", "pickle.loads"): "reads what the process that started it has written",
    (f"{WRAP}/child.py", "multiprocessing"): "it talks to the process that started it",
    (f"{WRAP}/child.py", "pickle"): "it gets evaluator and trial from the process that started it",
    (f"{WRAP}/child.py", "pickle.loads"): "reads what the process that started it has written",
    (f"{WRAP}/isolate.py", "cloudpickle"): "only says what is pickled by value",
    (f"{WRAP}/trial_process.py", "multiprocessing"): "it talks to a process that it started itself",
    (POOL, "joblib.load"): "reads what the parent process wrote, in a folder of its own",
}
"""(file, module or call) -> why this one place is safe."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of each import, type-checking ones included; the name is empty for a plain import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((item.name, "") for item in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.module or "", item.name) for item in node.names)


# --- no code from data ----------------------------------------------------------------------------


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Local name -> dotted name, of all imports wherever they stand."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {item.asname: item.name for item in node.names if item.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """The dotted name that an expression spells, import aliases resolved; empty for any other expression."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id).removeprefix("builtins.")
    if isinstance(node, ast.Attribute):
        base = dotted(node.value, names)
        return f"{base}.{node.attr}".removeprefix("builtins.") if base else ""
    return ""


def keyword(call: ast.Call, name: str) -> object:
    """The literal given for a keyword of a call, None where there is none."""
    values = [item.value for item in call.keywords if item.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


def could_execute(call: ast.Call, called: str) -> bool:
    """Whether a call of this dotted name could run what it is given."""
    return (
        called in FORBIDDEN_CALLS
        or (not FORBIDDEN_MODULES.isdisjoint(called.split(".")) and called.endswith((".load", ".loads")))
        or (called == "numpy.load" and bool(keyword(call, "allow_pickle")))
        or (called == "torch.load" and keyword(call, "weights_only") is not True)
        or keyword(call, "shell") is True
    )


def executes_data(tree: ast.AST) -> Iterator[str]:
    """Each import or call that could turn stored data into code."""
    names = imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = {module.partition(".")[0] for module, _ in imports_of(node)}
            yield from sorted(modules & FORBIDDEN_MODULES)
        elif isinstance(node, ast.Call) and could_execute(node, dotted(node.func, names)):
            yield dotted(node.func, names)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", ["pickle"]),
        ("from pickle import loads as read\nread(b'')", ["pickle", "pickle.loads"]),
        ("import joblib as j\nj.dump([], 'x')\nj.load('x')", ["joblib.load"]),
        ("from joblib.externals import cloudpickle as c\nc.loads(b'')", ["joblib.externals.cloudpickle.loads"]),
        ("eval('1')", ["eval"]),
        ("import builtins\nbuiltins.exec('1')", ["exec"]),
        ("import yaml as y\ny.load('')", ["yaml.load"]),
        ("import yaml\nyaml.safe_load('')", []),
        ("import torch\ntorch.load('x')", ["torch.load"]),
        ("import torch\ntorch.load('x', weights_only=False)", ["torch.load"]),
        ("import torch\ntorch.load('x', weights_only=True)", []),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", ["numpy.load"]),
        ("import numpy as np\nnp.load('x')", []),
        ("import subprocess\nsubprocess.run('ls', shell=True)", ["subprocess.run"]),
        ("import re\nre.compile('x')", []),
        ("def f():\n    from multiprocessing import get_context", ["multiprocessing"]),
    ],
)
def test_the_search_for_executed_data_finds_it(source: str, found: list[str]) -> None:
    assert list(executes_data(ast.parse(source))) == found


def test_reading_never_executes_and_every_exception_is_still_needed() -> None:
    assert {(short(path), name) for path in FILES for name in executes_data(tree_of(path))} == ALLOWED.keys()


# --- size -----------------------------------------------------------------------------------------


def length(function: Function) -> int:
    """The lines of a function, decorators and docstring left out."""
    body = function.body
    first = body[0]
    described = isinstance(first, ast.Expr) and ast.get_docstring(function, clean=False) is not None
    doc = (first.end_lineno or first.lineno) - first.lineno + 1 if described else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - doc


def test_the_length_of_a_function_leaves_its_docstring_out() -> None:
    (function,) = ast.parse('@mark\ndef f():\n    """One.\n\n    Two.\n    """\n    return 1\n').body
    assert isinstance(function, ast.FunctionDef)
    assert length(function) == 2


def long_functions(path: Path) -> Iterator[str]:
    limit = MAX_NUMERICS if short(path).startswith("plugins/hpt-sampler-") else MAX_FUNCTION
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, Function)]
    yield from (f"{short(path)}: {node.name}: {length(node)}" for node in functions if length(node) > limit)


def test_functions_are_short() -> None:
    assert not [found for path in FILES for found in long_functions(path)]


def test_files_are_short() -> None:
    counts = {short(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    del counts["hpt_core/hookspecs.py"]  # that one is prose
    assert not {name: count for name, count in counts.items() if count > MAX_FILE}


# --- docstrings -----------------------------------------------------------------------------------


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public modules, classes, functions and methods without a docstring."""
    pending: list[tuple[str, ast.Module | ast.ClassDef | Function]] = [("module", tree)]
    while pending:
        name, node = pending.pop()
        if ast.get_docstring(node) is None:
            yield name
        if isinstance(node, Function):
            continue  # what is inside is nobody's business
        inner = [item for item in node.body if isinstance(item, ast.ClassDef | Function)]
        pending += [(item.name, item) for item in inner if not item.name.startswith("_") and not is_overload(item)]


def is_overload(node: ast.ClassDef | Function) -> bool:
    return any(dotted(item, {}).endswith(("overload", ".setter")) for item in node.decorator_list)


def test_what_is_public_has_a_docstring() -> None:
    assert not [f"{short(path)}: {name}" for path in FILES for name in undocumented(tree_of(path))]


# --- names ----------------------------------------------------------------------------------------


def test_the_public_names_are_the_ones_that_have_a_home() -> None:
    homes = [name for names in hpt_core._HOME.values() for name in names]
    assert sorted(homes) == sorted(hpt_core.__all__)
    assert len(set(homes)) == len(homes)


def test_the_lists_of_public_names_are_sorted() -> None:
    assert list(hpt_core.__all__) == sorted(hpt_core.__all__)
    assert list(hpt_core._HOME) == sorted(hpt_core._HOME)
    assert all(list(names) == sorted(names) for names in hpt_core._HOME.values())


def test_a_public_name_loads_from_its_home() -> None:
    for module, names in hpt_core._HOME.items():
        home = importlib.import_module(f"hpt_core.{module}")
        assert not [name for name in names if getattr(hpt_core, name) is not getattr(home, name)]


def hpt_imports() -> Iterator[tuple[str, str, str, str]]:
    """What the plugins import of hpt: file, its own package, the module, the name."""
    for path in PLUGINS:
        for module, name in imports_of(tree_of(path)):
            if module.startswith("hpt_"):
                yield short(path), path.relative_to(ROOT).parts[3], module, name


def test_a_plugin_imports_public_names_of_the_core_and_no_other_plugin() -> None:
    others = [found for found in hpt_imports() if found[2].partition(".")[0] != found[1]]
    assert not [found for found in others if found[2] != "hpt_core" or found[3] not in hpt_core.__all__]
