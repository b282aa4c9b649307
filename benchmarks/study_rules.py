"""What rules that end a study save, and what they lose: budget saved against the result given away.

    python benchmarks/study_rules.py [--families analytic mixed models] [--trials 100] [--seeds 1] [--sampler bayes]

The real models report their three folds, so that the rules know the noise of a result; the other problems have none.
Every problem is tuned once to the end, and then each rule is asked after each trial, as it would have been. Printed for
each problem and rule, per seed: the trial at which it stops, the share of the budget saved, and the *loss*: how much
worse the best result was by then, as a share of the whole way from the median of the first ten trials to the best of
all (so that problems of any scale compare). The target: half the budget at a loss of under 1 %.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "optimisers"))

from problems import Problem, problems
from problems import _dataset as dataset

import hpt_core as hpt
from hpt_core.plugins import default_plugins

RULES = ("plateau", "regret", "improvement")
FAMILIES = ("analytic", "mixed", "models")
EARLY = 10
TARGET_SAVED, TARGET_LOST = 0.5, 0.01


def results(problem: Problem, params: hpt.Params) -> list[float]:
    """The errors on each fold for a real model, the value alone for any other problem."""
    if problem.family != "models":
        return [problem.function(params)]
    from sklearn.model_selection import cross_val_score

    make, data = problem.function.args  # type: ignore[attr-defined] # a partial
    X, y = dataset(data)
    return [float(1 - score) for score in cross_val_score(make(params), X, y, cv=3)]


def asked(problem: Problem, sampler: str, trials: int, seed: int) -> tuple[list[float], dict[str, int]]:
    """Tune a problem to the end.

    Returns:
        The values in order, and for each rule after how many trials it would have stopped.
    """
    rules: dict[str, Any] = {name: default_plugins().make("stopping rule", name) for name in RULES}
    stopped = dict.fromkeys(RULES, trials)
    evaluator = {"use": "function", "call": partial(results, problem), "evidence": "folds"}
    study = hpt.Study(problem.space, sampler=sampler, evaluator=evaluator, seed=seed)
    for count in range(1, trials + 1):
        trial = study.ask()
        errors = results(problem, trial.params)
        for fold, error in enumerate(errors, start=1):
            study.report(trial, fold, error)
        study.tell(trial, statistics.mean(errors))
        for name, rule in rules.items():
            if stopped[name] == trials and count < trials and rule.judge_study(study.history) is not None:
                stopped[name] = count
    values = [trial.value for trial in study.trials if trial.value is not None]
    return values, stopped


def lost(values: list[float], count: int) -> float:
    """The share of the way from an early result to the best that was still to go after ``count`` trials."""
    best = min(values)
    way = statistics.median(values[:EARLY]) - best
    return (min(values[:count]) - best) / way if way > 0 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sampler", default="bayes")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[str, list[tuple[str, float, float]]] = {name: [] for name in RULES}
    print(f"{'problem':22s} {'seed':>4s} " + "".join(f"{name + ' stop':>18s} {'loss':>7s}" for name in RULES))
    for problem in problems(given.families):
        for seed in range(given.seeds):
            values, stopped = asked(problem, given.sampler, given.trials, seed)
            cells = []
            for name, count in stopped.items():
                loss = lost(values, count)
                found[name].append((problem.name, 1 - count / given.trials, loss))
                cells.append(f"{count:18d} {100 * loss:6.2f}%")
            print(f"{problem.name:22s} {seed:4d} " + "".join(cells), flush=True)
    conclude(found)


def conclude(found: dict[str, list[tuple[str, float, float]]]) -> None:
    """Print what each rule saves and loses over all problems, and where it fails."""
    print()
    for name, rows in found.items():
        saved, losses = [row[1] for row in rows], [row[2] for row in rows]
        mean_saved, mean_lost = statistics.mean(saved), statistics.mean(losses)
        reached = mean_saved >= TARGET_SAVED and mean_lost < TARGET_LOST
        failed = sorted({row[0] for row in rows if row[2] >= TARGET_LOST})
        print(
            f"{name:12s} saves {100 * mean_saved:.0f} % (median {100 * statistics.median(saved):.0f} %), loses "
            f"{100 * mean_lost:.2f} % (median {100 * statistics.median(losses):.2f} %, worst "
            f"{100 * max(losses):.1f} %); target {'reached' if reached else 'missed'}"
        )
        print(f"{'':12s} loses 1 % or more on: {', '.join(failed) or 'nothing'}")
        print(f"{'':12s} never stops on: {', '.join(sorted({row[0] for row in rows if row[1] == 0})) or 'nothing'}")


if __name__ == "__main__":
    main()
