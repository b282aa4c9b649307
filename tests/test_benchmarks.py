"""The benchmarks run, count right, and their page holds what the raw rows say."""

from __future__ import annotations

import csv
import math
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import rankdata

import hpt_core as hpt

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PAGES = Path(__file__).parents[1] / "docs" / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a module of benchmarks/optimisers, as its scripts do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS / "optimisers"))
    for name in ("outcome_problems", "outcomes", "problems", "rows", "stats"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module


def python(*args: object, timeout: float = 300) -> str:
    """What a script prints."""
    command = [sys.executable, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- the page ----------------------------------------------------------------------------------------------


def test_the_pages_hold_the_tables_of_the_rows(tmp_path: Path) -> None:
    names = ["optimisers.md", "optimisers-tables.md"]
    written = [(PAGES / name).read_text(encoding="utf-8") for name in names]
    pages = [tmp_path / name for name in names]
    for page, text in zip(pages, written, strict=True):
        page.write_text(text, encoding="utf-8")
    speed = PAGES / "optimisers-speed.csv"
    rows = PAGES / "optimisers-rows.csv.gz"
    python(BENCHMARKS / "optimisers" / "report.py", rows, "--speed", speed, "--page", *pages)
    assert [page.read_text(encoding="utf-8") for page in pages] == written
    marked = re.findall(r"<!-- table: ([\w ]+) -->", "".join(written))
    assert sorted(marked) == sorted(
        ["all", "families", "head to head", "parallel", "partial", "problems", "runs", "speed", "summary"]
    )


# --- the problems ------------------------------------------------------------------------------------------


MINIMA: dict[str, tuple[dict[str, Any], float]] = {
    "branin": ({"x": math.pi, "y": 2.275}, 0.397887),
    "hartmann6": (
        {f"x{i}": x for i, x in enumerate([0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573])},
        -3.32237,
    ),
    "ackley8": ({f"x{i}": -3.1 for i in range(8)}, 0.0),
    "rosenbrock4": ({f"x{i}": 1.0 for i in range(4)}, 0.0),
    "mixed-ackley": ({"x": 0.0, "y": 0.0, "k": 3, "c": "middle", "d": "middle"}, 0.0),
    "conditional-branin": ({"form": "parabola", "z": 10**-3.3}, 0.3),
    "branches": ({"model": "net", "lr": 10**-2.5, "units": 64}, 0.1),
}
"""Where the literature, or the formula, has the minimum."""


@pytest.mark.parametrize("name", MINIMA)
def test_the_optimum_of_a_problem_is_where_the_literature_has_it(name: str, module: Callable[[str], Any]) -> None:
    problems = module("problems")
    problem = {p.name: p for p in [*problems.analytic(), *problems.mixed()]}[name]
    params, value = MINIMA[name]
    assert problem.function(params) == pytest.approx(value, abs=1e-5)
    assert problem.optimum == pytest.approx(value, abs=1e-9) or problem.optimum is None


OUTCOMES: dict[str, tuple[dict[str, Any], float]] = {
    "gramacy": ({"x0": 0.1954, "x1": 0.4044}, 0.5998),
    "pressure-vessel": ({"shell": 13, "head": 7, "radius": 42.0984456, "length": 176.6365958}, 6059.7143),
    "welded-beam": ({"h": 0.244369, "l": 6.217520, "t": 8.291471, "b": 0.244369}, 2.38096),
}
"""Where the literature has the best feasible value; its digits leave the constraints met to about 1e-3."""


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_best_feasible_value_is_where_the_literature_has_it(name: str, module: Callable[[str], Any]) -> None:
    problem = {p.name: p for p in module("outcome_problems").constrained()}[name]
    params, value = OUTCOMES[name]
    found = problem.function(params)
    assert len(found) == 1 + problem.constraints
    assert found[0] == pytest.approx(value, rel=1e-4)
    assert max(found[1:]) == pytest.approx(0.0, abs=2e-3)  # at the edge of what is feasible


FRONTS: dict[str, Callable[[float, float], bool]] = {
    "zdt1": lambda a, b: abs(b - (1 - math.sqrt(a))) < 1e-12,
    "zdt2": lambda a, b: abs(b - (1 - a**2)) < 1e-12,
    "dtlz2": lambda a, b: abs(math.hypot(a, b) - 1) < 1e-12,
}
"""The equations of the fronts in the literature, met where the other parameters are at 0 (zdt) or 0.5 (dtlz2)."""


@pytest.mark.parametrize("name", FRONTS)
def test_the_front_of_a_problem_is_that_of_the_literature(name: str, module: Callable[[str], Any]) -> None:
    problem = {p.name: p for p in module("outcome_problems").several_objectives()}[name]
    rest = 0.5 if name == "dtlz2" else 0.0
    for along in (0.1, 0.5, 0.8):
        params = dict.fromkeys(problem.space, rest) | {"x0": along}
        assert FRONTS[name](*problem.function(params))


def test_no_search_gets_below_a_known_optimum(module: Callable[[str], Any]) -> None:
    problems = module("problems")
    rng = np.random.default_rng(0)
    for problem in [*problems.analytic(), *problems.mixed()]:
        if problem.optimum is None:
            continue
        space = hpt.Space(problem.space)
        points = [space.sample(rng) for _ in range(300)]
        best = min(points, key=problem.function)
        if all(isinstance(parameter, hpt.Float) for parameter in problem.space.values()):
            names = list(problem.space)

            def at(x: Any, names: list[str] = names, function: Any = problem.function) -> float:
                return float(function(dict(zip(names, x, strict=True))))

            found = minimize(at, [best[name] for name in names], method="Nelder-Mead", options={"maxiter": 2000}).fun
        else:
            found = problem.function(best)
        assert found > problem.optimum - 1e-6, problem.name


# --- the sums ----------------------------------------------------------------------------------------------


def test_ranks_share_the_mean_of_their_places(module: Callable[[str], Any]) -> None:
    table = np.random.default_rng(0).integers(0, 4, (6, 50)).astype(float)
    np.testing.assert_array_equal(module("stats").ranks(table), rankdata(table, axis=0))


def test_regret_is_between_the_best_known_and_what_ten_random_trials_reach(module: Callable[[str], Any]) -> None:
    rows_of, regrets = module("rows"), module("stats").regrets

    def row(who: str, values: list[float], workers: int = 1) -> Any:
        return rows_of.Row("f", "p", who, "1", 0, workers, "default", 0.0, values)

    given = [
        row(rows_of.SCALE, [1.0, 5.0]),
        row("a", [9.0, 3.0, 4.0]),
        row("b", [20.0, 0.0]),
        row("a", [2.0], workers=4),
    ]
    rows = {r.key: r for r in given}
    curves = regrets(rows)
    # The lowest value known is 0, of b; 5 is what ten random trials reach, and regret is cut at 2.
    np.testing.assert_allclose(curves["a"]["p", 0], [9 / 5, 3 / 5, 3 / 5])
    np.testing.assert_allclose(curves["b"]["p", 0], [2.0, 0.0])
    np.testing.assert_allclose(regrets(rows, workers=4)["a"]["p", 0], [2 / 5])


def test_an_interval_weighs_problems_alike_and_draws_them_with_all_their_seeds(module: Callable[[str], Any]) -> None:
    interval = module("stats").interval
    cells = [("p", 0), ("p", 1), ("p", 2), ("q", 0)]
    found = interval(np.array([0.0, 0.0, 0.0, 1.0]), cells)
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)
    same = interval(np.array([0.3, 0.5, 0.4]), [("p", 0), ("p", 1), ("p", 2)])  # one problem: nothing to draw
    assert (same.mean, same.low, same.high) == pytest.approx((0.4, 0.4, 0.4))


def test_how_many_trials_it_takes(module: Callable[[str], Any]) -> None:
    trials_to = module("stats").trials_to
    curve = np.array([0.9, 0.5, 0.5, 0.2])
    assert [trials_to(curve, target) for target in (1.0, 0.5, 0.3, 0.2, 0.1)] == [1, 2, 4, 4, None]


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_hypervolume_equals_counting(objectives: int, module: Callable[[str], Any]) -> None:
    points = np.random.default_rng(0).integers(0, 6, (7, objectives)).astype(float)
    cells = np.stack(np.meshgrid(*[np.arange(5) + 0.5] * objectives), axis=-1).reshape(-1, objectives)
    dominated = np.any(np.all(points[None] <= cells[:, None], axis=2), axis=1)
    assert module("outcomes").hypervolume(points, np.full(objectives, 5.0)) == pytest.approx(dominated.sum())


# --- the scripts -------------------------------------------------------------------------------------------


def test_what_is_in_the_file_is_not_run_again(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    command = [BENCHMARKS / "optimisers" / "run.py", "--problems", "branin", "--optimisers", "random", "hpt-tpe"]
    command += ["--seeds", 1, "--trials", 6, "--out", out]
    printed = python(*command)
    assert "| branin |" in printed
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["optimiser"] for row in rows] == ["(scale)", "random", "hpt-tpe"]
    first = [float(row["values"].strip("[]").split(",")[0]) for row in rows[1:]]
    middle = (7.5 - 5.1 * 2.5**2 / (4 * math.pi**2) + 5 * 2.5 / math.pi - 6) ** 2
    middle += 10 * (1 - 1 / (8 * math.pi)) * math.cos(2.5) + 10  # of Branin's usual square
    assert first == pytest.approx([middle, middle], rel=1e-6)
    before = out.read_bytes()
    python(*command)
    assert out.read_bytes() == before


def failing(*args: object) -> str:
    """What a script that fails prints on stderr."""
    done = subprocess.run([sys.executable, *map(str, args)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode
    return done.stderr


def test_runs_with_several_workers_alone_give_no_tables(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    command = ["--problems", "branin", "--optimisers", "random", "--seeds", 1, "--trials", 4, "--workers", 2]
    printed = python(BENCHMARKS / "optimisers" / "run.py", *command, "--out", out)
    assert "There are no tables yet" in printed
    assert "holds no runs with one worker" in failing(BENCHMARKS / "optimisers" / "report.py", out)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--problems", "branin", "no-such-problem"], "--list prints: no-such-problem\n"),
        (["--seeds", 0], "argument --seeds: must be at least 1, got 0"),
    ],
)
def test_a_wrong_option_is_told_before_anything_runs(options: list[Any], told: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    printed = failing(BENCHMARKS / "optimisers" / "run.py", *options, "--out", out)
    assert told in printed
    assert "Traceback" not in printed
    assert not out.exists()


def test_a_page_with_a_table_that_the_rows_do_not_give_is_left_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- table: runs -->\n<!-- end -->\n<!-- table: speed -->\n<!-- end -->\n", encoding="utf-8")
    before = page.read_bytes()
    rows = PAGES / "optimisers-rows.csv.gz"
    assert "has a table 'speed'" in failing(BENCHMARKS / "optimisers" / "report.py", rows, "--page", page)
    assert page.read_bytes() == before


def test_a_missing_package_is_named(module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "cocoex", None)
    assert list(module("problems").bbob()) == []
    assert capsys.readouterr().err == "Left out: bbob, as coco-experiment is not installed.\n"


def test_cpu_times_under_a_limit_are_finer_than_a_tick_of_the_kernel() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS / 'optimisers')!r})\n"
        "import resource, speed\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (120, 120))  # as speed.py does for each figure\n"
        "print(len({speed.cpu_seconds() for _ in range(10000)}))\n"
    )
    assert int(python("-c", program)) > 1000


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["search_cv.py", "--overhead", "--seeds", 1, "--workers", 1], "overhead per fit"),
        (["racing.py", "--jobs", "grid-svc-cancer", "--seeds", 1], "grid-svc-cancer"),
        (["study_rules.py", "--families", "analytic", "--trials", 12, "--sampler", "random"], "functions, regret"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_other_benchmarks_run(command: list[Any], told: str) -> None:
    assert told in python(BENCHMARKS / command[0], *command[1:])


@pytest.mark.parametrize(("kind", "problem"), [("objectives", "kursawe"), ("constraints", "gramacy")])
def test_runs_with_several_outcomes_are_added_to_the_file_once(kind: str, problem: str, tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    command = [BENCHMARKS / "optimisers" / "outcomes.py", kind, "--problems", problem, "--seeds", 1, "--trials", 10]
    python(*command, "--out", out, "--optimisers", "random")
    table = python(*command, "--out", out, "--optimisers", "random", "hpt-tpe")
    assert [line.split()[1] for line in table.splitlines()[2:]] in (["random", "hpt-tpe"], ["hpt-tpe", "random"])
    assert len(out.read_text().splitlines()) == 2
