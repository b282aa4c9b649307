"""Run optimisers on the same problems and seeds, and append each run as a row to a file.

    python benchmarks/optimisers/run.py --suite quick --seeds 1 --trials 40     # minutes; prints the tables
    python benchmarks/optimisers/run.py --suite page --out rows.csv             # hours; README.md has the steps
    python benchmarks/optimisers/run.py --list

A second call with the same file adds the missing runs, so peers that cannot share an environment can run one after the
other. `report.py` makes tables and plots from the file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from families import FAMILIES, SUITES, problems
from peers import drive, optimisers
from report import tables
from rows import SCALE, Row, Rows, append, read

import hpt_core as hpt

if TYPE_CHECKING:
    from problems import Problem

RANDOM_POINTS = {"models": 50}  # where each point costs the fit of a real model; elsewhere 20,000


def measure(chosen: list[Problem], names: list[str], options: argparse.Namespace) -> Rows:
    """Run what is missing and write each row when it is done; seed by seed, so that an aborted run stays balanced."""
    rows, known = read(options.out), optimisers()
    for seed in range(options.seeds):
        for problem in chosen:
            if (problem.name, SCALE, 0, 1) not in rows:
                append(options.out, rows, scale(problem, options.first))
            for name in names:
                if (problem.name, name, seed, options.workers) in rows:
                    continue
                entry = known[name]
                values, seconds = drive(
                    entry,
                    problem,
                    trials=options.trials,
                    seed=seed,
                    first=options.first,
                    workers=options.workers,
                )
                row = Row(
                    problem.family,
                    problem.name,
                    name,
                    entry.version,
                    seed,
                    options.workers,
                    options.first,
                    seconds,
                    values,
                )
                append(options.out, rows, row)
                print(f"{problem.name:24s} seed {seed} {name:12s} {min(values):.5g}  {seconds:.1f} s CPU", flush=True)
    return rows


def scale(problem: Problem, first: str) -> Row:
    """The scale of a problem's regret: the lowest value known without the runs, and the median best of ten random."""
    space = hpt.Space(problem.space)
    rng = np.random.default_rng(12345)
    count = RANDOM_POINTS.get(problem.family, 20_000)
    drawn = np.array([problem.function(space.sample(rng)) for _ in range(count)])
    lowest = float(drawn.min()) if problem.optimum is None else problem.optimum
    ends = [lowest, float(np.median(drawn.reshape(-1, 10).min(axis=1)))]
    return Row(problem.family, problem.name, SCALE, "", 0, 1, first, 0.0, ends)


def count(text: str) -> int:
    """A number of seeds, trials or workers, at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def main() -> None:
    """Run the command line."""
    known = optimisers()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES, default="quick", help="the set of problems")
    parser.add_argument(
        "--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), help="only these families of the suite"
    )
    parser.add_argument("--problems", nargs="+", help="only these problems of the suite")
    parser.add_argument("--optimisers", nargs="+", choices=known, default=list(known))
    parser.add_argument("--seeds", type=count, default=3)
    parser.add_argument("--trials", type=count, default=60)
    parser.add_argument("--workers", type=count, default=1, help="simulated; only optimisers that can run in parallel")
    parser.add_argument(
        "--first", choices=["default", "none"], default="default", help="the first point: see README.md"
    )
    parser.add_argument("--out", type=Path, default=Path("optimisers.csv"))
    parser.add_argument("--list", action="store_true", help="list the problems and optimisers")
    options = parser.parse_args()
    chosen = problems(options.families, options.suite)
    if options.problems is not None:
        unknown = sorted(set(options.problems) - {problem.name for problem in chosen})
        if unknown:
            parser.error(f"argument --problems: not among the problems that --list prints: {', '.join(unknown)}")
        chosen = [problem for problem in chosen if problem.name in options.problems]
    names = [name for name in options.optimisers if options.workers == 1 or known[name].parallel]
    if options.list:
        print("problems:  ", *(problem.name for problem in chosen))
        print("optimisers:", *names)
        return
    print(tables(measure(chosen, names, options)))


if __name__ == "__main__":
    main()
