"""Compare SearchCV with racing to scikit-learn's searches on typical jobs: time, score, and wrongly stopped candidates.

    python benchmarks/racing.py [--jobs NAME ...] [--workers 1 2] [--seeds 10] [--rule folds] [--option NAME VALUE ...]

Each seed makes another split into search and holdout rows. GridSearchCV (or RandomizedSearchCV), the corresponding
halving search (``factor=3``, growing numbers of rows, the last round on all of them) and SearchCV try the same
candidates, one search after the other, in rotating order. The columns are, where not stated otherwise, medians over
the seeds with 95% bootstrap intervals:

- *time*: wall time of SearchCV, including the refit, as a share of theirs;
- *to its score*: the time until SearchCV has a complete candidate whose cross-validated score is at least that of the
  halving search's winner, as a share of the time of the halving search; infinite if it never has one;
- *holdout*: holdout score of SearchCV's winner minus theirs, in percent: means over the seeds with two standard errors,
  because most differences are 0;
- *wrong*: stopped candidates that would have beaten the winner, as a share of all stopped candidates, according to
  GridSearchCV's scores on all folds;
- *given up*: the best score of all candidates minus that of the winner, in percent: the mean.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
from search_cv import FOLDS, JOBS, Job, Outcome, interval, run, start_pool
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - scikit-learn's switch
from sklearn.model_selection import HalvingGridSearchCV, HalvingRandomSearchCV, train_test_split


@attrs.frozen
class Race:
    """The results for one seed.

    Attributes:
        ours: SearchCV.
        theirs: GridSearchCV or RandomizedSearchCV.
        halving: The corresponding halving search.
        reached: Seconds until SearchCV reached the score of the halving search's winner.
        wrong: Number of wrongly stopped candidates, and of all stopped candidates.
        given_up: Best cross-validated score of all candidates minus that of SearchCV's winner.
    """

    ours: Outcome
    theirs: Outcome
    halving: Outcome
    reached: float
    wrong: tuple[int, int]
    given_up: float


def halving_search(job: Job, seed: int, **settings: Any) -> Any:
    """The halving search over the same candidates."""
    settings |= {"factor": 3, "cv": FOLDS, "random_state": seed, "min_resources": "exhaust"}
    if job.draws is None:
        return HalvingGridSearchCV(job.estimator, job.given, **settings)
    return HalvingRandomSearchCV(job.estimator, job.given, n_candidates=job.draws, **settings)


def races(job: Job, workers: int, seeds: int, rule: dict[str, Any]) -> Iterator[Race]:
    """All three searches for each seed."""
    X, y = job.data(return_X_y=True)
    for seed in range(seeds):
        rows = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=y)
        settings = {"n_jobs": workers}
        halving = halving_search(job, seed, **settings)
        searches = [job.ours(seed, rule, **settings), job.theirs(seed, **settings), halving]
        found: dict[int, Outcome] = {}
        for which in np.roll([0, 1, 2], seed):
            if workers > 1:
                start_pool(searches[which], rows)
            found[int(which)] = run(searches[which], rows)
        yield judge(searches, found)


def judge(searches: Sequence[Any], found: dict[int, Outcome]) -> Race:
    """Judge SearchCV by the candidates' scores on all folds."""
    ours, theirs, halving = searches
    whole = dict(zip(map(key, theirs.cv_results_["params"]), theirs.cv_results_["mean_test_score"], strict=True))
    best, goal = whole[key(ours.best_params_)], whole[key(halving.best_params_)]
    trials = ours.history_.trials
    began = min(trial.started for trial in trials)
    ended = [t.ended for t in trials if t.state == "complete" and t.value is not None and t.value >= goal - 1e-12]
    done = ours.cv_results_.get("n_folds", np.full(len(whole), FOLDS))
    partial = [p for p, n in zip(ours.cv_results_["params"], done, strict=True) if n < FOLDS]
    wrong = sum(whole[key(params)] > best + 1e-12 for params in partial)
    reached = min(ended, default=np.inf) - began
    return Race(found[0], found[1], found[2], reached, (wrong, len(partial)), max(whole.values()) - best)


def key(params: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """A candidate as a dictionary key."""
    return tuple(sorted((name, str(value)) for name, value in params.items()))


def mean(values: Sequence[float]) -> str:
    """Format the mean in percent with two standard errors."""
    sample = 100 * np.asarray(values)
    error = 2 * sample.std(ddof=1) / np.sqrt(len(sample)) if len(sample) > 1 else np.nan
    return f"{sample.mean():+6.2f} +-{error:4.2f}"


def compare(names: Sequence[str], workers: Sequence[int], seeds: int, rule: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{seeds} seeds; rule: {rule}; see --help for the columns\n")
    heads = [f"{'time / theirs':24s}", f"{'time / halving':24s}", f"{'to its score / halving':24s}"]
    tail = f"{'holdout - theirs':14s}  {'- halving':14s}  {'wrong':>7s}  given up"
    print(f"{'job':22s} {'workers':>7s} {'theirs':>8s}  {'  '.join(heads)}  {tail}")
    for name in names:
        for count in workers:
            found = list(races(JOBS[name], count, seeds, rule))
            shares = [
                [r.ours.seconds / r.theirs.seconds for r in found],
                [r.ours.seconds / r.halving.seconds for r in found],
                [r.reached / r.halving.seconds for r in found],
            ]
            holdout = [
                [r.ours.score - r.theirs.score for r in found],
                [r.ours.score - r.halving.score for r in found],
            ]
            wrong, stopped = np.sum([r.wrong for r in found], axis=0)
            cells = "  ".join([*map(interval, shares), *map(mean, holdout)])
            seconds = np.median([r.theirs.seconds for r in found])
            given_up = 100 * np.mean([r.given_up for r in found])
            share = wrong / max(1, stopped)
            print(f"{name:22s} {count:7d} {seconds:6.2f} s  {cells}  {share:7.1%}  {given_up:5.2f}", flush=True)


def main() -> None:
    """Run the command line."""
    warnings.filterwarnings("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"  # for the processes of the pools
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--workers", nargs="+", type=int, default=[1])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rule", default="folds")
    parser.add_argument("--option", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    given = parser.parse_args()
    rule = {"use": given.rule, **{name: _plain(value) for name, value in given.option}}
    compare(given.jobs, given.workers, given.seeds, rule)


def _plain(value: str) -> Any:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


if __name__ == "__main__":
    main()
