"""Compare optimisers on problems with several objectives, and with constraints on metrics.

    python benchmarks/optimisers/outcomes.py objectives --seeds 1 --trials 40
    python benchmarks/optimisers/outcomes.py constraints --optimisers hpt-bayes optuna-tpe --problems gramacy

Each run is appended to a file of JSON lines (``--out``, compressed if it ends in ``.gz``). A run that is in the file is
not repeated, so optimisers that cannot share an environment can run one after the other. Then the table is printed: the
mean regret after 10, 20, 40 and 60 trials, with 95 % intervals from a bootstrap over the problems, and the CPU time of
a trial. ``--problems`` and ``--seeds`` restrict the table as well.

- Several objectives: the hypervolume that a run misses of the best known front, as a share of what the median of 50
  sets of ten random points misses. The best known front is that of all runs in the table and 3,000 random points. In
  each objective the reference point is the 90 % quantile of the random points, but at most half the front's range
  behind the front, and at least a fifth of it beyond the front's best.
- Constraints: (best feasible value - lo) / (hi - lo), at most 2, and 2 without a feasible trial. lo is the best of all
  runs in the table and 5,000 random points; hi is the value that 30 % of the feasible random points reach.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from outcome_peers import optimisers
from outcome_problems import OutcomeProblem, constrained, several_objectives

import hpt_core as hpt

Array = np.ndarray[Any, Any]
AT = (10, 20, 40, 60)


@attrs.frozen
class Run:
    """One run.

    Attributes:
        problem: Name of the problem.
        optimiser: Name of the optimiser.
        version: Version of its package.
        seed: Its seed.
        seconds: CPU seconds, evaluations included, which are cheap.
        outcomes: The outcomes of each trial.
    """

    problem: str
    optimiser: str
    version: str
    seed: int
    seconds: float
    outcomes: list[list[float]]


def measure(problems: list[OutcomeProblem], options: argparse.Namespace) -> list[Run]:
    """Run what is not in the file yet."""
    open_file: Callable[..., Any] = gzip.open if options.out.suffix == ".gz" else open
    runs: list[Run] = []
    if options.out.exists():
        with open_file(options.out, "rt") as file:
            runs = [Run(**json.loads(line)) for line in file]
    known = {(run.problem, run.optimiser, run.seed) for run in runs}
    entries = optimisers()
    for seed in range(options.seeds):
        for problem in problems:
            for name in options.optimisers:
                if (problem.name, name, seed) in known or options.kind not in entries[name].kinds:
                    continue
                began = time.process_time()
                found = entries[name].run(problem, seed, options.trials)
                seconds = round(time.process_time() - began, 3)
                outcomes = [[float(f"{v:.7g}") for v in trial] for trial in found]
                runs.append(Run(problem.name, name, entries[name].version, seed, seconds, outcomes))
                with open_file(options.out, "at") as file:
                    file.write(json.dumps(attrs.asdict(runs[-1])) + "\n")
    return runs


def random_points(problem: OutcomeProblem, count: int) -> Array:
    """The outcomes of random points. (count, m)."""
    space, rng = hpt.Space(problem.space), np.random.default_rng(1)
    return np.array([problem.function(space.sample(rng)) for _ in range(count)])


def hypervolume(points: Array, reference: Array) -> float:
    """The volume that ``points`` (n, m) dominate below ``reference`` (m,), by slabs of the last objective."""
    points = points[(points < reference).all(axis=1)]
    if not len(points):
        return 0.0
    if len(reference) == 1:
        return float(reference[0] - points.min())
    points = points[np.argsort(points[:, -1])]
    tops = np.append(points[1:, -1], reference[-1])
    volume, best = 0.0, np.inf
    for i, height in enumerate(tops - points[:, -1]):
        if len(reference) == 2:
            best = min(best, points[i, 0])
            volume += height * (reference[0] - best)
        elif height > 0:
            volume += height * hypervolume(points[: i + 1, :-1], reference[:-1])
    return float(volume)


def missed_hypervolume(problem: OutcomeProblem, runs: list[Run]) -> Callable[[Array], float]:
    """The regret of the outcomes of some trials, for several objectives."""
    drawn = random_points(problem, 3000)
    known = np.vstack([drawn, *(np.array(run.outcomes) for run in runs)])
    front = known[front_of(known)]
    low, high = front.min(axis=0), front.max(axis=0)
    reference = np.minimum(np.quantile(drawn, 0.9, axis=0), high + 0.5 * (high - low))
    reference = np.maximum(reference, low + 0.2 * (high - low))
    best, rng = hypervolume(front, reference), np.random.default_rng(2)
    tens = [hypervolume(drawn[rng.choice(len(drawn), 10, replace=False)], reference) for _ in range(50)]
    return lambda outcomes: (best - hypervolume(outcomes, reference)) / (best - float(np.median(tens)))


def front_of(points: Array) -> Array:
    """Indices of the points that no other dominates."""
    kept: list[int] = []
    left = np.lexsort(points.T[::-1])  # the first one is not dominated
    while len(left):
        kept.append(int(left[0]))
        left = left[(points[left] < points[left[0]]).any(axis=1)]
    return np.array(kept)


def feasible_regret(problem: OutcomeProblem, runs: list[Run]) -> Callable[[Array], float]:
    """The regret of the outcomes of some trials, for constraints."""

    def values(outcomes: Array) -> Array:
        return np.asarray(outcomes[(outcomes[:, 1:] <= 0).all(axis=1), 0])

    drawn = values(random_points(problem, 5000))
    found = np.concatenate([drawn, *(values(np.array(run.outcomes)) for run in runs)])
    low = float(found.min())
    high = float(np.quantile(drawn if len(drawn) else found, 0.3))

    def regret(outcomes: Array) -> float:
        feasible = values(outcomes)
        return min(2.0, (float(feasible.min()) - low) / (high - low)) if len(feasible) else 2.0

    return regret


def table(problems: list[OutcomeProblem], runs: list[Run], regret_of: Callable[..., Callable[[Array], float]]) -> str:
    """The table of all optimisers in the file, sorted by the regret after 20 trials."""
    found: dict[str, dict[int, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    cost: dict[str, list[float]] = defaultdict(list)
    for problem in problems:
        mine = [run for run in runs if run.problem == problem.name]
        regret = regret_of(problem, mine)
        for run in mine:
            cost[run.optimiser].append(1e3 * run.seconds / len(run.outcomes))
            for budget in AT:
                if len(run.outcomes) >= budget:
                    found[run.optimiser][budget][problem.name].append(regret(np.array(run.outcomes)[:budget]))
    heads = " | ".join(f"{budget} trials" for budget in AT)
    lines = [f"| optimiser | problems | runs | {heads} | CPU ms a trial |", "| --- |" + " --: |" * (len(AT) + 3)]
    for name in sorted(found, key=lambda name: interval(found[name][AT[1]])):
        cells = " | ".join(interval(found[name][budget]) for budget in AT)
        count = len(found[name][AT[0]]), len(cost[name])
        lines.append(f"| {name} | {count[0]} | {count[1]} | {cells} | {np.mean(cost[name]):.1f} |")
    return "\n".join(lines)


def interval(regrets: dict[str, list[float]]) -> str:
    """The mean over the problems, and its bootstrap interval."""
    if not regrets:
        return "-"
    means = np.array([np.mean(values) for values in regrets.values()])
    drawn = np.random.default_rng(0).choice(means, (2000, len(means))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{means.mean():.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    """Run the command line."""
    known = list(optimisers())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["objectives", "constraints"])
    parser.add_argument("--optimisers", nargs="*", choices=known, default=known, help="none: only print the table")
    parser.add_argument("--problems", nargs="+", help="only these")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--out", type=Path, help="default: KIND.jsonl")
    options = parser.parse_args()
    options.out = options.out or Path(f"{options.kind}.jsonl")
    make, regret = {
        "objectives": (several_objectives, missed_hypervolume),
        "constraints": (constrained, feasible_regret),
    }[options.kind]
    problems = [p for p in make() if options.problems is None or p.name in options.problems]
    runs = [run for run in measure(problems, options) if run.seed < options.seeds]
    print(table(problems, runs, regret))


if __name__ == "__main__":
    main()
