"""Comparison of searches that stop trials early: how soon does one reach the final loss of another?

    python benchmarks/early/compare.py [--tables FOLDER] [--seeds 10] [--budget 20] [--only WORDS]

The budget is a number of whole trainings and is counted in steps (epochs, boosting rounds, or folds), so the load of
the machine does not matter; a paused training resumes where it was. The result of a search is the lowest loss among its
*whole* trainings so far. Printed for each workload are the final loss of each search (median and quartiles over seeds)
and the processor time of the search alone. Then for each hpt recipe and each peer the *ratio* is printed: the steps
that hpt needs for the peer's final loss, divided by the whole budget (which the peer was given), and by the steps after
which the peer had that loss (which is not known beforehand). The ratio is the median over seeds, with its 95 %
bootstrap interval and the number of seeds in which hpt did not get there within the budget, which count as infinity.
The target is 0.5.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from searches import Meter, SpentError, halving_cv, hpt_search, one_step, optuna_search, random_search
from tables import load

Search = Callable[[Meter, int], None]
Runs = list[list[tuple[float, float]]]

HYPERBAND = {"min_resource": 1, "max_resource": 27, "reduction_factor": 3}
ASHA = {"use": "asha", "min_resource": 1}


def curve_searches() -> dict[str, Search]:
    """Searches for trials that report a curve; the names of hpt's begin with ``hpt``."""
    ours: dict[str, tuple[str, list[dict[str, object]]]] = {
        "hpt tpe": ("tpe", []),
        "hpt tpe asha": ("tpe", [ASHA]),
        "hpt tpe asha promote": ("tpe", [{**ASHA, "mode": "promote"}]),
        "hpt tpe hyperband": ("tpe", [{"use": "hyperband", "min_resource": 1}]),
        "hpt tpe pasha": ("tpe", [{"use": "pasha", "min_resource": 1}]),
        "hpt tpe median": ("tpe", [{"use": "median"}]),
        "hpt tpe extrapolation": ("tpe", [{"use": "extrapolation"}]),
        "hpt tpe asha+extra": ("tpe", [ASHA, {"use": "extrapolation"}]),
        "hpt random asha": ("random", [ASHA]),
        "hpt bayes": ("bayes", []),
        "hpt bayes hyperband": ("bayes", [{"use": "hyperband", "min_resource": 1}]),
        "hpt bayes asha": ("bayes", [ASHA]),
        "hpt bayes asha ninth": ("bayes", [{"use": "asha", "min_resource": 3}]),
        "hpt bayes asha late": ("bayes", [{"use": "asha", "min_resource": 9}]),
        "hpt bayes median": ("bayes", [{"use": "median"}]),
        "hpt bayes percentile": ("bayes", [{"use": "percentile"}]),
        "hpt bayes extrapolation": ("bayes", [{"use": "extrapolation"}]),
        "hpt bayes median+extra": ("bayes", [{"use": "median"}, {"use": "extrapolation"}]),
    }
    found: dict[str, Search] = {n: partial(hpt_search, sampler=s, rules=rules) for n, (s, rules) in ours.items()}
    return found | {
        "optuna hyperband": partial(optuna_search, pruner="HyperbandPruner", options=HYPERBAND),
        "optuna median": partial(optuna_search, pruner="MedianPruner", options={}),
        "one step, best 5": partial(one_step, kept=5),
        "one step, best 10": partial(one_step, kept=10),
        "random": random_search,
    }


def fold_searches() -> dict[str, Search]:
    """Searches for trials that report folds."""
    ours: dict[str, tuple[str, list[dict[str, object]]]] = {
        "hpt tpe": ("tpe", []),
        "hpt tpe folds": ("tpe", [{"use": "folds"}]),
        "hpt tpe race": ("tpe", [{"use": "race"}]),
        "hpt bayes": ("bayes", []),
        "hpt bayes folds": ("bayes", [{"use": "folds"}]),
        "hpt bayes race": ("bayes", [{"use": "race"}]),
        "hpt bayes median": ("bayes", [{"use": "median"}]),
    }
    found: dict[str, Search] = {n: partial(hpt_search, sampler=s, rules=rules) for n, (s, rules) in ours.items()}
    return found | {
        "optuna wilcoxon": partial(optuna_search, pruner="WilcoxonPruner", options={"p_threshold": 0.1}),
        "one step, best 5": partial(one_step, kept=5),
        "random": random_search,
    }


WORKLOADS: dict[str, tuple[str, bool, Callable[[], dict[str, Search]]]] = {
    "cnn, epochs": ("cnn", False, curve_searches),
    "boosting, rounds": ("boosting", False, lambda: {**curve_searches(), "sklearn halving": halving_cv}),
    "boosting, folds": ("boosting", True, fold_searches),
}


def searched(search: Search, meter: Meter, seed: int) -> tuple[list[tuple[float, float]], float]:
    """The improvements of a search, (steps, loss), and its processor seconds."""
    start = time.process_time()
    with suppress(SpentError):
        search(meter, seed)
    best, improvements = math.inf, []
    for spent, loss in meter.found:
        if loss < best:
            best = loss
            improvements.append((spent, loss))
    return improvements, time.process_time() - start


def steps_to(improvements: list[tuple[float, float]], loss: float) -> float:
    """Steps until a search had reached ``loss``."""
    return next((spent for spent, found in improvements if found <= loss), math.inf)


def compared(ours: Runs, theirs: Runs, budget: float | None) -> str:
    """The ratio of steps to the other's final loss, over ``budget`` or, if None, over the other's own steps."""
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if b]
    ratios = np.array([steps_to(a, b[-1][1]) / (budget or b[-1][0]) for a, b in pairs])
    rng = np.random.default_rng(0)
    draws = np.sort(rng.choice(ratios, (2000, len(ratios))), axis=1)[:, (len(ratios) - 1) // 2]
    low, high = np.quantile(draws, [0.025, 0.975], method="lower")
    middle = np.sort(ratios)[(len(ratios) - 1) // 2]
    return f"{middle:5.2f} ({low:4.2f} to {high:4.2f}) {int(np.isinf(ratios).sum()):2d}"


def compare(title: str, tables: Path, seeds: int, budget: int, only: str) -> None:
    """Run all searches on a workload and print their comparison."""
    name, folds, searches = WORKLOADS[title]
    table, results = load(name, tables), {}
    print(f"\n{title}: {seeds} seeds, a budget of {budget} whole trainings")
    for search_name, search in searches().items():
        if search_name.startswith("hpt") and not all(word in search_name for word in only.split()):
            continue
        runs, seconds, losses = [], 0.0, []
        for seed in range(seeds):
            meter = Meter(table, folds, budget=0)
            meter.budget = budget * meter.steps
            improvements, used = searched(search, meter, seed)
            runs.append(improvements)
            seconds += used
            losses.append(improvements[-1][1] if improvements else math.inf)
        results[search_name] = runs
        low, middle, high = np.percentile(losses, [25, 50, 75], method="lower")
        print(
            f"  {search_name:28s} final {middle:.4f} ({low:.4f} to {high:.4f})   {seconds / seeds:6.1f} s", flush=True
        )
    peers = [n for n in results if not n.startswith("hpt")]
    for whose, over in (("the budget", meter.budget), ("the peer", None)):
        table_of_ratios(results, peers, whose, over)


def table_of_ratios(results: dict[str, Runs], peers: list[str], whose: str, over: float | None) -> None:
    """Print hpt's recipes against the peers."""
    print(f"  steps over those of {whose}")
    print(" " * 26 + "".join(f"{peer:>25s}" for peer in peers))
    for ours in [n for n in results if n.startswith("hpt")]:
        cells = "".join(f"{compared(results[ours], results[peer], over):>25s}" for peer in peers)
        print(f"  {ours:24s}{cells}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=Path, default=Path("early-tables"), help="where the trained curves are kept")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=20, help="whole trainings")
    parser.add_argument("--only", default="", help="only hpt recipes whose name has these words")
    parser.add_argument("--workloads", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    options = parser.parse_args()
    logging.getLogger("hpt").setLevel(logging.ERROR)
    for title in options.workloads:
        compare(title, options.tables, options.seeds, options.budget, options.only)


if __name__ == "__main__":
    main()
