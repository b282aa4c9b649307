"""Compare SearchCV to GridSearchCV and RandomizedSearchCV on the same jobs: wall time and holdout score.

    python benchmarks/search_cv.py [--jobs NAME ...] [--workers 1 2] [--seeds 5] [--rule NAME] [--cold] [--overhead]

Each seed makes another split into search and holdout rows. Both searches then try the same candidates on the same
folds, one after the other, in alternating order. The table shows medians over the seeds, with 95% bootstrap intervals:
the ratio of wall times (below 1 if SearchCV is faster), the difference of holdout scores (above 0 if SearchCV's winner
is better), and the share of all fits that were not skipped because of a rule. Without a rule, both must find the same
winner, and the difference is 0.

``--rule folds`` lets SearchCV stop candidates between folds by that rule, or by any other installed one (``median``,
...). With two workers, a small search first starts the pools of both, so that only the search itself is timed.
``--cold`` instead measures the first search of a program, in new processes. ``--overhead`` fits an estimator that does
nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
from scipy.stats import loguniform, randint
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hpt_evaluator_sklearn import SearchCV

FOLDS = 5


@attrs.frozen
class Job:
    """A search: data, estimator, and a grid, or distributions with a number of draws."""

    data: Callable[..., Any]
    estimator: Any
    given: dict[str, Any]
    draws: int | None = None

    def theirs(self, seed: int, **settings: Any) -> Any:
        """scikit-learn's search."""
        if self.draws is None:
            return GridSearchCV(self.estimator, self.given, cv=FOLDS, **settings)
        return RandomizedSearchCV(
            self.estimator, self.given, n_iter=self.draws, random_state=seed, cv=FOLDS, **settings
        )

    def ours(self, seed: int, rule: Any, **settings: Any) -> Any:
        """The same search as a SearchCV; ``rule`` is a stopping rule or None."""
        stop = () if rule is None else [rule]
        if self.draws is None:
            return SearchCV(self.estimator, param_grid=self.given, cv=FOLDS, stop=stop, **settings)
        drawn: dict[str, Any] = {"param_distributions": self.given, "n_iter": self.draws, "random_state": seed}
        return SearchCV(self.estimator, cv=FOLDS, stop=stop, **drawn, **settings)


FOREST = {"max_depth": randint(2, 16), "max_features": [0.1, 0.3, 0.6], "min_samples_leaf": randint(1, 20)}
SCALED_SVC = {"svc__C": loguniform(1e-2, 1e3), "svc__gamma": loguniform(1e-4, 1e-1)}
SVC_RANGES = {"C": loguniform(1e-1, 1e3), "gamma": loguniform(1e-5, 1e-1)}
SVC_GRID = {"svc__C": [0.1, 1, 10, 100, 1000], "svc__gamma": [1e-4, 1e-3, 1e-2, 1e-1]}
FOREST_GRID = {"max_depth": [2, 4, 8, 16], "max_features": [0.1, 0.3, 0.6], "min_samples_leaf": [1, 4]}
MLP = {
    "alpha": loguniform(1e-5, 1e-1),
    "hidden_layer_sizes": [(20,), (40,)],
    "learning_rate_init": loguniform(1e-4, 1e-1),
}
MLP_GRID = {
    "alpha": [1e-4, 1e-2],
    "hidden_layer_sizes": [(20,), (40,)],
    "learning_rate_init": [1e-4, 1e-3, 1e-2, 1e-1],
}
SCALED_MLP = make_pipeline(StandardScaler(), MLPClassifier(max_iter=30, random_state=0))


def scaled(given: dict[str, Any]) -> dict[str, Any]:
    """The same parameters for the network behind a scaler."""
    return {f"mlpclassifier__{name}": values for name, values in given.items()}


JOBS = {
    "grid-svc-digits": Job(load_digits, SVC(), {"C": [0.1, 1, 10, 100], "gamma": [1e-4, 1e-3, 1e-2]}),
    "grid-forest-cancer": Job(
        load_breast_cancer,
        RandomForestClassifier(30, random_state=0),
        {"max_depth": [1, 2, 4, 8], "max_features": [0.1, 0.3, 0.6]},
    ),
    "random-svc-cancer": Job(load_breast_cancer, make_pipeline(StandardScaler(), SVC()), SCALED_SVC, 40),
    "random-forest-digits": Job(load_digits, RandomForestClassifier(20, random_state=0), FOREST, 20),
    "random-mlp-digits": Job(load_digits, MLPClassifier(max_iter=20, random_state=0), MLP, 12),
    "grid-svc-cancer": Job(load_breast_cancer, make_pipeline(StandardScaler(), SVC()), SVC_GRID),
    "grid-forest-digits": Job(load_digits, RandomForestClassifier(20, random_state=0), FOREST_GRID),
    "grid-mlp-digits": Job(load_digits, MLPClassifier(max_iter=20, random_state=0), MLP_GRID),
    "grid-mlp-cancer": Job(load_breast_cancer, SCALED_MLP, scaled(MLP_GRID)),
    "random-svc-digits": Job(load_digits, SVC(), SVC_RANGES, 30),
    "random-forest-cancer": Job(load_breast_cancer, RandomForestClassifier(30, random_state=0), FOREST, 20),
    "random-mlp-cancer": Job(load_breast_cancer, SCALED_MLP, scaled(MLP), 20),
}


class Nothing(ClassifierMixin, BaseEstimator):
    """A classifier whose methods do nothing."""

    def __init__(self, a: int = 0) -> None:
        self.a = a

    def fit(self, X: Any, y: Any) -> Nothing:  # noqa: ARG002 - it does nothing
        """Set the classes only."""
        self.classes_ = np.array([0, 1])
        return self

    def score(self, X: Any, y: Any) -> float:  # noqa: ARG002 - it does nothing
        """Return a constant."""
        return 0.5


@attrs.frozen
class Outcome:
    """The result of one search: wall time, holdout score, number of fits."""

    seconds: float
    score: float
    fits: int


def run(search: Any, rows: Sequence[Any]) -> Outcome:
    """Fit a search on the search rows, and score it on the holdout rows."""
    X, X_holdout, y, y_holdout = rows
    start = time.perf_counter()
    search.fit(X, y)
    seconds = time.perf_counter() - start
    results = search.cv_results_
    fits = results["n_folds"].sum() if "n_folds" in results else len(results["params"]) * FOLDS
    return Outcome(seconds, search.score(X_holdout, y_holdout), int(fits))


def pairs(job: Job, workers: int, seeds: int, rule: str | None) -> Iterator[tuple[Outcome, Outcome]]:
    """Run both searches for each seed, in alternating order."""
    X, y = job.data(return_X_y=True)
    for seed in range(seeds):
        rows = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=y)
        searches = [job.ours(seed, rule, n_jobs=workers), job.theirs(seed, n_jobs=workers)]
        found: dict[int, Outcome] = {}
        for which in (0, 1) if seed % 2 else (1, 0):
            if workers > 1:
                start_pool(searches[which], rows)
            found[which] = run(searches[which], rows)
        yield found[0], found[1]


def start_pool(search: Any, rows: Sequence[Any]) -> None:
    """Start the processes of a search, and import its modules there."""
    kind = SearchCV if isinstance(search, SearchCV) else GridSearchCV
    kind(search.estimator, param_grid={}, n_jobs=search.n_jobs, cv=4, refit=False).fit(rows[0][:200], rows[2][:200])


def interval(values: Sequence[float]) -> str:
    """Format the median and its 95% bootstrap interval (percentiles of 4,000 resamples)."""
    rng, sample = np.random.default_rng(0), np.asarray(values)
    medians = np.median(rng.choice(sample, (4_000, len(sample))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975], method="nearest")  # without interpolation: values may be infinite
    return f"{np.median(sample):7.3f} [{low:6.3f}, {high:6.3f}]"


def compare(names: Sequence[str], workers: Sequence[int], seeds: int, rule: str | None) -> None:
    """Print the table."""
    print(f"{seeds} seeds; rule: {rule or 'none'}; medians over seeds with 95% bootstrap intervals\n")
    heads = f"{'ratio of wall times':24s}  {'holdout difference':24s}  fits"
    print(f"{'job':22s} {'workers':>7s} {'scikit-learn':>13s}  {heads}")
    for name in names:
        for count in workers:
            found = list(pairs(JOBS[name], count, seeds, rule))
            ratio = interval([ours.seconds / theirs.seconds for ours, theirs in found])
            score = interval([ours.score - theirs.score for ours, theirs in found])
            share = np.median([ours.fits / theirs.fits for ours, theirs in found])
            seconds = np.median([theirs.seconds for _, theirs in found])
            print(f"{name:22s} {count:7d} {seconds:11.2f} s  {ratio:24s}  {score:24s}  {share:4.0%}", flush=True)


ALONE = """
import sys, time, warnings
warnings.filterwarnings("ignore")
sys.path.insert(0, sys.argv[1])
from search_cv import JOBS, load_digits
name, whose = sys.argv[2:]
job = JOBS[name]
search = job.ours(0, None, n_jobs=2) if whose == "ours" else job.theirs(0, n_jobs=2)
X, y = job.data(return_X_y=True)
start = time.perf_counter(); search.fit(X, y); print(time.perf_counter() - start)
"""


def cold(names: Sequence[str], seeds: int) -> None:
    """Time the first search of a program with two workers, including the start of the pool."""
    for name in names:
        ratios = []
        for _ in range(seeds):
            seconds = []
            for whose in ("ours", "theirs"):
                command = [sys.executable, "-c", ALONE, str(sys.path[0]), name, whose]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                seconds.append(float(output))
            ratios.append(seconds[0] / seconds[1])
        print(f"{name:22s} first search with 2 workers, ratio of wall times {interval(ratios)}", flush=True)


def overhead(repeats: int) -> None:
    """Measure the microseconds per fit of an estimator that does nothing: 200 candidates x 5 folds."""
    X, y, grid = np.zeros((100, 5)), np.arange(100) % 2, {"a": list(range(200))}
    found = []
    for _ in range(repeats):
        seconds = []
        for kind in (SearchCV, GridSearchCV):
            search = kind(Nothing(), param_grid=grid, cv=FOLDS, refit=False)
            start = time.perf_counter()
            search.fit(X, y)
            seconds.append((time.perf_counter() - start) / (200 * FOLDS) * 1e6)
        found.append(seconds)
    ours, theirs = np.median(found, axis=0)
    ratio = interval([a / b for a, b in found])
    print(f"overhead per fit: SearchCV {ours:.0f} us, GridSearchCV {theirs:.0f} us, ratio {ratio}")


def main() -> None:
    """Run the command line."""
    warnings.filterwarnings("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"  # for the processes of the pools
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rule")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--overhead", action="store_true")
    given = parser.parse_args()
    if given.overhead:
        overhead(given.seeds)
    elif given.cold:
        cold(given.jobs, given.seeds)
    else:
        compare(given.jobs, given.workers, given.seeds, given.rule)


if __name__ == "__main__":
    main()
