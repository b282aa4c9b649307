"""Compare optimisers on the same problems and seeds.

    python benchmarks/optimisers/run.py --quick                      # a few minutes
    python benchmarks/optimisers/run.py --seeds 5 --out rows.csv     # everything that is installed; hours
    python benchmarks/optimisers/run.py --show rows.csv              # the tables of an earlier run

Each row of the output file is one run: problem, optimiser, seed, seconds of the optimiser itself, and the values. A
second call with the same file adds what is missing. Regret = (best so far - lo) / (hi - lo), cut to [0, 2]: lo is the
optimum where it is known, else the best of 20,000 random points and of all runs; hi is the median best of ten random
trials.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
from peers import optimisers
from problems import FAMILIES, Problem, problems

import hpt_core as hpt

BUDGETS = (20, 40, 60, 100)
RANDOM_POINTS = {"models": 300}  # a real model costs a fit; elsewhere 20,000
FIELDS = ("family", "problem", "optimiser", "seed", "seconds", "values")

Rows = dict[tuple[str, str, int], tuple[float, list[float]]]
"""(problem, optimiser, seed) -> seconds of the optimiser, values in order."""


def read(path: Path) -> Rows:
    """The rows of an earlier run, none where there is no file."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {
            (row["problem"], row["optimiser"], int(row["seed"])): (float(row["seconds"]), json.loads(row["values"]))
            for row in csv.DictReader(file)
        }


def measure(chosen: list[Problem], names: list[str], seeds: int, trials: int, path: Path) -> Rows:
    """Run what is missing, and write each row as it is done."""
    rows, known = read(path), optimisers()
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(FIELDS)
        for problem in chosen:
            for seed in range(seeds):
                for name in names:
                    if (problem.name, name, seed) in rows:
                        continue
                    values, seconds = known[name](problem, trials, seed)
                    rows[problem.name, name, seed] = (seconds, values)
                    writer.writerow([problem.family, problem.name, name, seed, f"{seconds:.4f}", json.dumps(values)])
                    file.flush()
                    print(
                        f"{problem.name:24s} seed {seed} {name:12s} best {min(values):.5g}  {seconds:.1f} s", flush=True
                    )
    return rows


def scale(problem: Problem, rows: Rows) -> tuple[float, float]:
    """(lo, hi) of the regret."""
    space = hpt.Space(problem.space)
    rng = np.random.default_rng(12345)
    count = RANDOM_POINTS.get(problem.family, 20_000)
    drawn = np.array([problem.function(space.sample(rng)) for _ in range(count)])
    blocks = drawn[: count // 10 * 10].reshape(-1, 10)
    best = [min(values) for (name, _, _), (_, values) in rows.items() if name == problem.name]
    lo = problem.optimum if problem.optimum is not None else min([float(drawn.min()), *best])
    return lo, float(np.median(blocks.min(axis=1)))


def regrets(chosen: list[Problem], rows: Rows) -> dict[str, dict[tuple[str, int], np.ndarray]]:
    """Optimiser -> (problem, seed) -> regret after each trial."""
    found: dict[str, dict[tuple[str, int], np.ndarray]] = defaultdict(dict)
    for problem in chosen:
        lo, hi = scale(problem, rows)
        for (name, optimiser, seed), (_, values) in rows.items():
            if name == problem.name:
                best = np.minimum.accumulate(values)
                found[optimiser][name, seed] = np.clip((best - lo) / max(hi - lo, 1e-12), 0, 2)
    return found


def show(chosen: list[Problem], rows: Rows, trials: int) -> None:
    """Print mean regret with bootstrap intervals, mean rank, and the time of a suggestion; whole and by family."""
    found = regrets(chosen, rows)
    families = [family for family in FAMILIES if any(problem.family == family for problem in chosen)]
    for family in ["all", *families] if len(families) > 1 else families:
        names = {problem.name for problem in chosen if family in ("all", problem.family)}
        print(f"\n{family}: {len(names)} problems")
        for budget in (b for b in BUDGETS if b <= trials):
            show_budget(names, found, budget)
    print("\nmilliseconds per trial of the optimiser itself")
    for optimiser in found:
        spent = [seconds / len(values) for (_, name, _), (seconds, values) in rows.items() if name == optimiser]
        print(f"  {optimiser:12s} {1e3 * statistics.mean(spent):8.2f}")


def show_budget(names: set[str], found: dict[str, dict[tuple[str, int], np.ndarray]], budget: int) -> None:
    """One table: the optimisers in order of mean regret after so many trials."""
    cells = sorted(set.intersection(*(set(runs) for runs in found.values())))
    cells = [cell for cell in cells if cell[0] in names]
    table = {name: np.array([runs[cell][budget - 1] for cell in cells]) for name, runs in found.items()}
    ranks = np.argsort(np.argsort(np.array(list(table.values())), axis=0), axis=0) + 1
    rng = np.random.default_rng(0)
    print(
        f"  after {budget} trials ({len(cells)} runs each): mean regret [95 %], median, mean rank, runs stuck above .5"
    )
    for (name, regret), rank in sorted(zip(table.items(), ranks, strict=True), key=lambda item: item[0][1].mean()):
        draws = rng.choice(regret, (2000, len(regret))).mean(axis=1)
        low, high = np.quantile(draws, [0.025, 0.975])
        line = f"{regret.mean():.3f} [{low:.3f}, {high:.3f}]  {np.median(regret):.3f}  {rank.mean():.2f}"
        print(f"    {name:12s} {line}  {int((regret > 0.5).sum())}")


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--problems", nargs="+", help="names; default: all of the families")
    parser.add_argument("--optimisers", nargs="+", choices=optimisers(), default=list(optimisers()))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("optimisers.csv"))
    parser.add_argument("--quick", action="store_true", help="the analytic and mixed families, one seed, 40 trials")
    parser.add_argument("--list", action="store_true", help="name the problems and optimisers")
    parser.add_argument("--show", type=Path, help="only print the tables of this file")
    options = parser.parse_args()
    if options.quick:
        options.families, options.seeds, options.trials = ["analytic", "mixed"], 1, 40
    chosen = [p for p in problems(options.families) if options.problems is None or p.name in options.problems]
    if options.list:
        print("problems:  ", *(problem.name for problem in chosen))
        print("optimisers:", *optimisers())
        return
    if options.show:
        rows = read(options.show)
        show([p for p in chosen if any(p.name == name for name, _, _ in rows)], rows, options.trials)
        return
    rows = measure(chosen, options.optimisers, options.seeds, options.trials, options.out)
    show(chosen, rows, options.trials)


if __name__ == "__main__":
    main()
